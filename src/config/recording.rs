//! What is meant by the flags of `wstap record`.

use std::path::PathBuf;
use std::time::Duration;

use regex::bytes::{Regex, RegexBuilder};

use super::{TapConfig, UsageError};
use crate::cli::recording::RecordArgs;

/// Where a recording goes, and when it ends.
#[derive(Clone, Debug)]
pub struct RecordConfig {
    /// The file, or `-` for standard output.
    pub path: PathBuf,
    /// A file that is there may be replaced.
    pub force: bool,
    /// Bytes of each file.
    pub max_bytes: u64,
    /// Files that are written in turn; 1 does not rotate.
    pub parts: u8,
    /// How long it lasts at most.
    pub duration: Option<Duration>,
    /// Names of header fields to redact, besides the usual ones.
    pub redact: Vec<Regex>,
    /// HTTP/2 is kept, with the secrets in its heads.
    pub http2: bool,
    /// The session ends with the recording.
    pub alone: bool,
}

const DEFAULT_MAX_BYTES: u64 = 1 << 30;

/// Below it there would hardly be room for a block.
const LEAST_BYTES: u64 = 256 << 10;

impl RecordConfig {
    /// Beside another job, with every default, and with HTTP/2 or not.
    #[must_use]
    pub fn beside(path: PathBuf, http2: bool) -> Self {
        Self {
            path,
            force: false,
            max_bytes: DEFAULT_MAX_BYTES,
            parts: 1,
            duration: None,
            redact: Vec::new(),
            http2,
            alone: false,
        }
    }

    /// Checks what was typed for `wstap record`, and returns the tap that it means.
    ///
    /// # Errors
    ///
    /// A [`UsageError`] that names the flag and the reason.
    pub fn tap(args: &RecordArgs) -> Result<TapConfig, UsageError> {
        let mut record = Self::beside(args.output.clone(), args.http2);
        record.alone = true;
        record.force = args.force;
        record.max_bytes = args.max_size.map_or(DEFAULT_MAX_BYTES, |size| size.0);
        if record.max_bytes < LEAST_BYTES {
            return Err(UsageError(format!("max-size: it must be at least {LEAST_BYTES} bytes")));
        }
        record.parts = args.rotate.unwrap_or(1);
        if record.parts > 1 && record.is_stdout() {
            return Err(UsageError("rotate: standard output is one file; give -o a name".into()));
        }
        record.duration = args.duration.map(|span| span.0);
        record.redact = args.redact.iter().map(|it| pattern(it)).collect::<Result<_, _>>()?;
        let window = args.payload.as_deref().map(window).transpose()?;
        let mut config = TapConfig::recorded(&args.tap, window)?;
        config.record = Some(record);
        Ok(config)
    }

    /// It goes to standard output.
    #[must_use]
    pub fn is_stdout(&self) -> bool {
        self.path.as_os_str() == "-"
    }
}

/// Names of header fields are compared in lower case.
fn pattern(text: &str) -> Result<Regex, UsageError> {
    RegexBuilder::new(text)
        .case_insensitive(true)
        .unicode(false)
        .build()
        .map_err(|error| UsageError(format!("redact: {error}")))
}

/// The largest window there is.
const ALL_BYTES: u64 = 16 << 20;

/// The window that keeps so much payload.
fn window(payload: &str) -> Result<u64, UsageError> {
    if payload == "all" {
        return Ok(ALL_BYTES);
    }
    let bytes = payload.parse().map_err(|_| {
        UsageError(format!("payload: `{payload}` is neither a number of bytes nor `all`"))
    })?;
    if bytes < 256 {
        return Err(UsageError(format!(
            "payload: {bytes} is too little: without the first 256 bytes of each message a replay \
             could match nothing; leave --payload out to keep no more than matching needs"
        )));
    }
    Ok(bytes)
}
