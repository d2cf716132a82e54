//! Where lines and files go, in the format that was asked for.

pub(super) mod private;
mod spool;

use std::io::{self, BufWriter, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use self::spool::Spool;
pub(super) use self::spool::Writing;
use super::Failure;
use crate::cli::messages::{FilterArgs, FormatArg, OutputArgs};
use crate::config::{UsageError, messages};
use crate::terminal;
use crate::views::View;
use crate::views::har::HarFile;
use crate::views::messages::{Format, MessageView, Printer};
use crate::views::pcapng::{self, Pcapng};

/// What is shown of each message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    pub(super) json: bool,
    pub(super) frames: bool,
    /// Payload bytes.
    pub(super) payload: usize,
}

/// What is written while a tap runs, and the thread that writes where there is one.
pub(super) type Live = (Box<dyn View + Send>, Option<Writing>);

/// As [`open`], for a tap. Packets are written by a thread, so that no disk and no reader of them holds
/// up the tap.
///
/// # Errors
///
/// As [`open`], or the system refuses another thread.
pub(super) fn open_live<W: Write + Send + 'static>(
    args: &OutputArgs,
    filter: &FilterArgs,
    shown: Shown,
    stdout: impl FnOnce() -> W,
    sandbox: bool,
) -> Result<Live, Failure> {
    if check(args, filter, shown)? != FormatArg::Pcapng {
        return Ok((open(args, filter, shown, stdout)?, None));
    }
    let (spool, waiting, writing) = Spool::start(destination(args, stdout)?, sandbox)?;
    let packets = Pcapng::new(spool, messages::filter(filter), filter.count);
    let is_told = AtomicBool::new(false);
    let packets = packets.with_queue(move || {
        let bytes = waiting.bytes();
        if bytes >= pcapng::QUEUE_BYTES && !is_told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "the file is written too slowly: messages are left out, and counted in it; a faster disk \
                 or reader helps, or a filter"
            );
        }
        bytes
    });
    Ok((Box::new(packets), Some(writing)))
}

/// The file that was named, or what stands for standard output.
fn destination<W: Write + Send + 'static>(
    args: &OutputArgs,
    stdout: impl FnOnce() -> W,
) -> Result<Box<dyn Write + Send>, Failure> {
    Ok(match &args.output {
        Some(path) if path.as_os_str() != "-" => Box::new(private::create(path, args.force)?),
        _ => Box::new(stdout()),
    })
}

/// Makes what was asked for. `stdout` is what it goes to where no file was named.
///
/// # Errors
///
/// The flags do not fit the format, or the file cannot be made.
pub(super) fn open<W: Write + Send + 'static>(
    args: &OutputArgs,
    filter: &FilterArgs,
    shown: Shown,
    stdout: impl FnOnce() -> W,
) -> Result<Box<dyn View + Send>, Failure> {
    let format = check(args, filter, shown)?;
    let most = filter.count;
    let filter = messages::filter(filter);
    let has_file = args.output.as_ref().is_some_and(|path| path.as_os_str() != "-");
    let out = BufWriter::new(destination(args, stdout)?);
    let lines = |format| MessageView {
        format,
        color: !has_file && terminal::shows_colors(),
        filter: filter.clone(),
        frames: shown.frames,
        payload: shown.payload,
        wall_offset_ns: 0,
    };
    Ok(match format {
        FormatArg::Text => Box::new(Printer::new(lines(Format::Text), out, most)),
        FormatArg::Json => Box::new(Printer::new(lines(Format::Json), out, most)),
        FormatArg::Pcapng => Box::new(Pcapng::new(out, filter, most)),
        FormatArg::Har => Box::new(HarFile::new(out, filter, most)),
    })
}

/// The format, if everything else fits it.
fn check(args: &OutputArgs, filter: &FilterArgs, shown: Shown) -> Result<FormatArg, UsageError> {
    let default = if shown.json { FormatArg::Json } else { FormatArg::Text };
    let format = args.format.unwrap_or(default);
    if !format.is_file() {
        return Ok(format);
    }
    let refuse = |why: &str| Err(UsageError(format!("format: {why}")));
    if messages::filter(filter).is_about_exchanges() {
        return refuse(
            "a file holds whole conversations: --method, --slow and --errors are for lines; its \
             reader can filter by the comments, such as `frame.comment contains \"outcome=error\"`",
        );
    }
    if shown.frames || shown.payload > 0 {
        return refuse("a file holds whole messages: --frames and --payload are for lines");
    }
    let is_named = args.output.as_ref().is_some_and(|path| path.as_os_str() != "-");
    if !is_named && io::stdout().is_terminal() {
        return refuse("this is not for a terminal: name a file with -o, or pipe it to its reader");
    }
    Ok(format)
}

/// Ends it, and says what is missing in it.
pub(super) fn finish(view: Box<dyn View + Send>) -> Result<(), Failure> {
    if let Some(sentence) = view.finish()? {
        tracing::warn!("{sentence}");
    }
    Ok(())
}

/// Removes the file: nothing was tapped, and the next attempt needs its name.
pub(super) fn discard(args: &OutputArgs) {
    if let Some(path) = args.output.as_ref().filter(|path| path.is_file()) {
        let _ = std::fs::remove_file(path);
    }
}
