//! Columns for people: time (UTC), process, connection (whose first half is the pid), an arrow,
//! then the event.
//!
//! Whatever comes from the wire is escaped and names are cut short: no byte of a peer reaches the
//! terminal as a control character, nothing can turn the direction of writing around, and an id of
//! a thousand digits does not bury the line. Colours only repeat what the words say.

use std::fmt::{self, Display, Write as _};
use std::io::{self, Write};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use jiff::tz::TimeZone;

use super::filter::is_wrong;
use super::{Event, Line, MessageView, utf8_prefix};
use crate::event::Direction;
use crate::observation::{
    Exchange, Frame, IdToken, Message, MessageReading, MessageType, Open, Role, SequenceStep,
};

pub(super) fn write_header(view: &MessageView, out: &mut impl Write) -> io::Result<()> {
    let bold = styled(view, Style::new().bold());
    let (time, command, conn) = ("TIME (UTC)", "COMMAND", "CONNECTION");
    write!(out, "{bold}{time:<16} {command:<8} {conn:<10} ")?;
    writeln!(out, "{:<8} {:>11}  DETAILS{bold:#}", "EVENT", "SIZE/TIME")
}

pub(super) fn write(view: &MessageView, out: &mut impl Write, line: &Line<'_>) -> io::Result<()> {
    let Line { observation, process, event } = line;
    let wall = view.wall(observation.at_ns).to_zoned(TimeZone::UTC).time();
    let (head, body) = (styled(view, Style::new().dimmed()), styled(view, style(event)));
    let conn = observation.conn.to_string();
    write!(out, "{head}{wall:.6}Z {:<8} {conn:<10}{head:#} {body}", Name(process.comm))?;
    match event {
        Event::Open(open) => write_open(out, observation.role, open),
        Event::Frame(frame) => write_frame(out, frame),
        Event::Message(message, reading) => {
            write_message(out, message, reading)?;
            write_feed(out, view.lag_ns(observation.at_ns, reading), reading)
        }
        Event::Exchange(exchange) => write_exchange(out, exchange),
        Event::Close { code } => write_columns(out, '-', "close", code),
        Event::Gap { direction, bytes, reason } => {
            write_columns(out, '!', "lost", &Bytes(*bytes))?;
            write!(out, "  {} {}", direction.as_str(), reason.as_str())
        }
    }?;
    writeln!(out, "{body:#}")?;
    match event {
        Event::Message(message, _) if view.payload > 0 => write_payload(view, out, message),
        _ => Ok(()),
    }
}

fn styled(view: &MessageView, style: Style) -> Style {
    if view.color { style } else { Style::new() }
}

/// What went wrong stands out; what passed is told apart by its direction.
fn style(event: &Event<'_>) -> Style {
    let color = match event {
        event if is_wrong(event) => AnsiColor::Red,
        Event::Message(Message { direction: Direction::Sent, .. }, _) => AnsiColor::Cyan,
        Event::Message(..) => AnsiColor::Green,
        Event::Open(_) | Event::Close { .. } => AnsiColor::Blue,
        Event::Frame(_) => return Style::new().dimmed(),
        Event::Exchange(_) | Event::Gap { .. } => return Style::new(),
    };
    Style::new().fg_color(Some(color.into()))
}

/// What every line has behind the connection: an arrow, a word, a figure.
fn write_columns(
    out: &mut impl Write,
    arrow: char,
    word: &str,
    figure: &impl Display,
) -> io::Result<()> {
    write!(out, "{arrow} {word:<6} {figure:>11}")
}

fn write_open(out: &mut impl Write, role: Role, open: &Open<'_>) -> io::Result<()> {
    write_columns(out, '+', "open", &role.as_str())?;
    if let Some(host) = open.host {
        write!(out, "  {}{}", Name(host), Name(open.path.unwrap_or_default()))?;
    }
    for value in [open.subprotocol, open.extensions].into_iter().flatten() {
        write!(out, " ({})", Name(value))?;
    }
    write!(out, "{}", if open.mid_stream { "  mid-stream" } else { "" })
}

fn write_frame(out: &mut impl Write, frame: &Frame) -> io::Result<()> {
    write_columns(out, arrow(frame.direction), "frame", &Bytes(frame.length))?;
    write!(out, "  {}", frame.opcode.as_str())?;
    for (is_set, name) in [(frame.fin, "fin"), (frame.rsv1, "rsv1"), (frame.masked, "masked")] {
        if is_set {
            write!(out, " {name}")?;
        }
    }
    Ok(())
}

