//! Protocols without ids, and those that no rule reads: they stay `unknown`, and no request is made up.

use super::*;

/// One message each, of which a number grows.
type Turn = fn(u32) -> (Direction, MessageType, Vec<u8>);

use Direction::{Received, Sent};
use MessageType::{Binary, Text as Json};

fn stays_unknown(name: &str, turns: &[Turn]) {
    let mut tap = Tap::unknown();
    for n in 0..300 {
        for turn in turns {
            let (direction, message_type, payload) = turn(n);
            tap.pass(direction, &payload, message_type, Wholeness::Whole);
        }
    }
    for line in tap.messages() {
        assert!(line.starts_with("unknown"), "{name}: {line}");
    }
    assert_eq!(tap.lines(), [""; 0], "{name}");
}

#[test]
fn text_without_ids_is_nobodys() {
    stays_unknown(
        "Vite",
        &[
            |_| (Received, Json, br#"{"type":"connected"}"#.to_vec()),
            |n| {
                let text = format!(
                    r#"{{"type":"update","updates":[{{"type":"js-update","timestamp":{n},"path":"/a.js","acceptedPath":"/a.js"}}]}}"#
                );
                (Received, Json, text.into())
            },
            |n| {
                let text = format!(r#"{{"type":"custom","event":"vite:invalidate","data":{n}}}"#);
                (Sent, Json, text.into())
            },
            |_| (Sent, Json, br#"{"type":"ping"}"#.to_vec()),
        ],
    );
    stays_unknown(
        "Coinbase",
        &[
            |_| {
                let text =
                    br#"{"type":"subscribe","product_ids":["BTC-USD"],"channels":["ticker"]}"#;
                (Sent, Json, text.to_vec())
            },
            |_| {
                let text = br#"{"type":"subscriptions","channels":[{"name":"ticker","product_ids":["BTC-USD"]}]}"#;
                (Received, Json, text.to_vec())
            },
            |n| {
                let text = format!(
                    r#"{{"type":"ticker","sequence":{n},"product_id":"BTC-USD","price":"1.5","trade_id":{n}}}"#
                );
                (Received, Json, text.into())
            },
        ],
    );
}

#[test]
fn bytes_without_ids_are_nobodys() {
    stays_unknown(
        "noVNC",
        &[
            |_| (Received, Binary, b"RFB 003.008\n".to_vec()),
            |_| (Sent, Binary, b"RFB 003.008\n".to_vec()),
            // A key, a pointer, and a rectangle of the screen.
            |n| (Sent, Binary, [&[4, 1, 0, 0][..], &n.to_be_bytes()].concat()),
            |n| (Sent, Binary, [&[5, 0][..], &n.to_be_bytes()].concat()),
            |n| (Received, Binary, [&[0, 0, 0, 1][..], &n.to_be_bytes(), &[7; 64]].concat()),
        ],
    );
    stays_unknown(
        "Kubernetes channels",
        &[
            |n| (Sent, Binary, format!("\u{0}echo {n}\n").into()),
            |n| (Received, Binary, format!("\u{1}{n}\n").into()),
            |_| (Received, Binary, b"\x03{\"metadata\":{},\"status\":\"Success\"}".to_vec()),
        ],
    );
    stays_unknown(
        "yjs",
        &[
            |_| (Sent, Binary, b"\0\0\x01\0".to_vec()),
            |n| (Received, Binary, [&[0, 1, 8, 1, 1][..], &n.to_le_bytes(), b"\0\x04"].concat()),
            |n| (Sent, Binary, [&[0, 2, 9, 1, 1][..], &n.to_le_bytes(), b"\x84\x01"].concat()),
            |n| (Sent, Binary, [&[1, 12, 1][..], &n.to_le_bytes(), b"{\"user\":1}"].concat()),
        ],
    );
}

/// Games and the like: MessagePack and CBOR that look a little like what rules read.
#[test]
fn binary_encodings_of_others_are_nobodys() {
    stays_unknown(
        "MessagePack",
        &[
            // {"t": "move", "x": n}, [n, {"x": 1}, "a"], {"type": 2, "data": [1], "id": n}
            |n| (Sent, Binary, [&b"\x82\xa1t\xa4move\xa1x\xce"[..], &n.to_be_bytes()].concat()),
            |n| {
                (
                    Received,
                    Binary,
                    [&b"\x93\xce"[..], &n.to_be_bytes(), b"\x81\xa1x\x01\xa1a"].concat(),
                )
            },
            |n| {
                let head = &b"\x83\xa4type\x02\xa4data\x91\x01\xa2id\xce"[..];
                (Sent, Binary, [head, &n.to_be_bytes()].concat())
            },
        ],
    );
    stays_unknown(
        "CBOR",
        &[
            // {"id": n, "op": "get"}, {"id": n, "value": 1}
            |n| {
                (
                    Sent,
                    Binary,
                    [&b"\xa2\x62id\x1a"[..], &n.to_be_bytes(), b"\x62op\x63get"].concat(),
                )
            },
            |n| {
                (
                    Received,
                    Binary,
                    [&b"\xa2\x62id\x1a"[..], &n.to_be_bytes(), b"\x65value\x01"].concat(),
                )
            },
        ],
    );
}
