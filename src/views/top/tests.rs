//! The screen, cell by cell, and what keys do to it.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::{Color, Modifier};

use super::draw::Screen;
use super::*;
use crate::event::{ConnId, Direction, TargetId};
use crate::export::live::Recorder;
use crate::export::status::{Process, Target};
use crate::observation::*;

const SECOND_NS: u64 = 1_000_000_000;

fn record(recorder: &mut Recorder, generation: u32, what: What<'_>) {
    recorder.record(&Observation {
        at_ns: 5 * SECOND_NS,
        tid: 1,
        target: TargetId(0),
        conn: ConnId { tgid: 4242, generation, handle: 1, stream: 0 },
        role: Role::Client,
        what,
    });
}

fn ended(method: &str, origin: Origin, outcome: Outcome, millis: Option<u64>) -> What<'_> {
    let turnaround_ns = millis.map(|millis| millis * 1_000_000);
    let (protocol, id) = ("jsonrpc", "1".into());
    What::Exchange(Exchange { origin, protocol, method, id, outcome, turnaround_ns })
}

fn opened(recorder: &mut Recorder, generation: u32, fidelity: Fidelity, path: &str) {
    let to = Some((Role::Client, fidelity));
    record(recorder, generation, What::State { from: None, to });
    let (host, path) = (Some("rpc.example.com"), Some(path));
    record(recorder, generation, What::Open(Open { host, path, ..Open::default() }));
}

fn message(recorder: &mut Recorder, generation: u32, method: &str) {
    let message = Message {
        direction: Direction::Sent,
        message_type: MessageType::Text,
        frames: 1,
        wire_length: 10,
        length: Some(10),
        compressed: false,
        payload: b"secret",
        tail: b"",
        truncated: false,
        identical: false,
    };
    let kind = Some(MessageKind::Request);
    let reading = MessageReading {
        protocol: "jsonrpc",
        kind,
        id: Some("1".into()),
        method: Some(method),
        feed: Some(FeedReading::PLAIN),
    };
    record(recorder, generation, What::Message { message, reading });
}

/// Two connections, three methods, one of which fails.
fn recorder() -> Recorder {
    let mut recorder = Recorder::new(&["feed"], 1_000_000 * i128::from(SECOND_NS));
    recorder.publish(5 * SECOND_NS);
    opened(&mut recorder, 17, Fidelity::Full, "/ws");
    opened(&mut recorder, 18, Fidelity::NoContent, "/old");
    message(&mut recorder, 17, "eth_call");
    for millis in 1..=20 {
        let fast = ended("eth_call", Origin::Local, Outcome::Matched, Some(millis));
        record(&mut recorder, 17, fast);
    }
    record(&mut recorder, 17, ended("eth_send", Origin::Local, Outcome::Error, Some(8)));
    record(&mut recorder, 17, ended("ask", Origin::Remote, Outcome::Matched, Some(2)));
    recorder.publish(6 * SECOND_NS);
    recorder
}

fn picture(choice: &Choice) -> Picture {
    let process = Process {
        pid: 4242,
        comm: "node".into(),
        tls_library: "openssl".into(),
        tls_version: "3.0.17".into(),
        up: true,
        ..Process::default()
    };
    let targets = vec![Target { processes: vec![process], ..Target::default() }];
    let status = Snapshot { targets, ..Snapshot::default() };
    Picture::take(&recorder().live(), &status, 0, choice)
}

/// What a terminal of this size shows.
fn drawn(picture: &Picture, state: &State, width: u16, height: u16) -> TestBackend {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a backend");
    let screen = Screen { picture, state, note: None };
    let drawn = terminal.draw(|frame| frame.render_widget(&screen, frame.area()));
    drawn.expect("a backend that takes everything");
    terminal.backend().clone()
}

fn lines(backend: &TestBackend) -> Vec<String> {
    let buffer = backend.buffer();
    let line = |y| (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..buffer.area.height).map(|y| line(y).trim_end().to_owned()).collect()
}

fn press(state: &mut State, picture: &Picture, code: KeyCode) -> bool {
    state.press(KeyEvent::new(code, KeyModifiers::NONE), picture)
}

fn type_text(state: &mut State, picture: &Picture, text: &str) {
    text.chars().for_each(|c| assert!(press(state, picture, KeyCode::Char(c))));
}

fn shown(state: &State, picture: &Picture) -> String {
    lines(&drawn(picture, state, 80, 24)).join("\n")
}

