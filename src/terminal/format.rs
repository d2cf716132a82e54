//! What a line of the log looks like: for people, or for programs as Prometheus exporters write it.

use std::fmt::{self, Debug};
use std::sync::OnceLock;

use clap::ValueEnum;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{Format, FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::registry::LookupSpan;

use super::Escaped;

/// A format of the log that programs read, in the words of Prometheus exporters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// time=... level=INFO msg="..."
    Logfmt,
    /// One JSON object on each line
    Json,
}

/// The format that was asked for, if any.
static FORMAT: OnceLock<LogFormat> = OnceLock::new();

/// Writes the log in this format from now on. Only the first call counts.
pub fn set_log_format(format: LogFormat) {
    let _ = FORMAT.set(format);
}

/// Writes each event in the format that was asked for, else for people.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogLines;

impl<S, N> FormatEvent<S, N> for LogLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(&format) = FORMAT.get() else {
            return Format::default().with_target(false).format_event(context, writer, event);
        };
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = *event.metadata().level();
        writeln!(writer, "{}", format.line(&now(), level, &fields))
    }
}

/// A line that says this sentence, if a format for programs was asked for.
pub(super) fn line(level: Level, sentence: &str) -> Option<String> {
    let fields = Fields { message: sentence.to_owned(), others: Vec::new() };
    FORMAT.get().map(|format| format.line(&now(), level, &fields))
}

fn now() -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

/// What an event says.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, String)>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.keep(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.keep(field, value.to_owned());
    }
}

impl Fields {
    fn keep(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            name => self.others.push((name, value)),
        }
    }
}

impl LogFormat {
    fn line(self, time: &str, level: Level, fields: &Fields) -> String {
        let first = [("time", time), ("level", level.as_str()), ("msg", &fields.message)];
        let others = fields.others.iter().map(|(name, value)| (*name, value.as_str()));
        let mut pairs = first.into_iter().chain(others);
        match self {
            Self::Logfmt => joined(&mut pairs, " ", |name, value| {
                let value = Escaped(value).to_string();
                let is_plain = !value.is_empty() && !value.contains([' ', '"', '=']);
                format!("{name}={}", if is_plain { value } else { quoted(&value) })
            }),
            Self::Json => {
                let pair = |name: &str, value: &str| {
                    format!("{}:{}", quoted(name), quoted(&Escaped(value).to_string()))
                };
                format!("{{{}}}", joined(&mut pairs, ",", pair))
            }
        }
    }
}

/// In quotes, as JSON and Go write it.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn joined<'a>(
    pairs: &mut dyn Iterator<Item = (&'a str, &'a str)>,
    between: &str,
    written: impl Fn(&str, &str) -> String,
) -> String {
    pairs.map(|(name, value)| written(name, value)).collect::<Vec<_>>().join(between)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(message: &str, others: &[(&'static str, &str)]) -> Fields {
        let others = others.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Fields { message: message.to_owned(), others }
    }

    #[test]
    fn logfmt_quotes_only_what_needs_it() {
        let written = |message, others| {
            LogFormat::Logfmt.line("2026-11-29T00:00:00.5Z", Level::WARN, &fields(message, others))
        };
        assert_eq!(written("ready", &[]), "time=2026-11-29T00:00:00.5Z level=WARN msg=ready");
        let line = written("pid 7 is \"odd\"", &[("error", "a=b"), ("path", "/x"), ("none", "")]);
        assert_eq!(
            line,
            "time=2026-11-29T00:00:00.5Z level=WARN msg=\"pid 7 is \\\"odd\\\"\" error=\"a=b\" \
             path=/x none=\"\""
        );
    }

    /// Another program gives the names that stand in the log.
    #[test]
    fn a_line_of_json_is_one_object_whatever_it_says() {
        for said in ["plain", "a \"b\" \\ c", "two\nlines", "\x1b[2J\x7f\u{202e}\u{0}", "\u{fc}"] {
            let line = LogFormat::Json.line("now", Level::ERROR, &fields(said, &[("error", said)]));
            // As the log writes it.
            let line = Escaped(&line).to_string();
            let read: serde_json::Value = serde_json::from_str(&line).expect(&line);
            let expected = Escaped(said).to_string();
            assert_eq!(read["level"], "ERROR");
            assert_eq!(
                (&read["msg"], &read["error"]),
                (&expected.clone().into(), &expected.into())
            );
        }
    }
}
