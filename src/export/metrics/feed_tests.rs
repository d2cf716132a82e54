//! Feeds become metrics.

use super::tests::{assert_samples, message, metrics, record};
use crate::event::Direction;
use crate::observation::*;

/// A message of a feed that was received at 100 s after 1970 by our clock.
fn tick(feed: Option<FeedReading>) -> What<'static> {
    let What::Message { message, .. } = message(Direction::Received, Some(100), false) else {
        unreachable!("a message")
    };
    What::Message {
        message,
        reading: MessageReading { protocol: "ticks", feed, ..MessageReading::UNKNOWN },
    }
}

fn passed(sequence: SequenceStep) -> What<'static> {
    tick(Some(FeedReading { sequence: Some(sequence), ..FeedReading::PLAIN }))
}

#[test]
fn age_rhythm_and_size_are_kept_by_protocol_and_heartbeats_are_no_data() {
    let mut metrics = metrics(&["feed"]);
    metrics.set_wall_offset_ns(100_000_000_000);
    record(&mut metrics, message(Direction::Sent, Some(70), false));
    record(&mut metrics, tick(Some(FeedReading::PLAIN)));
    let since_ns = Some(2_000_000_000);
    record(&mut metrics, tick(Some(FeedReading { since_ns, ..FeedReading::PLAIN })));
    metrics.set_wall_offset_ns(107_000_000_000);
    record(&mut metrics, tick(None));
    let ticks = r#"{protocol="ticks",target="feed"}"#;
    assert_samples(
        &mut metrics,
        &[
            (
                r#"wstap_last_message_sent_timestamp_seconds{protocol="unknown",target="feed"}"#,
                100.000000001,
            ),
            (&format!("wstap_last_message_received_timestamp_seconds{ticks}"), 100.000000001),
            (&format!("wstap_message_interval_received_seconds_count{ticks}"), 1.0),
            (&format!("wstap_message_interval_received_seconds_sum{ticks}"), 2.0),
            (&format!("wstap_message_size_received_bytes_sum{ticks}"), 300.0),
            (
                r#"wstap_message_size_received_bytes_bucket{protocol="ticks",target="feed",le="64"}"#,
                0.0,
            ),
            (
                r#"wstap_message_size_received_bytes_bucket{protocol="ticks",target="feed",le="256"}"#,
                3.0,
            ),
        ],
    );
}

#[test]
fn a_message_from_the_future_is_counted_apart_and_the_clocks_show() {
    let mut metrics = metrics(&["feed"]);
    metrics.set_wall_offset_ns(100_000_000_000 - 1);
    for at_ns in [99_000_000_000, 99_500_000_000, 100_250_000_000] {
        record(
            &mut metrics,
            tick(Some(FeedReading { time: OwnTime::At(at_ns), ..FeedReading::PLAIN })),
        );
    }
    let time = OwnTime::Unreadable;
    record(&mut metrics, tick(Some(FeedReading { time, ..FeedReading::PLAIN })));
    let ticks = r#"{protocol="ticks",target="feed"}"#;
    assert_samples(
        &mut metrics,
        &[
            (&format!("wstap_message_lag_seconds_count{ticks}"), 2.0),
            (&format!("wstap_message_lag_seconds_sum{ticks}"), 1.5),
            (&format!("wstap_message_lag_least_seconds{ticks}"), -0.25),
            (&format!("wstap_messages_from_future_total{ticks}"), 1.0),
            (&format!("wstap_message_times_unreadable_total{ticks}"), 1.0),
        ],
    );
}

#[test]
fn each_number_is_counted_as_what_it_says() {
    let mut metrics = metrics(&["feed"]);
    record(&mut metrics, passed(SequenceStep::Begun));
    let ticks = r#"{protocol="ticks",target="feed"}"#;
    assert_samples(
        &mut metrics,
        &[
            (&format!("wstap_sequence_missing_total{ticks}"), 0.0),
            (
                r#"wstap_sequence_unchecked_total{protocol="ticks",reason="after_gap",target="feed"}"#,
                0.0,
            ),
        ],
    );
    for step in [
        SequenceStep::InOrder,
        SequenceStep::Missing(5),
        SequenceStep::Repeated,
        SequenceStep::Backward,
        SequenceStep::Reset,
        SequenceStep::Unchecked(Unchecked::TooManyChannels),
    ] {
        record(&mut metrics, passed(step));
    }
    let feed = FeedReading { sequence: Some(SequenceStep::Missing(2)), ..FeedReading::PLAIN };
    let direction = Direction::Received;
    record(&mut metrics, What::Further { direction, protocol: "ticks", feed });
    assert_samples(
        &mut metrics,
        &[
            (&format!("wstap_sequence_numbers_total{ticks}"), 8.0),
            (&format!("wstap_sequence_missing_total{ticks}"), 7.0),
            (&format!("wstap_sequence_repeated_total{ticks}"), 1.0),
            (&format!("wstap_sequence_backward_total{ticks}"), 1.0),
            (&format!("wstap_sequence_resets_total{ticks}"), 1.0),
            (
                r#"wstap_sequence_unchecked_total{protocol="ticks",reason="too_many_channels",target="feed"}"#,
                1.0,
            ),
        ],
    );
}

#[test]
fn quiet_connections_are_a_gauge() {
    let mut metrics = metrics(&["feed"]);
    [true, true, false].into_iter().for_each(|quiet| record(&mut metrics, What::Quiet(quiet)));
    assert_samples(&mut metrics, &[(r#"wstap_connections_quiet{target="feed"}"#, 1.0)]);
}