#[test]
fn a_terminal_of_80_columns_and_24_lines_shows_the_sentence_both_tables_and_the_keys() {
    let state = State::new(false);
    let picture = picture(state.choice());
    let lines = lines(&drawn(&picture, &state, 80, 24));
    assert!(lines[0].starts_with("Tapping node (pid 4242, openssl 3.0.17). 1 of 2"), "{lines:#?}");
    let at = |text: &str| {
        let found = lines.iter().position(|line| line.contains(text));
        found.unwrap_or_else(|| panic!("no {text:?} in {lines:#?}"))
    };
    let (methods, failed, connections) = (at("Methods (3)"), at("eth_send"), at("Connections (2)"));
    assert!(methods < failed && failed < at("eth_call") && at("eth_call") < connections);
    let call = picture.window.methods.iter().find(|row| row.method() == "eth_call");
    let p50 = figures::seconds(call.and_then(|row| row.p50));
    assert!(lines[at("eth_call")].contains(&p50), "{p50}: {lines:#?}");
    assert!(lines[at("eth_send")].contains("100%"), "{lines:#?}");
    assert!(lines[at("4242-17")].contains("rpc.example.com/ws"), "{lines:#?}");
    assert!(lines[at("4242-18")].ends_with("no"), "{lines:#?}");
    assert!(lines[23].starts_with("q quit"), "{lines:#?}");
    assert!(at("last 15 min") < methods);
}

#[test]
fn a_wide_terminal_shows_more_columns_and_a_tiny_one_does_no_harm() {
    let state = State::new(true);
    let picture = picture(state.choice());
    let wide = lines(&drawn(&picture, &state, 200, 60)).join("\n");
    for head in ["SLOWEST", "PROTOCOL", "ANSWERS OVER TIME", "OVER", "PING"] {
        assert!(wide.contains(head), "{head}: {wide}");
    }
    for (width, height) in [(1, 1), (5, 3), (20, 6), (40, 10), (79, 8)] {
        drawn(&picture, &state, width, height);
    }
}

