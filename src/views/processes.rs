//! What `wstap ps` prints: the processes that can be tapped, those first that are probably looked for.
//!
//! JSON has a row for each TLS library, with everything that is known. The table has a line for each
//! process and fits the terminal; what stands in it has control characters escaped and is cut short.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use crate::terminal::Escaped;

/// One process and one TLS library in it, or its TCP sockets where it has no TLS.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ProcessRow {
    /// Process id.
    pub pid: u32,
    /// `/proc/PID/comm`.
    pub comm: String,
    /// TLS library, or `plain`.
    pub stack: &'static str,
    /// Its version, where that is known.
    pub version: Option<String>,
    /// How it is linked into the file.
    pub linkage: &'static str,
    /// Where its symbols come from.
    pub symbols: &'static str,
    /// How its functions would be probed.
    pub technique: Vec<&'static str>,
    /// `ready`, `experimental`, or `unsupported: ` and the reason.
    pub verdict: String,
    /// The file that holds it.
    pub file: String,
    /// What tells the process from others.
    #[serde(flatten)]
    pub place: Place,
}

/// What tells a process from others of its name.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Place {
    /// Id of the container that it runs in, as engines print it.
    pub container: Option<String>,
    /// The systemd unit that it belongs to.
    pub unit: Option<String>,
    /// What it was started with, its own name first.
    pub arguments: Vec<String>,
    /// Its TCP sockets.
    #[serde(flatten)]
    pub sockets: Sockets,
}

/// TCP sockets of a process.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Sockets {
    /// Ports that it listens on, in order.
    pub listening: Vec<u16>,
    /// Established connections to such a port.
    pub connections_in: usize,
    /// Other established connections.
    pub connections_out: usize,
    /// Those of all connections that carry no TLS: a process at one of their ends has none.
    pub connections_plain: usize,
    /// The others. The kernel does not tell which of them carry TLS.
    pub connections_maybe_tls: usize,
}

impl ProcessRow {
    fn is_tappable(&self) -> bool {
        self.reason().is_none()
    }

    /// Why it cannot be tapped.
    fn reason(&self) -> Option<&str> {
        self.verdict.strip_prefix("unsupported: ")
    }

    /// How probably it is looked for: something that can be read, and is connected, through TLS.
    fn likelihood(&self) -> (u8, usize) {
        let Sockets { listening, connections_in, connections_out, .. } = &self.place.sockets;
        let connections = connections_in + connections_out;
        let is_tls = self.stack != "plain" && self.is_tappable();
        let score = 3 * u8::from(is_tls)
            + 2 * u8::from(connections > 0 && self.is_tappable())
            + 2 * u8::from(!listening.is_empty() && self.is_tappable());
        (score, connections)
    }
}

/// Puts those first that are probably looked for. The rows of a process stay together, as they were.
pub fn sort(rows: &mut [ProcessRow]) {
    let mut best: BTreeMap<u32, (u8, usize)> = BTreeMap::new();
    for row in rows.iter() {
        let known = best.entry(row.pid).or_default();
        *known = row.likelihood().max(*known);
    }
    rows.sort_by_key(|row| (Reverse(best[&row.pid]), row.pid));
}

/// The rows as a table that fits a terminal of `width` columns.
#[must_use]
pub fn table(rows: &[ProcessRow], width: usize) -> String {
    let lines: Vec<[String; COLUMNS]> = rows.chunk_by(|a, b| a.pid == b.pid).map(cells).collect();
    let widths = widths(&lines, width);
    let mut text = String::new();
    let heads = HEADS.map(|(head, _)| head.to_owned());
    for line in std::iter::once(&heads).chain(&lines) {
        write_line(&mut text, line, &widths, width);
    }
    if rows.iter().any(|row| row.place.sockets.connections_maybe_tls > 0) {
        wrap(&mut text, MAYBE_TLS, width);
    }
    write_reasons(&mut text, rows, width);
    text
}

