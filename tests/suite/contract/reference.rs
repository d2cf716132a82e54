use std::fmt::Write;

use clap::CommandFactory;
use prometheus::proto::MetricFamily;
use wstap::cli::{Cli, MonitorArgs, TapArgs};
use wstap::config::MonitorConfig;
use wstap::event::{ConnId, Direction, TargetId};
use wstap::matching::Protocols;
use wstap::observation::*;
use wstap::views::Process;
use wstap::views::messages::{Format, MessageView};

use crate::suite::common::exporter::Fixture;
use crate::suite::common::sources::{files_below, root, text};

/// A document is written by hand around blocks that are not: between `<!-- NAME -->` and
/// `<!-- end -->` it must say what the program says. `WSTAP_BLESS=1 cargo test reference` writes
/// the blocks anew.
#[track_caller]
fn assert_block(document: &str, name: &str, block: &str) {
    let path = root().join("docs").join(document);
    let text = std::fs::read_to_string(&path).expect("the document");
    let begin = format!("<!-- {name} -->\n");
    let (before, rest) = text.split_once(&begin).expect("where the block begins");
    let (_, after) = rest.split_once("<!-- end -->").expect("where the block ends");
    let expected = format!("{before}{begin}{block}<!-- end -->{after}");
    if std::env::var_os("WSTAP_BLESS").is_some() {
        std::fs::write(&path, &expected).expect("a file");
        return;
    }
    assert!(text == expected, "{document} is out of date; block {name} should be\n{block}");
}

#[test]
fn the_metrics_reference_lists_what_is_served() {
    let mut fixture = Fixture::new();
    fixture.everything([1_000_000]);
    let mut table = "| metric | type | labels | meaning |\n|---|---|---|---|\n".to_owned();
    for family in fixture.metrics.registry().gather() {
        writeln!(table, "{}", row(&family)).expect("a String takes everything");
    }
    assert_block("metrics.md", "table", &table);
}

fn row(family: &MetricFamily) -> String {
    let labels = family.get_metric()[0].get_label();
    let labels: Vec<_> = labels.iter().map(|label| format!("`{}`", label.name())).collect();
    let kind = format!("{:?}", family.get_field_type()).to_lowercase();
    let help = family.help().replace('_', "\\_");
    format!("| `{}` | {kind} | {} | {help} |", family.name(), labels.join(", "))
}

/// Every situation in the table is run by the test that it names.
#[test]
fn the_targets_reference_names_tests_that_there_are() {
    let table = text(&root().join("docs/targets.md")).expect("the document");
    let tests: String =
        files_below(&root().join("tests/suite")).iter().filter_map(|file| text(file)).collect();
    let rows = table.lines().filter(|line| line.starts_with("| ")).skip(1);
    let named: Vec<&str> = rows.filter_map(|row| row.rsplit('`').nth(1)).collect();
    assert!(named.len() > 20, "{named:?}");
    for name in named {
        assert!(tests.contains(&format!("#[test]\nfn {name}() {{")), "there is no test {name}");
    }
}

#[test]
fn the_configuration_reference_has_every_flag_of_every_command() {
    let mut command = Cli::command();
    command.build();
    let mut text = section("wstap", &command);
    for command in command.get_subcommands().filter(|it| it.get_name() != "help") {
        text += &section(&format!("wstap {}", command.get_name()), command);
    }
    assert_block("operation/configuration.md", "flags", &text);
}

/// A command's flags, without those that every command has.
fn section(name: &str, command: &clap::Command) -> String {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let mut text = format!("### `{name}`\n\n{about}\n\n| flag | what it does |\n|---|---|\n");
    let is_of_all = |argument: &clap::Arg| {
        name != "wstap" && argument.is_global_set() || argument.get_id() == "help"
    };
    for argument in command.get_arguments().filter(|argument| !is_of_all(argument)) {
        let about = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let about = about.replace('|', "\\|");
        writeln!(text, "| {} | {about} |", spellings(argument)).expect("a String takes everything");
    }
    text + "\n"
}

/// How a flag is written, with its value.
fn spellings(argument: &clap::Arg) -> String {
    let values: Vec<String> =
        argument.get_value_names().unwrap_or_default().iter().map(ToString::to_string).collect();
    let takes_value = argument.get_action().takes_values() && !values.is_empty();
    let value = if takes_value { format!(" {}", values.join(" ")) } else { String::new() };
    let short = argument.get_short().map(|short| format!("`-{short}`"));
    let long = argument.get_long().map(|long| format!("`--{long}{value}`"));
    let others = argument.get_visible_aliases().unwrap_or_default();
    let others = others.into_iter().map(|other| format!("`--{other}`"));
    let all: Vec<_> = short.into_iter().chain(long).chain(others).collect();
    if all.is_empty() { format!("`{}`", values.join(" ")) } else { all.join(", ") }
}

