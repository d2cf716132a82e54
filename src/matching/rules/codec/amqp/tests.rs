//! Frames as the package rhea writes them, cut in every way.

use proptest::prelude::*;

use super::*;
use crate::matching::rules::hex_bytes as bytes;
use crate::matching::rules::kind::Sender;
use crate::observation::MessageType;
use Direction::{Received, Sent};

const BEGIN: &str = "0000002002000000005311d000000010000000044043700000080070ffffffff";
/// On channel 3, to that of channel 0.
const BEGUN: &str = "0000002202000003005311d0000000120000000460000043700000080070ffffffff";
const ATTACH: &str = "0000002102000000005312d0000000110000000aa1016c52014240404040404043";
const ATTACHED: &str = "0000001a02000003005312d00000000a00000003a1016c520741";
/// Delivery 5, whose message asks for an answer.
const TRANSFER: &str = "0000003e02000000005314d00000000d0000000552015205a00174434200537045005373d0000000\
    0e00000005a1026d31404040a10172005377a1026869";
const SETTLED: &str =
    "0000002b02000000005314d00000000d0000000552015206a0017443410053704500537345005377a10178";
/// Delivery 7, in two frames.
const BEGINNING: &str = "0000003f02000000005314d00000000e0000000652015207a0017443404100537045005373d00000\
    000e00000005a1026d31404040a10172005377a1026869";
const REST: &str = "0000001802000000005314d0000000060000000152017a7a";
/// Settled, with a message that answers.
const REPLY: &str = "0000003c02000003005314d00000000c00000005520843a00174404100537045005373d00000000d0000\
    00064040404040a1026d31005377a1026f6b";
/// Of deliveries 5 to 7.
const ACCEPTED: &str = "0000001e02000003005315d00000000e0000000541520552074100532445";
const REJECTED: &str = "0000003402000003005315d000000024000000054152054041005325d0000000130000000100531dd\
    00000000700000001a30163";
const DETACH: &str = "0000001702000000005316d00000000700000002520141";
const DETACHED: &str = "0000001702000003005316d00000000700000002520741";
const END: &str = "0000000c0200000000531745";
const ENDED: &str = "0000000c0200000300531745";
const CLOSE: &str = "0000000c0200000000531845";

struct Heard {
    stream: Stream,
    lines: Vec<String>,
}

impl Heard {
    fn new() -> Self {
        Self { stream: Stream::default(), lines: Vec::new() }
    }

    /// With a session that is channel 0 one way and 3 the other.
    fn begun() -> Self {
        let mut heard = Self::new();
        heard.hear(Sent, BEGIN).hear(Received, BEGUN);
        heard.lines.clear();
        heard
    }

    fn hear(&mut self, direction: Direction, hex: &str) -> &mut Self {
        self.pass(direction, &bytes(hex).unwrap(), Wholeness::Whole);
        self
    }

    fn pass(&mut self, direction: Direction, payload: &[u8], wholeness: Wholeness) -> bool {
        let text = Text {
            direction,
            sender: Sender::Client,
            message_type: MessageType::Binary,
            payload,
            tail: b"",
            wholeness,
        };
        let Self { stream, lines } = self;
        stream.read(text, &mut |reading| {
            let name = match reading.name {
                Some(RequestName::Id { id, scope }) => {
                    format!("{} of {}", id.escape_ascii(), scope.escape_ascii())
                }
                Some(RequestName::Queue(queue)) => QUEUES[usize::from(queue)].to_owned(),
                None => reading.method.map(|it| it.escape_ascii().to_string()).unwrap_or_default(),
            };
            lines.push(format!("{:?} {name}", reading.traits.kind));
        })
    }

    fn lines(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines)
    }
}

#[test]
fn sessions_and_links_begin_and_end_by_the_numbers_of_both_sides() {
    let mut heard = Heard::new();
    heard.hear(Sent, BEGIN).hear(Received, BEGUN).hear(Sent, ATTACH).hear(Received, ATTACHED);
    heard.hear(Sent, DETACH).hear(Received, DETACHED).hear(Received, ENDED).hear(Sent, END);
    assert_eq!(
        heard.lines(),
        [
            "Request 0 of begin 0",
            "Response 0 of begin 0",
            "Request l of attach 1",
            "Response l of attach 1",
            "Request 2 of detach 0",
            "Response 2 of detach 0",
            "Request 1 of end 0",
            "Response 1 of end 0",
        ]
    );
    heard.hear(Sent, DETACH).hear(Sent, ACCEPTED).hear(Received, ENDED);
    assert!(heard.lines().is_empty(), "they are gone");
}