/// What nobody can tell from outside is said.
const MAYBE_TLS: &str = "TLS? counts connections of a process that has TLS; the kernel does not tell \
                         which of them use it. PLAIN counts those that cannot.";

const COLUMNS: usize = 11;
/// The columns that give way where there is little room, and the one that has the rest.
const IN: usize = 6;
const OUT: usize = 7;
const WHERE: usize = 9;
const ARGUMENTS: usize = 10;

/// The head of each column and the most characters that it takes.
const HEADS: [(&str, usize); COLUMNS] = [
    ("PID", 10),
    ("COMMAND", 15),
    ("LIBRARY", 17),
    ("LISTENS", 11),
    ("TLS?", 6),
    ("PLAIN", 6),
    ("IN", 6),
    ("OUT", 6),
    ("TAP", 5),
    ("WHERE", 24),
    ("ARGUMENTS", usize::MAX),
];

/// Arguments are worth nothing in less than this.
const ARGUMENTS_LEAST: usize = 18;

/// The line of one process.
fn cells(rows: &[ProcessRow]) -> [String; COLUMNS] {
    // There is a row wherever there is a process; tappable libraries speak for it.
    let Some(row) = rows.iter().find(|row| row.is_tappable()).or_else(|| rows.first()) else {
        return Default::default();
    };
    let Place { container, unit, arguments, sockets } = &row.place;
    let mut library =
        [Some(row.stack), row.version.as_deref()].map(Option::unwrap_or_default).join(" ");
    if rows.len() > 1 {
        library = format!("{} +{}", library.trim_end(), rows.len() - 1);
    }
    let tap = match row.verdict.as_str() {
        "ready" => "yes",
        "experimental" => "maybe",
        _ => "no",
    };
    let arguments: Vec<&str> = arguments.iter().skip(1).map(String::as_str).collect();
    let cells = [
        row.pid.to_string(),
        row.comm.clone(),
        library,
        ports(&sockets.listening),
        sockets.connections_maybe_tls.to_string(),
        sockets.connections_plain.to_string(),
        sockets.connections_in.to_string(),
        sockets.connections_out.to_string(),
        tap.to_owned(),
        container.clone().or_else(|| unit.clone()).unwrap_or_default(),
        arguments.join(" "),
    ];
    cells.map(|cell| match Escaped(cell.trim()).to_string() {
        cell if cell.is_empty() => "-".to_owned(),
        cell => cell,
    })
}

/// As many ports as find room.
fn ports(listening: &[u16]) -> String {
    let shown: Vec<String> = listening.iter().take(2).map(u16::to_string).collect();
    match listening.len() {
        0..=2 => shown.join(","),
        all => format!("{} +{}", shown[0], all - 1),
    }
}

/// How wide each column is; 0 where it is left out.
fn widths(lines: &[[String; COLUMNS]], width: usize) -> [usize; COLUMNS] {
    let mut widths = HEADS.map(|(head, _)| head.len());
    for line in lines {
        for ((widest, cell), (_, most)) in widths.iter_mut().zip(line).zip(HEADS) {
            *widest = (*widest).max(cell.chars().count().min(most));
        }
    }
    if lines.iter().all(|line| line[WHERE] == "-") {
        widths[WHERE] = 0;
    }
    let others = |widths: &[usize; COLUMNS]| -> usize {
        widths[..ARGUMENTS].iter().filter(|&&width| width > 0).map(|width| width + 1).sum()
    };
    let spare = |widths: &[usize; COLUMNS]| width.saturating_sub(others(widths));
    let wanted = ARGUMENTS_LEAST.min(widths[ARGUMENTS]);
    if spare(&widths) < wanted {
        (widths[IN], widths[OUT]) = (0, 0);
    }
    let missing = ARGUMENTS_LEAST.saturating_sub(spare(&widths));
    // A container's id has 12 digits, and less of it says nothing.
    let least = HEADS[WHERE].0.len().max(12);
    widths[WHERE] = match widths[WHERE].saturating_sub(missing) {
        left if left >= least.min(widths[WHERE]) => left,
        _ => 0,
    };
    widths[ARGUMENTS] = spare(&widths).min(widths[ARGUMENTS]);
    widths
}