/// An example that does not load teaches the wrong keys.
#[test]
fn the_example_of_a_configuration_file_loads() {
    let document = text(&root().join("docs/operation/configuration.md")).expect("the document");
    let example = document.split("```toml\n").nth(1).expect("an example");
    let example = example.split("```").next().expect("split gives one at least");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), example).expect("a file");
    let tap = TapArgs { config: Some(file.path().to_owned()), ..TapArgs::default() };
    let args = MonitorArgs { tap, ..MonitorArgs::default() };
    let config = MonitorConfig::new(&args).expect("a legal file");
    let names: Vec<_> =
        config.tap.wanted.iter().filter_map(|wanted| wanted.name.as_deref()).collect();
    assert_eq!(names, ["feed", "feed", "chargers"]);
}

#[test]
fn the_protocols_reference_lists_what_is_recognised() {
    let mut table = "| name | subprotocols | paths | messages |\n|---|---|---|---|\n".to_owned();
    for protocol in Protocols::builtin().descriptions() {
        let code = |texts: &[Box<str>]| {
            texts.iter().map(|text| format!("`{text}`")).collect::<Vec<_>>().join(", ")
        };
        let (subprotocols, paths) = (code(protocol.subprotocols), code(protocol.paths));
        writeln!(table, "| `{}` | {subprotocols} | {paths} | {} |", protocol.name, protocol.about)
            .expect("a String takes everything");
    }
    assert_block("protocols.md", "builtin", &table);
}

#[test]
fn the_frames_reference_shows_real_lines() {
    assert_block("messages.md", "text", &lines(Format::Text));
    assert_block("messages.md", "json", &lines(Format::Json));
}

/// A short conversation, in a block of code.
fn lines(format: Format) -> String {
    // 2026-05-01T12:00:00Z minus an uptime of 1,000 s.
    let wall_offset_ns = (1_777_636_800 - 1_000) * 1_000_000_000;
    let view =
        MessageView { format, frames: true, payload: 64, wall_offset_ns, ..MessageView::default() };
    let process = Process { pid: 4242, comm: "node" };
    let mut out = b"```\n".to_vec();
    view.write_header(&mut out).expect("a Vec takes everything");
    for (at_us, what) in conversation() {
        let observation = Observation {
            at_ns: 1_000_000_000_000 + at_us * 1_000,
            tid: 4243,
            target: TargetId(0),
            conn: ConnId { tgid: 4242, generation: 17, handle: 1, stream: 0 },
            role: Role::Client,
            what,
        };
        view.write(&mut out, &observation, process).expect("a Vec takes everything");
    }
    out.extend(b"```\n");
    String::from_utf8(out).expect("lines are UTF-8")
}

fn conversation() -> [(u64, What<'static>); 7] {
    let request = Message {
        direction: Direction::Sent,
        message_type: MessageType::Text,
        frames: 1,
        wire_length: 32,
        length: Some(32),
        compressed: false,
        payload: br#"{"id":7,"method":"getBalance"}"#,
        tail: b"",
        truncated: false,
        identical: false,
    };
    let asked = MessageReading {
        protocol: "jsonrpc",
        kind: Some(MessageKind::Request),
        id: Some("7".into()),
        method: Some("getBalance"),
        feed: Some(FeedReading::PLAIN),
    };
    let response = Message {
        direction: Direction::Received,
        wire_length: 25,
        length: Some(1_204),
        compressed: true,
        frames: 2,
        payload: br#"{"id":7,"result":"#,
        truncated: true,
        ..request
    };
    let answered = MessageReading { kind: Some(MessageKind::Response), method: None, ..asked };
    [
        (
            0,
            What::Open(Open {
                host: Some("rpc.example.com"),
                path: Some("/ws"),
                subprotocol: None,
                extensions: Some("permessage-deflate"),
                mid_stream: false,
            }),
        ),
        (
            1_000,
            What::Frame(Frame {
                direction: Direction::Sent,
                opcode: Opcode::Text,
                fin: true,
                rsv1: false,
                masked: true,
                length: 32,
            }),
        ),
        (1_000, What::Message { message: request, reading: asked }),
        (9_123, What::Message { message: response, reading: answered }),
        (
            9_123,
            What::Exchange(Exchange {
                origin: Origin::Local,
                protocol: "jsonrpc",
                method: "getBalance",
                id: "7".into(),
                outcome: Outcome::Matched,
                turnaround_ns: Some(8_123_456),
            }),
        ),
        (
            20_000,
            What::Gap { direction: Direction::Received, bytes: 4_096, reason: GapReason::RingFull },
        ),
        (30_000, What::Close { code: 1000 }),
    ]
}
