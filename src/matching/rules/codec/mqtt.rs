//! MQTT 3.1, 3.1.1 and 5: control packets in a byte stream that WebSocket messages cut anywhere
//! (MQTT 5.0, section 6.0). What matters of a packet is its type, its packet identifier and
//! whether it reports a failure; payloads are hopped over, topics are never told.

use std::borrow::Cow;

use crate::event::Direction;
use crate::observation::MessageType;

use crate::matching::rules::kind::Kind;
use crate::matching::rules::reading::{Proof, Reading, RequestName, RuleTraits};
use crate::matching::rules::text::{Text, Wholeness};

/// Names of the queues of requests that have no identifier.
pub(in crate::matching::rules) const QUEUES: [&str; 1] = ["CONNECT"];

/// Position of CONNECT in [`QUEUES`].
const CONNECT_QUEUE: u8 = 0;

/// Bytes of a packet's body that are kept: identifier and reason code, or CONNECT's protocol name.
const HEAD_BYTES: usize = 8;

/// Reason codes from here on are failures (MQTT 5.0, section 2.4; for SUBACK 3.1.1, section 3.9.3).
const FIRST_FAILURE: u8 = 0x80;

/// What is kept of a connection from message to message; nothing until there is MQTT on it.
#[derive(Debug, Default)]
pub(in crate::matching::rules) struct Stream {
    sides: Option<Box<[Side; 2]>>,
}

/// Where one direction of the byte stream stands.
#[derive(Clone, Copy, Debug, Default)]
enum Side {
    /// Between packets.
    #[default]
    Start,
    /// Inside the remaining length of a packet's fixed header.
    Length { first: u8, length: u32, shift: u32 },
    /// Inside a packet's body.
    Body(Packet),
    /// Bytes were lost. Senders nearly always begin a message with a packet, so that is tried.
    Lost,
}

/// A packet whose fixed header was read.
#[derive(Clone, Copy, Debug)]
struct Packet {
    /// Type and flags.
    first: u8,
    /// Remaining length.
    length: u32,
    /// Bytes of the body that were read.
    read: u32,
    head: [u8; HEAD_BYTES],
    /// The identifier of a PUBLISH, which stands behind its topic.
    publish_id: u16,
    last: u8,
}

/// Control packet types (MQTT 5.0, section 2.1.2).
mod packet_type {
    pub(super) const CONNECT: u8 = 1;
    pub(super) const CONNACK: u8 = 2;
    pub(super) const PUBLISH: u8 = 3;
    pub(super) const PUBACK: u8 = 4;
    pub(super) const PUBREC: u8 = 5;
    pub(super) const PUBREL: u8 = 6;
    pub(super) const PUBCOMP: u8 = 7;
    pub(super) const SUBSCRIBE: u8 = 8;
    pub(super) const SUBACK: u8 = 9;
    pub(super) const UNSUBSCRIBE: u8 = 10;
    pub(super) const UNSUBACK: u8 = 11;
    pub(super) const PINGREQ: u8 = 12;
    pub(super) const PINGRESP: u8 = 13;
    pub(super) const DISCONNECT: u8 = 14;
    pub(super) const AUTH: u8 = 15;
}

use packet_type::{
    AUTH, CONNACK, CONNECT, DISCONNECT, PINGREQ, PINGRESP, PUBACK, PUBCOMP, PUBLISH, PUBREC,
    PUBREL, SUBACK, SUBSCRIBE, UNSUBACK, UNSUBSCRIBE,
};