#[test]
fn a_disposition_answers_each_delivery_of_its_range() {
    let mut heard = Heard::begun();
    heard.hear(Sent, TRANSFER).hear(Sent, SETTLED).hear(Received, ACCEPTED);
    assert_eq!(
        heard.lines(),
        [
            "Request 5 of transfer 1",
            "Request \"m1\" of message 0".replace('"', "\\\"").as_str(),
            "Notification transfer",
            "Response 5 of transfer 1",
            "Response 6 of transfer 1",
            "Response 7 of transfer 1",
        ]
    );
    heard.hear(Received, REJECTED);
    assert_eq!(heard.lines(), ["Error 5 of transfer 1"]);
}

#[test]
fn a_range_that_nobody_has_sent_is_not_walked() {
    let mut heard = Heard::begun();
    let all =
        bytes("000000180200000300531 5c00b054143 70ffffffff 41 00532445".replace(' ', "").as_str());
    assert!(!heard.pass(Received, &all.unwrap(), Wholeness::Whole));
    assert!(heard.lines().is_empty());
}

#[test]
fn a_delivery_in_several_frames_is_one_and_is_asked_with_the_last() {
    let mut heard = Heard::begun();
    heard.hear(Sent, BEGINNING);
    assert!(heard.lines().is_empty());
    heard.hear(Sent, REST).hear(Received, REPLY);
    assert_eq!(
        heard.lines(),
        [
            "Request 7 of transfer 1",
            "Request \\\"m1\\\" of message 0",
            "Notification transfer",
            "Response \\\"m1\\\" of message 0",
        ]
    );
}

#[test]
fn of_a_session_that_began_unseen_nothing_is_counted() {
    let mut heard = Heard::new();
    heard.hear(Sent, TRANSFER).hear(Received, ACCEPTED).hear(Sent, DETACH).hear(Sent, END);
    assert_eq!(heard.lines(), ["Notification transfer"]);
}

#[test]
fn who_opens_and_closes_first_asks() {
    let mut heard = Heard::new();
    heard.hear(Received, CLOSE).hear(Received, CLOSE).hear(Sent, CLOSE);
    assert_eq!(heard.lines(), ["Request close", "Response close"]);
}

#[test]
fn after_a_loss_only_a_frame_is_read() {
    let mut heard = Heard::begun();
    heard.pass(Sent, &bytes(TRANSFER).unwrap()[..20], Wholeness::Whole);
    heard.stream.lose(Sent);
    heard.pass(Sent, &bytes(TRANSFER).unwrap()[20..], Wholeness::Whole);
    heard.pass(
        Sent,
        b"\x00\x00\x01\x00\x02\x00\x00\x00and what is no performative",
        Wholeness::Whole,
    );
    assert!(heard.lines().is_empty());
    heard.hear(Sent, TRANSFER);
    assert_eq!(heard.lines()[0], "Request 5 of transfer 1");
}

#[test]
fn a_truncated_transfer_is_told_and_counts_as_not_read_in_full() {
    let mut heard = Heard::begun();
    let transfer = bytes(TRANSFER).unwrap();
    assert!(!heard.pass(Sent, &transfer[..transfer.len() - 1], Wholeness::Cut));
    assert_eq!(heard.lines()[0], "Request 5 of transfer 1");
    heard.hear(Sent, SETTLED);
    assert_eq!(heard.lines(), ["Notification transfer"]);
}

proptest! {
    #[test]
    fn frames_may_be_cut_anywhere(cuts in prop::collection::vec(0..200_usize, 0..8)) {
        let all = bytes(&[ATTACH, TRANSFER, SETTLED, BEGINNING, REST, DETACH, END].concat()).unwrap();
        let mut whole = Heard::begun();
        whole.pass(Sent, &all, Wholeness::Whole);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(all.len())).collect();
        cuts.sort_unstable();
        let mut pieces = Heard::begun();
        let mut start = 0;
        for cut in cuts.into_iter().chain([all.len()]) {
            pieces.pass(Sent, &all[start..cut], Wholeness::Whole);
            start = cut;
        }
        prop_assert_eq!(pieces.lines(), whole.lines());
    }

    #[test]
    fn no_bytes_make_it_panic_or_grow(
        messages in prop::collection::vec((any::<bool>(), any::<bool>(), prop::collection::vec(
            prop_oneof![
                any::<u8>(),
                prop::sample::select(b"\0\0\0\x20\x02\x53\x11\x12\x14\x15\x16\xc0\xd0\x45\x41\x70\xa1".to_vec()),
            ],
            0..80,
        ), 0..8_u8), 0..12),
    ) {
        let mut heard = Heard::begun();
        for (sent, cut, mut bytes, code) in messages {
            // Half of them begin as a frame does.
            if code < 4 {
                let size = (bytes.len() + 11) as u8;
                bytes.splice(0..0, [0, 0, 0, size, 2, 0, 0, 0, 0, 0x53, 0x11 + code]);
            }
            let direction = if sent { Sent } else { Received };
            heard.pass(direction, &bytes, if cut { Wholeness::Cut } else { Wholeness::Whole });
        }
    }
}
