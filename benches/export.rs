//! What counting costs the decode thread, and what a scrape costs.

use std::sync::Arc;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use wstap::event::{ConnId, Direction, TargetId};
use wstap::export::Metrics;
use wstap::export::metrics::exposition::Format;
use wstap::observation::*;

fn main() {
    divan::main();
}

/// A request and its answer, with everything that the decoder says about them.
fn exchange(metrics: &mut Metrics, method: &str, turnaround_ns: u64) {
    let (origin, protocol) = (Origin::Local, "jsonrpc");
    for direction in Direction::BOTH {
        record(metrics, What::Wire { direction, bytes: 146 });
        record(metrics, What::Frame(frame(direction)));
        record(metrics, message(direction, method));
        let consequence = match direction {
            Direction::Sent => What::Started { origin, protocol, method },
            Direction::Received => What::Exchange(Exchange {
                origin,
                protocol,
                method,
                id: "7".into(),
                outcome: Outcome::Matched,
                turnaround_ns: Some(turnaround_ns),
            }),
        };
        record(metrics, consequence);
    }
}

fn record(metrics: &mut Metrics, what: What<'_>) {
    metrics.record(&Observation {
        at_ns: 1,
        tid: 1,
        target: TargetId(0),
        conn: ConnId { tgid: 1, generation: 1, handle: 1, stream: 0 },
        role: Role::Client,
        what,
    });
}

fn frame(direction: Direction) -> Frame {
    let masked = direction == Direction::Sent;
    Frame { direction, opcode: Opcode::Text, fin: true, rsv1: false, masked, length: 140 }
}

fn message(direction: Direction, method: &str) -> What<'_> {
    let message = Message {
        direction,
        message_type: MessageType::Text,
        frames: 1,
        wire_length: 140,
        length: Some(140),
        compressed: false,
        payload: b"",
        tail: b"",
        truncated: false,
        identical: false,
    };
    let (id, method) = (Some("7".into()), Some(method));
    let reading = MessageReading {
        protocol: "jsonrpc",
        kind: None,
        id,
        method,
        feed: Some(FeedReading::PLAIN),
    };
    What::Message { message, reading }
}

fn metrics_and_methods(methods: usize) -> (Metrics, Vec<String>) {
    let metrics = Metrics::new(&["feed"], Arc::default(), ()).expect("no clash");
    (metrics, (0..methods).map(|i| format!("eth_method{i}")).collect())
}

/// Messages per second that `Metrics` can count, flushing after every batch of 64 exchanges.
#[divan::bench(args = [1, 20])]
fn record_messages(bencher: Bencher<'_, '_>, methods: usize) {
    const EXCHANGES: u64 = 64;
    let (mut metrics, methods) = metrics_and_methods(methods);
    let mut names = methods.iter().cycle();
    bencher.counter(ItemsCount::new(2 * EXCHANGES)).bench_local(|| {
        for (turnaround_us, method) in (1..=EXCHANGES).zip(&mut names) {
            exchange(&mut metrics, method, turnaround_us * 1_000);
        }
        metrics.flush();
    });
}

/// One scrape of about 230 series, or of about 10,000.
#[divan::bench(args = [0, 350], consts = [0, 1, 2])]
fn scrape<const FORMAT: usize>(bencher: Bencher<'_, '_>, methods: usize) {
    let format = [Format::Text, Format::OpenMetrics, Format::Protobuf][FORMAT];
    let (mut metrics, methods) = metrics_and_methods(methods);
    for method in &methods {
        (1..=20).for_each(|ms| exchange(&mut metrics, method, ms * 1_000_000));
    }
    metrics.flush();
    let registry = metrics.registry();
    let size = format.encode(&registry.gather()).expect("text").len();
    bencher.counter(BytesCount::new(size)).bench_local(|| format.encode(&registry.gather()));
}