impl Stream {
    /// Reads a message's bytes and reports the packets that end in it; returns whether that is all
    /// that the message says.
    pub(in crate::matching::rules) fn read(
        &mut self,
        text: Text<'_>,
        found: &mut dyn FnMut(Reading<'_>),
    ) -> bool {
        if text.message_type != MessageType::Binary {
            return true;
        }
        let side = &mut self.sides.get_or_insert_default()[text.direction.index()];
        if matches!(side, Side::Lost) {
            *side = Side::Start;
        }
        let mut rest = text.payload;
        while !rest.is_empty() && !matches!(side, Side::Lost) {
            rest = side.advance(rest, found);
        }
        text.wholeness == Wholeness::Whole || side.cut(found)
    }

    /// Bytes of this direction are missing.
    pub(in crate::matching::rules) fn lose(&mut self, direction: Direction) {
        if let Some(sides) = &mut self.sides {
            sides[direction.index()] = Side::Lost;
        }
    }
}

impl Side {
    /// Reads some of `bytes`, at least one, and returns the rest.
    fn advance<'b>(&mut self, bytes: &'b [u8], found: &mut dyn FnMut(Reading<'_>)) -> &'b [u8] {
        let Some((&byte, rest)) = bytes.split_first() else { return bytes };
        match self {
            Self::Start => {
                let header = Self::Length { first: byte, length: 0, shift: 0 };
                *self = if is_first_byte(byte) { header } else { Self::Lost };
                rest
            }
            Self::Length { first, length, shift } => {
                *length |= u32::from(byte & 0x7f) << *shift;
                *shift += 7;
                if byte & 0x80 == 0 {
                    *self = Self::Body(Packet::new(*first, *length));
                    self.finish(found);
                } else if *shift > 21 {
                    // Section 1.5.5: a variable byte integer has at most four bytes.
                    *self = Self::Lost;
                }
                rest
            }
            Self::Body(packet) => {
                let rest = packet.take(bytes);
                self.finish(found);
                rest
            }
            Self::Lost => &[],
        }
    }

    /// Tells the packet if all of it was read.
    fn finish(&mut self, found: &mut dyn FnMut(Reading<'_>)) {
        if let Self::Body(packet) = self
            && packet.read == packet.length
        {
            packet.tell(found);
            *self = Self::Start;
        }
    }

    /// The rest of the message is not here. A packet whose identifier was read is still told;
    /// returns whether it was.
    fn cut(&mut self, found: &mut dyn FnMut(Reading<'_>)) -> bool {
        let mut is_told = false;
        if let Self::Body(packet) = self
            && packet.type_of() == PUBLISH
            && packet.read >= packet.head_length()
        {
            packet.tell(found);
            is_told = true;
        }
        *self = Self::Lost;
        is_told
    }
}

impl Packet {
    fn new(first: u8, length: u32) -> Self {
        Self { first, length, read: 0, head: [0; HEAD_BYTES], publish_id: 0, last: 0 }
    }

    fn type_of(&self) -> u8 {
        self.first >> 4
    }

    fn quality_of_service(&self) -> u8 {
        self.first >> 1 & 0b11
    }

    /// Reads as much of the body as there is, and returns what follows it.
    fn take<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let missing = (self.length - self.read) as usize;
        let (body, rest) = bytes.split_at(missing.min(bytes.len()));
        for &byte in body {
            if self.read >= self.head_length() {
                break;
            }
            self.head_byte(byte);
        }
        // What follows the head only counts, but for the last byte.
        self.read = self.length - (missing - body.len()) as u32;
        self.last = body.last().copied().unwrap_or(self.last);
        rest
    }

    /// Bytes at the start of the body that have to be looked at.
    fn head_length(&self) -> u32 {
        if self.type_of() != PUBLISH || self.read < 2 {
            return HEAD_BYTES as u32;
        }
        4 + self.topic_length()
    }

    /// Length of a PUBLISH's topic, once two bytes of the body were read.
    fn topic_length(&self) -> u32 {
        u32::from(u16::from_be_bytes([self.head[0], self.head[1]]))
    }

    fn head_byte(&mut self, byte: u8) {
        if let Some(kept) = self.head.get_mut(self.read as usize) {
            *kept = byte;
        }
        if self.type_of() == PUBLISH && self.read >= 2 + self.topic_length() && self.read >= 2 {
            self.publish_id = self.publish_id << 8 | u16::from(byte);
        }
        self.read += 1;
    }

    fn tell(&self, found: &mut dyn FnMut(Reading<'_>)) {
        let Some(meaning) = self.meaning() else { return };
        let mut digits = [0; 5];
        let name = match meaning.named {
            Named::Nothing => None,
            Named::Queue(queue) => Some(RequestName::Queue(queue)),
            // Section 2.2.1: an identifier is not 0.
            Named::Id(0) => return,
            Named::Id(id) => Some(RequestName::Id { id: decimal(id, &mut digits), scope: &[] }),
        };
        let traits = RuleTraits { proof: self.proof(), ..RuleTraits::plain(meaning.kind) };
        let method = meaning.label.map(|label| Cow::Borrowed(label.as_bytes()));
        found(Reading { traits, name, method, feed: None });
    }

    fn meaning(&self) -> Option<Meaning> {
        let id = Named::Id(u16::from_be_bytes([self.head[0], self.head[1]]));
        let meaning = |kind, named, label| Meaning { kind, named, label };
        let answer = |failed| if failed { Kind::Error } else { Kind::Response };
        Some(match self.type_of() {
            PUBLISH if self.quality_of_service() == 0 => {
                meaning(Kind::Notification, Named::Nothing, Some("PUBLISH"))
            }
            PUBLISH => meaning(Kind::Request, Named::Id(self.publish_id), Some("PUBLISH")),
            PUBREL => meaning(Kind::Request, id, Some("PUBREL")),
            SUBSCRIBE => meaning(Kind::Request, id, Some("SUBSCRIBE")),
            UNSUBSCRIBE => meaning(Kind::Request, id, Some("UNSUBSCRIBE")),
            PUBACK | PUBREC | PUBCOMP => {
                meaning(answer(self.length > 2 && self.head[2] >= FIRST_FAILURE), id, None)
            }
            // The reason codes end the packet; the last stands for all.
            SUBACK | UNSUBACK => {
                meaning(answer(self.length > 2 && self.last >= FIRST_FAILURE), id, None)
            }
            CONNECT => meaning(Kind::Request, Named::Queue(CONNECT_QUEUE), Some("CONNECT")),
            // Section 3.2.2.2 and its like in 3.1.1: success is 0.
            CONNACK => meaning(answer(self.head[1] != 0), Named::Queue(CONNECT_QUEUE), None),
            PINGREQ => meaning(Kind::Ping, Named::Nothing, None),
            PINGRESP => meaning(Kind::Pong, Named::Nothing, None),
            DISCONNECT => meaning(Kind::Notification, Named::Nothing, Some("DISCONNECT")),
            AUTH => meaning(Kind::Notification, Named::Nothing, Some("AUTH")),
            _ => return None,
        })
    }

    /// A CONNECT that names the protocol is like nothing else.
    fn proof(&self) -> Proof {
        let names_itself = self.head.starts_with(b"\0\x04MQTT") || self.head == *b"\0\x06MQIsdp";
        if self.type_of() == CONNECT && names_itself { Proof::Certain } else { Proof::Likely }
    }
}

/// What a packet is.
struct Meaning {
    kind: Kind,
    named: Named,
    label: Option<&'static str>,
}

enum Named {
    Nothing,
    Queue(u8),
    Id(u16),
}

/// MQTT 5.0, table 2-2: every type but PUBLISH has fixed flags.
fn is_first_byte(byte: u8) -> bool {
    match byte >> 4 {
        0 => false,
        PUBLISH => byte >> 1 & 0b11 != 0b11,
        PUBREL | SUBSCRIBE | UNSUBSCRIBE => byte & 0x0f == 0b0010,
        _ => byte & 0x0f == 0,
    }
}

fn decimal(number: u16, digits: &mut [u8; 5]) -> &[u8] {
    let mut rest = number;
    let mut start = digits.len();
    for (index, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
        start = index;
        if rest == 0 {
            break;
        }
    }
    &digits[start..]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::matching::rules::kind::Sender;

    /// PUBLISH with identifier 10, PINGREQ, SUBSCRIBE with identifier 258, PUBACK of 7.
    const PACKETS: &[u8] = b"\x32\x0a\x00\x03a/b\x00\x0ahey\xc0\x00\x82\x06\x01\x02\x00\x01a\x00\
        \x40\x02\x00\x07";

    fn read(stream: &mut Stream, payload: &[u8], wholeness: Wholeness) -> Vec<String> {
        let mut read = Vec::new();
        let text = Text {
            direction: Direction::Sent,
            sender: Sender::Client,
            message_type: MessageType::Binary,
            payload,
            tail: b"",
            wholeness,
        };
        stream.read(text, &mut |reading| {
            let id = match reading.name {
                Some(RequestName::Id { id, .. }) => String::from_utf8(id.to_vec()).unwrap(),
                _ => "-".to_owned(),
            };
            read.push(format!("{:?} {id}", reading.traits.kind));
        });
        read
    }

    #[test]
    fn packets_may_share_a_message() {
        let read = read(&mut Stream::default(), PACKETS, Wholeness::Whole);
        assert_eq!(read, ["Request 10", "Ping -", "Request 258", "Response 7"]);
    }

    proptest! {
        #[test]
        fn packets_may_be_cut_anywhere(cuts in prop::collection::vec(0..PACKETS.len(), 0..6)) {
            let mut cuts = cuts;
            cuts.sort_unstable();
            let mut stream = Stream::default();
            let mut told = Vec::new();
            let mut start = 0;
            for cut in cuts.into_iter().chain([PACKETS.len()]) {
                told.extend(read(&mut stream, &PACKETS[start..cut], Wholeness::Whole));
                start = cut;
            }
            prop_assert_eq!(told, ["Request 10", "Ping -", "Request 258", "Response 7"]);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            read(&mut Stream::default(), &bytes, Wholeness::Cut);
        }
    }

    #[test]
    fn a_truncated_publish_is_told_and_the_next_message_begins_anew() {
        let mut stream = Stream::default();
        let cut = b"\x32\xff\x7f\x00\x03a/b\x00\x0ahey";
        assert_eq!(read(&mut stream, cut, Wholeness::Cut), ["Request 10"]);
        assert_eq!(read(&mut stream, b"\xc0\x00", Wholeness::Whole), ["Ping -"]);
    }

    #[test]
    fn after_a_loss_only_a_possible_packet_is_read() {
        let mut stream = Stream::default();
        read(&mut stream, b"\x32\x0a\x00\x03a", Wholeness::Whole);
        stream.lose(Direction::Sent);
        assert!(read(&mut stream, b"/b\x00\x0ahey", Wholeness::Whole).is_empty());
        assert_eq!(read(&mut stream, b"\xc0\x00", Wholeness::Whole), ["Ping -"]);
    }
}