#[test]
fn keys_sort_and_reverse_the_table_that_has_them() {
    let mut state = State::new(false);
    let picture = picture(state.choice());
    let methods = |state: &State| {
        let rows = state.methods(&picture);
        rows.iter().map(|row| row.method().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(methods(&state), ["eth_send", "eth_call", "ask"], "failures first");
    press(&mut state, &picture, KeyCode::Char('s'));
    assert_eq!(methods(&state), ["ask", "eth_call", "eth_send"], "by name");
    press(&mut state, &picture, KeyCode::Char('r'));
    assert_eq!(methods(&state), ["eth_send", "eth_call", "ask"]);
    assert!(shown(&state, &picture).contains("METHOD▲"));
    press(&mut state, &picture, KeyCode::Tab);
    press(&mut state, &picture, KeyCode::Char('s'));
    assert!(state.connections.order.is_some());
}

#[test]
fn a_filter_and_an_origin_narrow_the_tables_and_escape_lifts_both() {
    let mut state = State::new(false);
    let picture = picture(state.choice());
    type_text(&mut state, &picture, "/SEND");
    assert!(shown(&state, &picture).contains("/SEND"));
    press(&mut state, &picture, KeyCode::Enter);
    assert_eq!(state.methods(&picture).len(), 1);
    assert_eq!(state.connections(&picture).len(), 0);
    assert!(shown(&state, &picture).contains("Nothing matches"));
    press(&mut state, &picture, KeyCode::Esc);
    press(&mut state, &picture, KeyCode::Char('o'));
    press(&mut state, &picture, KeyCode::Char('o'));
    assert_eq!(state.methods(&picture)[0].method(), "ask");
    assert!(shown(&state, &picture).contains("asked by the peer"));
    press(&mut state, &picture, KeyCode::Esc);
    assert_eq!(state.methods(&picture).len(), 3);
}

#[test]
fn enter_looks_into_the_marked_connection_and_escape_comes_back() {
    let mut state = State::new(false);
    let first = picture(state.choice());
    press(&mut state, &first, KeyCode::Tab);
    press(&mut state, &first, KeyCode::Enter);
    assert_eq!(state.choice().conn.as_deref(), Some("4242-17"), "the busiest is the first");
    let inside = shown(&state, &picture(state.choice()));
    assert!(inside.contains("Last messages of 4242-17") && inside.contains("eth_call"), "{inside}");
    assert!(!inside.contains("secret"), "{inside}");
    press(&mut state, &first, KeyCode::Esc);
    press(&mut state, &first, KeyCode::Down);
    press(&mut state, &first, KeyCode::Enter);
    assert_eq!(state.choice().conn.as_deref(), Some("4242-18"));
    assert!(shown(&state, &picture(state.choice())).contains("No message yet."));
}

#[test]
fn the_marked_row_stays_marked_when_others_come_before_it() {
    let mut state = State::new(false);
    let mut picture = picture(state.choice());
    press(&mut state, &picture, KeyCode::Down);
    assert_eq!(state.methods.selected.as_deref(), Some("local jsonrpc eth_call"));
    picture.window.methods.rotate_right(1);
    press(&mut state, &picture, KeyCode::Down);
    assert_eq!(state.methods.selected.as_deref(), Some("local jsonrpc eth_call"), "now the last");
    press(&mut state, &picture, KeyCode::Home);
    assert_eq!(state.methods.selected.as_deref(), Some("remote jsonrpc ask"));
}

#[test]
fn keys_end_it_pause_it_and_explain_it() {
    let mut state = State::new(false);
    let picture = picture(state.choice());
    press(&mut state, &picture, KeyCode::Char('p'));
    assert!(state.is_paused() && shown(&state, &picture).contains("PAUSED"));
    press(&mut state, &picture, KeyCode::Char('?'));
    assert!(shown(&state, &picture).contains("the last table stays"));
    assert!(press(&mut state, &picture, KeyCode::Esc));
    press(&mut state, &picture, KeyCode::Char('w'));
    assert_eq!(state.choice().seconds, 60);
    assert!(!press(&mut state, &picture, KeyCode::Char('q')));
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert!(!state.press(interrupt, &picture));
    type_text(&mut state, &picture, "/");
    assert!(press(&mut state, &picture, KeyCode::Char('q')), "a letter of the filter");
}

#[test]
fn without_colour_what_is_wrong_stands_out_all_the_same() {
    let picture = picture(State::new(false).choice());
    let has = |color: bool| {
        let backend = drawn(&picture, &State::new(color), 80, 24);
        let cells = backend.buffer().content.clone();
        let red = cells.iter().any(|cell| cell.fg == Color::Red);
        let any = cells.iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset);
        let bold = |cell: &&ratatui::buffer::Cell| cell.modifier.contains(Modifier::BOLD);
        (red, any, cells.iter().filter(bold).count())
    };
    let ((red, _, _), (no_red, any, bold)) = (has(true), has(false));
    assert!(red && !no_red && !any && bold > 0);
}

#[test]
fn what_comes_from_the_wire_is_escaped() {
    let mut recorder = recorder();
    let evil = "\u{1b}[2J\u{202e}";
    record(&mut recorder, 17, ended(evil, Origin::Local, Outcome::Matched, Some(1)));
    opened(&mut recorder, 19, Fidelity::Full, evil);
    recorder.publish(7 * SECOND_NS);
    let state = State::new(true);
    let picture = Picture::take(&recorder.live(), &Snapshot::default(), 0, state.choice());
    let text = shown(&state, &picture) + &table(&picture, &state, 200);
    assert!(text.contains("\\u{1b}[2J\\u{202e}"), "{text}");
    assert!(!text.contains(['\u{1b}', '\u{202e}']));
}

#[test]
fn the_table_that_stays_has_every_row_and_no_keys() {
    let state = State::new(true);
    let picture = picture(state.choice());
    let text = table(&picture, &state, 80);
    for part in ["Tapping node", "eth_send", "eth_call", "ask", "4242-17", "4242-18"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("q quit") && text.lines().all(|line| line.chars().count() <= 80));
}

#[test]
fn as_json_it_has_what_the_page_has() {
    let state = State::new(false);
    let value = serde_json::to_value(picture(state.choice())).expect("JSON");
    assert_eq!(
        (&value["v"], &value["open"], &value["unreadable"]),
        (&1.into(), &2.into(), &1.into())
    );
    let methods = value["window"]["methods"].as_array().expect("a list");
    let call = methods.iter().find(|row| row["method"] == "eth_call").expect("the method");
    assert_eq!((&call["answered"], &call["origin"]), (&20.into(), &"local".into()));
    assert_eq!(value["connections"].as_array().expect("a list").len(), 2);
}

#[test]
fn feeds_stand_below_where_there_are_any() {
    let choice = Choice { seconds: 900, conn: None };
    let mut picture = picture(&choice);
    let state = State::new(false);
    assert!(!table(&picture, &state, 100).contains("Feeds"));
    picture.feeds = vec![FeedRow {
        target: "feed".into(),
        protocol: "ticks".into(),
        direction: "received",
        last: picture.time - 3.0,
        rate: 1.0,
        hour_rate: 50.0,
        lag_p50: Some(0.002),
        numbers: 10,
        missing: 4,
        ..FeedRow::default()
    }];
    let text = table(&picture, &state, 100);
    let lines: Vec<&str> = text.lines().collect();
    let at = lines.iter().position(|line| *line == "  Feeds (1)").expect("a title");
    assert!(lines[at + 1].starts_with("TARGET"), "{text}");
    let words: Vec<&str> = lines[at + 2].split_whitespace().collect();
    let expected =
        ["feed", "ticks", "received", "1.0", "50", "3.00", "s", "2.00", "ms", "-", "4", "0", "0"];
    assert_eq!(words, expected, "{text}");
    assert!(text.contains("Methods (3)") && text.contains("Connections (2)"), "{text}");
    let screen = lines_of(&picture, &state, 30);
    assert!(screen.iter().any(|line| line.contains("Feeds (1)")), "{screen:#?}");
}

fn lines_of(picture: &Picture, state: &State, height: u16) -> Vec<String> {
    lines(&drawn(picture, state, 100, height))
}