fn write_message(
    out: &mut impl Write,
    message: &Message<'_>,
    reading: &MessageReading<'_>,
) -> io::Result<()> {
    let length = Bytes(message.length.unwrap_or(message.wire_length));
    write_columns(out, arrow(message.direction), message.message_type.as_str(), &length)?;
    write!(out, "  {}", Name(reading.protocol))?;
    if let Some(kind) = reading.kind {
        write!(out, " {}", kind.as_str())?;
    }
    if let Some(method) = reading.method.filter(|method| !method.is_empty()) {
        write!(out, " {}", Name(method))?;
    }
    if let Some(id) = reading.id.and_then(IdToken::text) {
        write!(out, " id={}", Name(id))?;
    }
    if message.compressed {
        write!(out, " ({} on the wire)", Bytes(message.wire_length))?;
    }
    if message.frames > 1 {
        write!(out, " ({} frames)", message.frames)?;
    }
    Ok(())
}

/// How old a message is, and what its number says unless it is the next one.
fn write_feed(
    out: &mut impl Write,
    lag_ns: Option<i64>,
    reading: &MessageReading<'_>,
) -> io::Result<()> {
    if let Some(lag_ns) = lag_ns {
        let sign = if lag_ns < 0 { "-" } else { "" };
        write!(out, " lag={sign}{:.3?}", Duration::from_nanos(lag_ns.unsigned_abs()))?;
    }
    match reading.feed.and_then(|feed| feed.sequence) {
        None | Some(SequenceStep::Begun | SequenceStep::InOrder) => Ok(()),
        Some(SequenceStep::Missing(missing)) => write!(out, " missing={missing}"),
        Some(SequenceStep::Unchecked(reason)) => write!(out, " unchecked={}", reason.as_str()),
        Some(step) => write!(out, " {}", step.as_str()),
    }
}

fn write_payload(
    view: &MessageView,
    out: &mut impl Write,
    message: &Message<'_>,
) -> io::Result<()> {
    let (shown, complete) = view.visible(message.payload, message.truncated);
    let end = if complete { "" } else { "..." };
    match utf8_prefix(shown).filter(|_| message.message_type == MessageType::Text) {
        Some(text) => writeln!(out, "    {}{end}", Safe(text)),
        None => writeln!(out, "    {}{end}", Hex(shown)),
    }
}

fn write_exchange(out: &mut impl Write, exchange: &Exchange<'_>) -> io::Result<()> {
    match exchange.turnaround_ns {
        Some(ns) => {
            let turnaround = format!("{:.3?}", Duration::from_nanos(ns));
            write_columns(out, '=', exchange.origin.as_str(), &turnaround)?;
        }
        None => write_columns(out, '=', exchange.origin.as_str(), &'-')?,
    }
    write!(out, "  {}", Name(exchange.protocol))?;
    if !exchange.method.is_empty() {
        write!(out, " {}", Name(exchange.method))?;
    }
    let id = exchange.id.text().unwrap_or_default();
    write!(out, " id={} {}", Name(id), exchange.outcome.as_str())
}

fn arrow(direction: Direction) -> char {
    match direction {
        Direction::Sent => '>',
        Direction::Received => '<',
    }
}

/// A number of bytes.
struct Bytes(u64);

impl Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{} B", self.0))
    }
}

/// Characters of a name that are shown.
const NAME_CHARS: usize = 64;

/// A name from the wire: safe, and not longer than it is good to read.
struct Name<'a>(&'a str);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(NAME_CHARS) {
            Some((end, _)) => f.pad(&format!("{}...", Safe(&self.0[..end]))),
            None => f.pad(&Safe(self.0).to_string()),
        }
    }
}

/// Text with everything escaped that is not simply visible: control characters, changes of the
/// direction of writing, invisible ones.
struct Safe<'a>(&'a str);

impl Display for Safe<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '"' | '\'' => f.write_char(c)?,
                c => Display::fmt(&c.escape_debug(), f)?,
            }
        }
        Ok(())
    }
}

/// Bytes in hex, in groups of two.
struct Hex<'a>(&'a [u8]);

impl Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, pair) in self.0.chunks(2).enumerate() {
            f.write_str(if i == 0 { "" } else { " " })?;
            pair.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        }
        Ok(())
    }
}
