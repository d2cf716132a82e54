//! Columns for people: time (UTC), process, connection, an arrow, then the event.
//!
//! Whatever comes from the wire is escaped: no byte of a peer reaches the terminal as a control
//! character, and nothing can turn the direction of writing around.

use std::fmt::{self, Display, Write as _};
use std::io::{self, Write};

use jiff::tz::TimeZone;

use super::{Event, FrameView, Line, utf8_prefix};
use crate::decode::event::Direction;
use crate::decode::observation::{Exchange, Frame, Message, MessageKind, MessageType, Open, Role};
use crate::export::duration::Nanoseconds;

pub(super) fn write(view: &FrameView, out: &mut impl Write, line: &Line<'_>) -> io::Result<()> {
    let Line { observation, process, event } = line;
    let wall = view.wall(observation.at_ns).to_zoned(TimeZone::UTC).time();
    write!(out, "{wall:.6}Z {}[{}] {} ", Safe(process.comm), process.pid, observation.conn)?;
    match event {
        Event::Open(open) => write_open(out, observation.role, open),
        Event::Frame(frame) => write_frame(out, frame),
        Event::Message(message) => write_message(view, out, message),
        Event::Exchange(exchange) => write_exchange(out, exchange),
        Event::Close { code } => writeln!(out, "- close {code}"),
        Event::Gap { direction, bytes, reason } => {
            writeln!(out, "! lost {bytes} B {} {}", direction.as_str(), reason.as_str())
        }
    }
}

fn write_open(out: &mut impl Write, role: Role, open: &Open<'_>) -> io::Result<()> {
    write!(out, "+ open {}", role.as_str())?;
    if let Some(host) = open.host {
        write!(out, " {}{}", Safe(host), Safe(open.path.unwrap_or_default()))?;
    }
    for value in [open.subprotocol, open.extensions].into_iter().flatten() {
        write!(out, " ({})", Safe(value))?;
    }
    writeln!(out, "{}", if open.mid_stream { " mid-stream" } else { "" })
}

fn write_frame(out: &mut impl Write, frame: &Frame) -> io::Result<()> {
    write!(out, "{} frame {:<12}", arrow(frame.direction), frame.opcode.as_str())?;
    write!(out, " {:>8} B", frame.length)?;
    for (is_set, name) in [(frame.fin, "fin"), (frame.rsv1, "rsv1"), (frame.masked, "masked")] {
        if is_set {
            write!(out, " {name}")?;
        }
    }
    writeln!(out)
}

fn write_message(view: &FrameView, out: &mut impl Write, message: &Message<'_>) -> io::Result<()> {
    write!(out, "{} {:<6}", arrow(message.direction), message.message_type.as_str())?;
    write!(out, " {:>8} B", message.length.unwrap_or(message.wire_length))?;
    if message.compressed {
        write!(out, " ({} on the wire)", message.wire_length)?;
    }
    if message.frames > 1 {
        write!(out, " in {} frames", message.frames)?;
    }
    write!(out, "  {}", Safe(message.protocol))?;
    if let Some(kind) = message.kind {
        write!(out, " {:<12}", kind.as_str())?;
        let method = message.method.filter(|_| kind != MessageKind::Response);
        if let Some(method) = method.filter(|method| !method.is_empty()) {
            write!(out, " {}", Safe(method))?;
        }
    }
    if let Some(id) = message.id {
        write!(out, " id={}", Safe(id))?;
    }
    writeln!(out)?;
    if view.payload == 0 {
        return Ok(());
    }
    write_payload(view, out, message)
}

fn write_payload(view: &FrameView, out: &mut impl Write, message: &Message<'_>) -> io::Result<()> {
    let (shown, complete) = view.visible(message.payload, message.truncated);
    let end = if complete { "" } else { "..." };
    match utf8_prefix(shown).filter(|_| message.message_type == MessageType::Text) {
        Some(text) => writeln!(out, "    {}{end}", Safe(text)),
        None => writeln!(out, "    {}{end}", Hex(shown)),
    }
}

fn write_exchange(out: &mut impl Write, exchange: &Exchange<'_>) -> io::Result<()> {
    write!(out, "= {:<6} {}", exchange.origin.as_str(), Safe(exchange.protocol))?;
    if !exchange.method.is_empty() {
        write!(out, " {}", Safe(exchange.method))?;
    }
    write!(out, " id={} {}", Safe(exchange.id), exchange.outcome.as_str())?;
    match exchange.turnaround_ns {
        Some(ns) => writeln!(out, " {}", Nanoseconds(ns)),
        None => writeln!(out),
    }
}

fn arrow(direction: Direction) -> char {
    match direction {
        Direction::Sent => '>',
        Direction::Received => '<',
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
