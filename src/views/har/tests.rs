use serde_json::Value;

use super::*;
use crate::event::TargetId;
use crate::observation::MessageReading;

const CONN: ConnId = ConnId { tgid: 42, generation: 7, handle: 0x7f00, stream: 0 };
const PROCESS: Process<'static> = Process { pid: 42, comm: "python" };

/// What the file says of `whats` on one connection.
fn written(role: Role, whats: Vec<What<'_>>) -> (Value, Option<String>) {
    let mut bytes = Vec::new();
    let mut view = Box::new(HarFile::new(&mut bytes, Filter::default(), None));
    view.set_wall_offset_ns(1_700_000_000_000_000_000);
    for (number, what) in (0..).zip(whats) {
        let (at_ns, target) = (number * 250_000_000, TargetId(0));
        view.observe(&Observation { at_ns, tid: 43, target, conn: CONN, role, what }, PROCESS);
    }
    let sentence = view.finish().expect("memory");
    (serde_json::from_slice(&bytes).expect("JSON"), sentence)
}

fn message(direction: Direction, message_type: MessageType, payload: &[u8]) -> Message<'_> {
    Message {
        direction,
        message_type,
        frames: 1,
        wire_length: 9,
        length: Some(payload.len() as u64),
        compressed: false,
        payload,
        tail: &[],
        truncated: false,
        identical: false,
    }
}

fn told(message: Message<'_>) -> What<'_> {
    What::Message { message, reading: MessageReading::UNKNOWN }
}

#[test]
fn an_entry_is_a_websocket_as_browsers_write_it() {
    let open = Open { host: Some("example.com"), path: Some("/feed"), ..Open::default() };
    let (har, sentence) = written(
        Role::Client,
        vec![
            What::Open(open),
            told(message(Direction::Sent, MessageType::Text, b"{\"id\":1}")),
            told(message(Direction::Received, MessageType::Binary, b"\0\xff")),
            What::Close { code: 1000 },
        ],
    );
    assert_eq!(sentence, None);
    let entry = &har["log"]["entries"][0];
    assert_eq!(entry["startedDateTime"], "2023-11-14T22:13:20.000Z");
    assert_eq!(entry["time"], 750.0);
    assert_eq!(entry["request"]["url"], "wss://example.com/feed");
    assert_eq!(entry["connection"], "42-7");
    let messages = &entry["_webSocketMessages"];
    let first = serde_json::json!({
        "type": "send", "time": 1_700_000_000.25, "opcode": 1, "data": "{\"id\":1}"
    });
    assert_eq!(messages[0], first);
    assert_eq!(messages[1]["type"], "receive");
    assert_eq!((&messages[1]["opcode"], &messages[1]["data"]), (&2.into(), &"AP8=".into()));
}

#[test]
fn of_a_tapped_server_what_it_received_is_what_the_client_sent() {
    let whats = vec![told(message(Direction::Received, MessageType::Text, b"ask"))];
    let (har, _) = written(Role::Server, whats);
    let entry = &har["log"]["entries"][0];
    assert_eq!(entry["_webSocketMessages"][0]["type"], "send");
    assert!(entry["comment"].as_str().is_some_and(|it| it.contains("mid-stream")));
}

#[test]
fn a_message_that_is_not_whole_says_so_and_a_sentence_counts_it() {
    let cut = Message {
        truncated: true,
        length: Some(99),
        ..message(Direction::Sent, MessageType::Text, b"be")
    };
    let (har, sentence) = written(Role::Client, vec![told(cut)]);
    let message = &har["log"]["entries"][0]["_webSocketMessages"][0];
    assert_eq!((&message["_truncated"], &message["_length"]), (&true.into(), &99.into()));
    assert!(sentence.is_some_and(|it| it.contains("1 of 1 messages")));
}