fn write_line(text: &mut String, cells: &[String; COLUMNS], widths: &[usize], width: usize) {
    let mut line = String::new();
    for (column, (cell, &width)) in cells.iter().zip(widths).enumerate() {
        if width == 0 {
            continue;
        }
        let cell = shortened(cell, width);
        let is_number = matches!(HEADS[column].0, "PID" | "TLS?" | "PLAIN" | "IN" | "OUT");
        // A String takes everything.
        let _ = if is_number {
            write!(line, "{cell:>width$} ")
        } else {
            write!(line, "{cell:width$} ")
        };
    }
    *text += shortened(line.trim_end(), width).trim_end();
    text.push('\n');
}

/// The beginning, with a sign that something is missing.
fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// At most this many processes are named with a reason.
const NAMED_MAX: usize = 5;

/// Why some cannot be tapped, each reason once.
fn write_reasons(text: &mut String, rows: &[ProcessRow], width: usize) {
    let mut reasons: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for row in rows {
        let Some(reason) = row.reason() else { continue };
        let named = reasons.entry(reason).or_default();
        let name = format!("{} ({})", row.pid, Escaped(&row.comm));
        if !named.contains(&name) {
            named.push(name);
        }
    }
    for (reason, mut named) in reasons {
        let more = named.len().saturating_sub(NAMED_MAX);
        named.truncate(NAMED_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let sentence = format!("{}{more} cannot be tapped: {}", named.join(", "), Escaped(reason));
        wrap(text, &sentence, width);
    }
}

/// Whole words in lines of `width`; a longer word has a line of its own.
fn wrap(text: &mut String, sentence: &str, width: usize) {
    let mut column = 0;
    for word in sentence.split(' ') {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > width {
            *text += "\n  ";
            column = 2;
        } else if column > 0 {
            text.push(' ');
            column += 1;
        }
        *text += word;
        column += length;
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(pid: u32, comm: &str, stack: &'static str) -> ProcessRow {
        let version = (stack != "plain").then(|| "3.0.17".to_owned());
        let (verdict, comm) = ("ready".to_owned(), comm.to_owned());
        ProcessRow { pid, comm, stack, version, verdict, ..ProcessRow::default() }
    }

    fn with(mut row: ProcessRow, arguments: &[&str], sockets: Sockets) -> ProcessRow {
        row.place.arguments = arguments.iter().map(|&it| it.to_owned()).collect();
        row.place.sockets = sockets;
        row
    }

    fn sockets(listening: &[u16], connections_in: usize, connections_out: usize) -> Sockets {
        Sockets {
            listening: listening.to_vec(),
            connections_in,
            connections_out,
            connections_plain: connections_out,
            connections_maybe_tls: connections_in,
        }
    }

    fn machine() -> Vec<ProcessRow> {
        let server = ["/usr/bin/node", "server.js", "--port", "8443"];
        let mut unsupported = row(9, "shop", "rustls");
        unsupported.verdict = "unsupported: rustls 0.23.46 inside, symbols stripped".into();
        let plain =
            Sockets { connections_plain: 1, connections_maybe_tls: 0, ..sockets(&[22], 1, 0) };
        vec![
            with(row(1, "systemd", "openssl"), &["/sbin/init"], sockets(&[], 0, 0)),
            with(row(7, "sshd", "plain"), &["sshd", "-D"], plain),
            with(unsupported, &["shop"], sockets(&[443], 90, 0)),
            with(row(4242, "node", "openssl"), &server, sockets(&[8443, 9000, 9001], 12, 3)),
            with(row(4243, "python3", "openssl"), &["python3", "feed.py"], sockets(&[], 0, 8)),
        ]
    }

    #[test]
    fn what_listens_and_is_connected_through_tls_stands_first_and_what_cannot_be_tapped_last() {
        let mut rows = machine();
        sort(&mut rows);
        let order: Vec<u32> = rows.iter().map(|row| row.pid).collect();
        assert_eq!(order, [4242, 4243, 7, 1, 9]);
    }

    #[test]
    fn the_table_of_80_columns() {
        let mut rows = machine();
        sort(&mut rows);
        let expected = "\x20\
PID COMMAND LIBRARY        LISTENS TLS? PLAIN IN OUT TAP ARGUMENTS
4242 node    openssl 3.0.17 8443 +2   12     3 12   3 yes server.js --port 8443
4243 python3 openssl 3.0.17 -          0     8  0   8 yes feed.py
   7 sshd    plain          22         0     1  1   0 yes -D
   1 systemd openssl 3.0.17 -          0     0  0   0 yes -
   9 shop    rustls 3.0.17  443       90     0 90   0 no  -
TLS? counts connections of a process that has TLS; the kernel does not tell
  which of them use it. PLAIN counts those that cannot.
9 (shop) cannot be tapped: rustls 0.23.46 inside, symbols stripped
";
        assert_eq!(table(&rows, 80), expected);
    }

    #[test]
    fn no_line_is_longer_than_the_terminal_and_a_wider_one_shows_more() {
        let mut long = machine();
        for row in &mut long {
            row.pid += 4_000_000;
            row.comm = "a-name-of-15-ch".into();
            row.place.unit = Some("user@1000-of-somebody.service".into());
            row.place.arguments = vec!["x".into(), "y".repeat(1000)];
            row.verdict = format!("unsupported: {}", "because of this ".repeat(20));
        }
        let shown = |width: usize| {
            let text = table(&long, width);
            let longest = text.lines().map(|line| line.chars().count()).max();
            assert!(longest.is_some_and(|longest| longest <= width), "{text}");
            text.matches('y').count()
        };
        let [narrow, usual, wide, wider] = [40, 80, 120, 200].map(shown);
        assert!(narrow < usual && usual < wide && wide < wider, "{narrow} {usual} {wide} {wider}");
        assert!(table(&long, 120).contains("user@1000"), "{}", table(&long, 120));
        let is_told = |width, head| table(&long, width).contains(head);
        assert!(is_told(80, " TLS? PLAIN ") && !is_told(80, " OUT "), "{}", table(&long, 80));
        assert!(is_told(120, " TLS? PLAIN ") && is_told(120, " OUT "), "{}", table(&long, 120));
    }

    #[test]
    fn several_libraries_of_a_process_share_a_line_and_the_one_that_can_be_tapped_is_named() {
        let mut broken = row(5, "app", "gnutls");
        broken.verdict = "unsupported: why".into();
        let text = table(&[broken, row(5, "app", "openssl")], 80);
        assert!(text.contains("openssl 3.0.17 +1"), "{text}");
        assert_eq!(text.lines().count(), 3, "head, line, reason: {text}");
    }

    #[test]
    fn control_characters_are_escaped() {
        let evil =
            with(row(5, "a\u{1b}[2Jb", "plain"), &["x", "\u{1b}]0;t\u{7}\nx"], Sockets::default());
        let text = table(&[evil], 200);
        assert!(!text.contains('\u{1b}') && text.lines().count() == 2, "{text:?}");
        assert!(text.contains("\\u{1b}]0;t\\u{7}\\nx"), "{text}");
    }

    #[test]
    fn a_row_as_json_has_everything() {
        let row = with(row(5, "app", "openssl"), &["app", "-v"], sockets(&[443], 2, 1));
        let value = serde_json::to_value(&row).expect("JSON");
        let expected = serde_json::json!({
            "pid": 5, "comm": "app", "stack": "openssl", "version": "3.0.17", "linkage": "",
            "symbols": "", "technique": [], "verdict": "ready", "file": "", "container": null,
            "unit": null, "arguments": ["app", "-v"], "listening": [443], "connections_in": 2,
            "connections_out": 1, "connections_plain": 1, "connections_maybe_tls": 2,
        });
        assert_eq!(value, expected);
    }
}
