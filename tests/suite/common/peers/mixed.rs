//! What `tests/peers/*/mixed.*` say, and how it is held against what wstap saw.

use std::env;

use serde_json::Value;

use crate::suite::common::peers::{Peer, Transcript};

/// Arguments with which `wstap messages` shows every message whole.
pub(crate) const WHOLE: [&str; 6] =
    ["--payload", "1048576", "--window", "1m", "--ring-size", "32m"];

/// The long form of a figure where `WSTAP_LONG` is set, else the short one.
pub(crate) fn scaled(short: u32, long: u32) -> u32 {
    if env::var_os("WSTAP_LONG").is_some() { long } else { short }
}

/// Has a client say its part, and returns the data frames that it sent.
pub(crate) fn say(client: &mut Peer) -> f64 {
    client.go();
    sent_frames(client)
}

/// Has a server forget what was said so far.
pub(crate) fn forget(server: &mut Peer) {
    server.go();
    assert_eq!(server.line(), "forgotten");
}

/// Ends a server, and returns the data frames that it sent.
pub(crate) fn finish(server: &mut Peer) -> f64 {
    server.end();
    sent_frames(server)
}

/// Waits until a peer has said its part, and returns the data frames that it sent.
pub(crate) fn sent_frames(peer: &mut Peer) -> f64 {
    let summary: Value = serde_json::from_str(&peer.line()).expect("a summary");
    summary["sent_frames"].as_f64().expect("a count")
}

/// Messages that the peer sent and received, by its own log.
pub(crate) fn counts(said: &Transcript) -> [f64; 2] {
    let count = |direction: usize| said.iter().map(|it| it[direction].len() as f64).sum();
    [count(0), count(1)]
}

/// Panics at the first difference, and shows no more than that.
pub(crate) fn assert_same<T: PartialEq + std::fmt::Debug, const N: usize>(
    seen: &[[Vec<T>; N]],
    said: &[[Vec<T>; N]],
    who: &str,
) {
    let lengths = |all: &[[Vec<T>; N]]| -> Vec<_> {
        all.iter().map(|lists| lists.each_ref().map(Vec::len)).collect()
    };
    for (connection, (seen, said)) in seen.iter().zip(said).enumerate() {
        for (list, (seen, said)) in seen.iter().zip(said).enumerate() {
            let differs = seen.iter().zip(said).position(|(seen, said)| seen != said);
            if let Some(n) = differs {
                let (seen, said) = (cut(&seen[n]), cut(&said[n]));
                panic!("{who}: connection {connection}, list {list}, item {n}: {seen} is {said}");
            }
        }
    }
    assert_eq!(lengths(seen), lengths(said), "{who}");
}

fn cut(item: &impl std::fmt::Debug) -> String {
    format!("{item:?}").chars().take(300).collect()
}
