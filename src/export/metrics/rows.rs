//! Every metric that observations move, a row each: field, type, name, labels, help, and what moves
//! it. No other file names one, except `facts`, which has those that are read at each scrape.
//!
//! The first five keep the names of the system that wstap replaces: no prefix, no labels, one of
//! them in nanoseconds. All others start with `wstap_`, use base units, keep sent and received
//! apart, and never carry an id, a pid, an address or a path as a label.

use super::by_protocol::{
    Interval, Lag, ProtocolCounter, ProtocolHistogram, ProtocolLeast, ProtocolTimestamp, Size,
};
use super::labels::{CloseCode, ConnectionState, status_label};
use super::row::{Seen, metrics};
use super::shapes::{
    Answer, Counter, Gauge, Heartbeat, OpenCounter, RequestCounter, RequestTiming, Stream, Timing,
};
use crate::event::Direction::{Received, Sent};
use crate::observation::What;
use crate::observation::{
    EndSign, Exchange, FeedReading, Frame, GapReason, Message, MessageReading, MessageType, Opcode,
    Origin, Outcome, OwnTime, ProtocolError, Role, SequenceStep, Table, Unchecked, WindowMiss,
    WindowResult,
};

metrics! { seen =>
    turnaround_count: Counter = "turnaround_count" [],
        "Requests that were answered, errors included.",
        on {
            What::Exchange(Exchange { turnaround_ns: Some(_), .. }) => turnaround_count.inc(),
        };

    turnaround_sum: Counter = "turnaround_sum" [],
        "Sum of the turnaround times of all answered requests in nanoseconds.",
        on {
            What::Exchange(Exchange { turnaround_ns: Some(ns), .. }) => turnaround_sum.inc_by(*ns),
        };

    packet_send_count: Counter = "packet_send_count" [],
        "Complete text and binary messages sent.",
        on {
            What::Message { message: Message { direction: Sent, .. }, .. } => packet_send_count.inc(),
        };

    packet_recv_count: Counter = "packet_recv_count" [],
        "Complete text and binary messages received.",
        on {
            What::Message { message: Message { direction: Received, .. }, .. } => packet_recv_count.inc(),
        };

    identical_packets_count: Counter = "identical_packets_count" [],
        "Messages whose payload equals a recent one of the other direction of their connection.",
        on {
            What::Message { message: Message { identical: true, .. }, .. } => identical_packets_count.inc(),
        };

    turnaround: RequestTiming<Answer> = "wstap_turnaround_seconds"
        ["target", "origin", "protocol", "method"],
        "Time from the last byte of a request to the last byte of its first response.",
        on {
            What::Started { .. } => turnaround.announce(seen),
            What::Exchange(Exchange { turnaround_ns: Some(ns), .. }) => turnaround.observe(seen, *ns),
        };

    requests: RequestCounter<Outcome> = "wstap_requests_total"
        ["target", "origin", "protocol", "method", "outcome"],
        "Requests that ended, by how they ended.",
        on {
            What::Started { .. } => requests.announce(seen),
            What::Exchange(exchange) => requests.inc(seen, exchange.outcome),
        };

    requests_pending: Gauge = "wstap_requests_pending" ["target"],
        "Requests that wait for a response.",
        on {
            What::Started { .. } => requests_pending.add((), 1),
            What::Exchange(_) => requests_pending.add((), -1),
        };

    orphans: OpenCounter = "wstap_orphan_responses_total" ["target", "protocol", "reason"],
        "Responses that matched no request.",
        on {
            What::Orphan { protocol, reason } => orphans.inc(&[protocol, reason.as_str()]),
        };

    stream_items: RequestCounter = "wstap_stream_items_total"
        ["target", "origin", "protocol", "method"],
        "Further answers to a request that had its first.",
        on {
            What::StreamItem { .. } => stream_items.inc(seen, ()),
            What::StreamEnd { .. } => stream_items.announce(seen),
        };

    stream_duration: RequestTiming<Stream> = "wstap_stream_duration_seconds"
        ["target", "origin", "protocol", "method"],
        "Time from the first to the last answer of requests with several, once the last one passed or they were withdrawn.",
        on {
            What::StreamItem { .. } => stream_duration.announce(seen),
            What::StreamEnd { duration_ns, .. } => stream_duration.observe(seen, *duration_ns),
        };

    heartbeat_rtt: RequestTiming<Heartbeat> = "wstap_heartbeat_rtt_seconds"
        ["target", "origin", "protocol"],
        "Time from an application's own heartbeat to its answer.",
        on {
            What::HeartbeatRtt { rtt_ns, .. } => heartbeat_rtt.observe(seen, *rtt_ns),
        };

    messages_sent: Counter<MessageType> = "wstap_messages_sent_total" ["target", "type"],
        "Complete data messages sent.",
        on {
            What::Message { message: Message { direction: Sent, message_type, .. }, .. } =>
                messages_sent.of(*message_type).inc(),
        };

    messages_received: Counter<MessageType> = "wstap_messages_received_total" ["target", "type"],
        "Complete data messages received.",
        on {
            What::Message { message: Message { direction: Received, message_type, .. }, .. } =>
                messages_received.of(*message_type).inc(),
        };

    message_bytes_sent: Counter<MessageType> = "wstap_message_bytes_sent_total" ["target", "type"],
        "Application bytes of sent messages, after inflation; wire length where that is unknown.",
        on {
            What::Message { message: Message { direction: Sent, message_type, length, wire_length, .. }, .. } =>
                message_bytes_sent.of(*message_type).inc_by(length.unwrap_or(*wire_length)),
        };

    message_bytes_received: Counter<MessageType> = "wstap_message_bytes_received_total"
        ["target", "type"],
        "Application bytes of received messages, after inflation; wire length where that is unknown.",
        on {
            What::Message { message: Message { direction: Received, message_type, length, wire_length, .. }, .. } =>
                message_bytes_received.of(*message_type).inc_by(length.unwrap_or(*wire_length)),
        };

    last_message_sent: ProtocolTimestamp = "wstap_last_message_sent_timestamp_seconds"
        ["target", "protocol"],
        "When the last data message was sent that is no heartbeat, in seconds since 1970.",
        on {
            What::Message { message: Message { direction: Sent, .. }, reading: MessageReading { feed: Some(_), .. } } =>
                last_message_sent.note(seen),
        };

    last_message_received: ProtocolTimestamp = "wstap_last_message_received_timestamp_seconds"
        ["target", "protocol"],
        "When the last data message was received that is no heartbeat, in seconds since 1970.",
        on {
            What::Message { message: Message { direction: Received, .. }, reading: MessageReading { feed: Some(_), .. } } =>
                last_message_received.note(seen),
        };

    message_interval_sent: ProtocolHistogram<Interval> = "wstap_message_interval_sent_seconds"
        ["target", "protocol"],
        "Time between two data messages that a connection sent one after the other, heartbeats left out.",
        on {
            What::Message {
                message: Message { direction: Sent, .. },
                reading: MessageReading { feed: Some(FeedReading { since_ns: Some(ns), .. }), .. },
            } => message_interval_sent.observe(seen, *ns),
        };

    message_interval_received: ProtocolHistogram<Interval> = "wstap_message_interval_received_seconds"
        ["target", "protocol"],
        "Time between two data messages that a connection received one after the other, heartbeats left out.",
        on {
            What::Message {
                message: Message { direction: Received, .. },
                reading: MessageReading { feed: Some(FeedReading { since_ns: Some(ns), .. }), .. },
            } => message_interval_received.observe(seen, *ns),
        };

    message_size_sent: ProtocolHistogram<Size> = "wstap_message_size_sent_bytes"
        ["target", "protocol"],
        "Application bytes of each sent data message, after inflation; wire length where that is unknown.",
        on {
            What::Message { message: Message { direction: Sent, length, wire_length, .. }, .. } =>
                message_size_sent.observe(seen, length.unwrap_or(*wire_length)),
        };

    message_size_received: ProtocolHistogram<Size> = "wstap_message_size_received_bytes"
        ["target", "protocol"],
        "Application bytes of each received data message, after inflation; wire length where that is unknown.",
        on {
            What::Message { message: Message { direction: Received, length, wire_length, .. }, .. } =>
                message_size_received.observe(seen, length.unwrap_or(*wire_length)),
        };

    message_lag: ProtocolHistogram<Lag> = "wstap_message_lag_seconds" ["target", "protocol"],
        "Time from when a message was made, by its own account and clock, to when it passed, by the clock of this machine.",
        on {
            What::Message { reading: MessageReading { feed: Some(FeedReading { time: OwnTime::At(ns), .. }), .. }, .. }
            | What::Further { feed: FeedReading { time: OwnTime::At(ns), .. }, .. } =>
                match u64::try_from(seen.wall_ns.saturating_sub(*ns)) {
                    Ok(lag_ns) => message_lag.observe(seen, lag_ns),
                    Err(_) => message_lag.announce(seen),
                },
        };

    message_lag_least: ProtocolLeast = "wstap_message_lag_least_seconds" ["target", "protocol"],
        "The least lag of the last five to ten minutes; below 0 where the clock of whoever made the message is ahead of that of this machine.",
        on {
            What::Message { reading: MessageReading { feed: Some(FeedReading { time: OwnTime::At(ns), .. }), .. }, .. }
            | What::Further { feed: FeedReading { time: OwnTime::At(ns), .. }, .. } =>
                message_lag_least.note(seen, seen.wall_ns.saturating_sub(*ns)),
        };

    messages_from_future: ProtocolCounter = "wstap_messages_from_future_total" ["target", "protocol"],
        "Messages that passed before they were made, by their own account; in wstap_message_lag_seconds they are not.",
        on {
            What::Message { reading: MessageReading { feed: Some(FeedReading { time: OwnTime::At(ns), .. }), .. }, .. }
            | What::Further { feed: FeedReading { time: OwnTime::At(ns), .. }, .. } =>
                messages_from_future.add(seen, (), u64::from(*ns > seen.wall_ns)),
        };

    message_times_unreadable: ProtocolCounter = "wstap_message_times_unreadable_total"
        ["target", "protocol"],
        "Messages whose own time could not be read where a rule says that it stands.",
        on {
            What::Message { reading: MessageReading { feed: Some(FeedReading { time: OwnTime::Unreadable, .. }), .. }, .. }
            | What::Further { feed: FeedReading { time: OwnTime::Unreadable, .. }, .. } =>
                message_times_unreadable.add(seen, (), 1),
        };

    sequence_numbers: ProtocolCounter = "wstap_sequence_numbers_total"
        ["target", "protocol"],
        "Messages of feeds that have a number by rule, compared with another or not.",
        on {
            What::Message { reading: MessageReading { feed: Some(FeedReading { sequence: Some(_), .. }), .. }, .. }
            | What::Further { feed: FeedReading { sequence: Some(_), .. }, .. } => sequence_numbers.add(seen, (), 1),
        };

    sequence_missing: ProtocolCounter = "wstap_sequence_missing_total"
        ["target", "protocol"],
        "Numbers that are missing in the sequences of feeds; what wstap itself lost is not in it.",
        on {
            What::Message { reading: MessageReading { feed: Some(FeedReading { sequence: Some(step), .. }), .. }, .. }
            | What::Further { feed: FeedReading { sequence: Some(step), .. }, .. } => sequence_missing.add(seen, (), if let SequenceStep::Missing(missing) = step { *missing } else { 0 }),
        };

    sequence_repeated: ProtocolCounter = "wstap_sequence_repeated_total"
        ["target", "protocol"],
        "Messages of feeds whose number came before.",
        on {
            What::Message { reading: MessageReading { feed: Some(FeedReading { sequence: Some(step), .. }), .. }, .. }
            | What::Further { feed: FeedReading { sequence: Some(step), .. }, .. } => sequence_repeated.add(seen, (), u64::from(*step == SequenceStep::Repeated)),
        };

    sequence_backward: ProtocolCounter = "wstap_sequence_backward_total"
        ["target", "protocol"],
        "Messages of feeds whose number should have come before the last one.",
        on {
            What::Message { reading: MessageReading { feed: Some(FeedReading { sequence: Some(step), .. }), .. }, .. }
            | What::Further { feed: FeedReading { sequence: Some(step), .. }, .. } => sequence_backward.add(seen, (), u64::from(*step == SequenceStep::Backward)),
        };

    sequence_resets: ProtocolCounter = "wstap_sequence_resets_total"
        ["target", "protocol"],
        "Messages of feeds with which the numbers of their channel began anew: snapshots, and numbers too far away to be late.",
        on {
            What::Message { reading: MessageReading { feed: Some(FeedReading { sequence: Some(step), .. }), .. }, .. }
            | What::Further { feed: FeedReading { sequence: Some(step), .. }, .. } => sequence_resets.add(seen, (), u64::from(*step == SequenceStep::Reset)),
        };

    sequence_unchecked: ProtocolCounter<Unchecked> = "wstap_sequence_unchecked_total"
        ["target", "protocol", "reason"],
        "Messages of feeds whose number could not be compared with the one before, by what kept wstap from it.",
        on {
            What::Message { reading: MessageReading { feed: Some(FeedReading { sequence: Some(step), .. }), .. }, .. }
            | What::Further { feed: FeedReading { sequence: Some(step), .. }, .. } => match step {
                SequenceStep::Unchecked(reason) => sequence_unchecked.add(seen, *reason, 1),
                _ => sequence_unchecked.add(seen, Unchecked::AfterGap, 0),
            },
        };

    connections_quiet: Gauge = "wstap_connections_quiet" ["target"],
        "Open WebSocket connections without a data message for longer than --quiet-after, heartbeats left out; 0 without that option.",
        on {
            What::Quiet(is_quiet) => connections_quiet.add((), if *is_quiet { 1 } else { -1 }),
        };

    frames_sent: Counter<Opcode> = "wstap_frames_sent_total" ["target", "opcode"],
        "WebSocket frames sent.",
        on {
            What::Frame(Frame { direction: Sent, opcode, .. }) => frames_sent.of(*opcode).inc(),
        };

    frames_received: Counter<Opcode> = "wstap_frames_received_total" ["target", "opcode"],
        "WebSocket frames received.",
        on {
            What::Frame(Frame { direction: Received, opcode, .. }) =>
                frames_received.of(*opcode).inc(),
        };

    plaintext_bytes_sent: Counter = "wstap_plaintext_bytes_sent_total" ["target"],
        "Bytes sent on the tapped connections, captured or not; TLS is removed.",
        on {
            What::Wire { direction: Sent, bytes } => plaintext_bytes_sent.inc_by(*bytes),
        };

    plaintext_bytes_received: Counter = "wstap_plaintext_bytes_received_total" ["target"],
        "Bytes received on the tapped connections, captured or not; TLS is removed.",
        on {
            What::Wire { direction: Received, bytes } => plaintext_bytes_received.inc_by(*bytes),
        };

    ping_rtt: Timing<Origin> = "wstap_ping_rtt_seconds" ["target", "origin"],
        "Time from the last byte of a ping to the last byte of its pong.",
        on {
            What::PingRtt { origin, rtt_ns } => ping_rtt.observe(*origin, *rtt_ns),
        };

    connections: Gauge<ConnectionState> = "wstap_connections"
        ["target", "transport", "http", "role", "decode"],
        "Open WebSocket connections, by where they are tapped, what carries them and how much of them \
         can be read.",
        on {
            What::State { from, to } => {
            from.map(|(role, decode)| connections.add((seen.transport, seen.http, role, decode), -1));
            to.map(|(role, decode)| connections.add((seen.transport, seen.http, role, decode), 1));
        },
        };

    connections_opened: Counter<Role> = "wstap_connections_opened_total" ["target", "role"],
        "WebSocket connections that began or were recognised in mid-stream.",
        on {
            What::Open(_) => connections_opened.of(seen.role).inc(),
        };

    connections_closed: Counter<CloseCode> = "wstap_connections_closed_total" ["target", "code"],
        "WebSocket connections that ended, by close code.",
        on {
            What::Close { code } => connections_closed.of(CloseCode::of(*code)).inc(),
        };

    ends_unseen: Counter<EndSign> = "wstap_connection_ends_unseen_total" ["target", "reason"],
        "WebSocket connections whose own end was not seen, by what told that they have ended.",
        on {
            What::EndUnseen(sign) => ends_unseen.of(*sign).inc(),
        };

    upgrades_refused: OpenCounter = "wstap_upgrades_refused_total" ["target", "status"],
        "Upgrades that were not answered with status 101.",
        on {
            What::Refused { status } => upgrades_refused.inc(&[&status_label(*status)]),
        };

    protocol_errors: Counter<ProtocolError> = "wstap_protocol_errors_total" ["target", "reason"],
        "Rules of RFC 6455, RFC 7692 or the handshake that a peer broke, and decoder limits that it hit.",
        on {
            What::ProtocolError { reason, .. } => protocol_errors.of(*reason).inc(),
        };

    gaps: Counter<GapReason> = "wstap_gaps_total" ["target", "reason"],
        "Holes that the decoder met in a stream.",
        on {
            What::Gap { reason, .. } => gaps.of(*reason).inc(),
        };

    gap_bytes: Counter<GapReason> = "wstap_gap_bytes_total" ["target", "reason"],
        "Plaintext bytes in the holes that the decoder met.",
        on {
            What::Gap { reason, bytes, .. } => gap_bytes.of(*reason).inc_by(*bytes),
        };

    skipped_bytes: Counter = "wstap_skipped_bytes_total" ["target"],
        "Plaintext bytes that were left in the application's memory on purpose.",
        on {
            What::Skipped { bytes, .. } => skipped_bytes.inc_by(*bytes),
        };

    unsynced_bytes_sent: Counter = "wstap_unsynced_bytes_sent_total" ["target"],
        "Plaintext bytes sent that passed before it was known where a frame begins, and were not decoded.",
        on {
            What::Unsynced { direction: Sent, bytes } => unsynced_bytes_sent.inc_by(*bytes),
        };

    unsynced_bytes_received: Counter = "wstap_unsynced_bytes_received_total" ["target"],
        "Plaintext bytes received that passed before it was known where a frame begins, and were not decoded.",
        on {
            What::Unsynced { direction: Received, bytes } => unsynced_bytes_received.inc_by(*bytes),
        };

    window_misses: Counter<WindowMiss> = "wstap_window_misses_total" ["target", "reason"],
        "Messages that could not be read or compared in full, because they were cut or cannot be read at all.",
        on {
            What::WindowMiss { reason, .. } => window_misses.of(*reason).inc(),
        };

    windows: Counter<WindowResult> = "wstap_windows_total" ["target", "result", "reason"],
        "Windows of compressed directions whose beginning was not seen, asked of the process itself.",
        on {
            What::Window { result, .. } => windows.of(*result).inc(),
        };

    label_overflow: OpenCounter = "wstap_label_overflow_total" ["label"],
        "Label values that were folded into __other__.",
        at_zero ["method"],
        on {
            What::LabelOverflow(label) => label_overflow.inc(&[label]),
        };

    evictions: Counter<Table> = "wstap_evictions_total" ["table"],
        "Entries that a full table of the decoder let go.",
        on {
            What::Evicted(table) => evictions.of(*table).inc(),
        };
}
