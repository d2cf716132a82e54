//! One chain of frames that a search for borders follows, and the evidence for it.

use std::hash::BuildHasher;

use rustc_hash::FxBuildHasher;

use crate::decode::frame::header::{self, CONTROL_MAX, Header, Parsed};
use crate::decode::frame::mask;
use crate::decode::frame::utf8::Utf8;
use crate::observation::Opcode;

/// Evidence that makes a chain of frames a certainty.
pub(in crate::decode) const PROOF: u32 = 6;

/// What a header at the start of a call counts for, besides the header itself.
const CALL_EVIDENCE: u32 = 2;

/// Frames of a small call.
const REPEATS_MAX: u32 = 4;

/// Payload bytes that are looked at to refute a candidate.
pub(in crate::decode) const PREFIX: u64 = 64;

/// Nobody sends larger frames than this, so a header that announces one is not believed.
const LENGTH_MAX: u64 = 64 << 20;

/// What is known about the frames that are searched for.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::decode) struct Rules {
    /// Whether they are masked, if it is known.
    pub(in crate::decode) masked: Option<bool>,
    /// They may be compressed.
    pub(in crate::decode) rsv1: bool,
    /// Bytes to search before only the starts of calls are tried.
    pub(in crate::decode) search_bytes: u64,
    /// Bytes to hold back for the replay of a chain.
    pub(in crate::decode) held_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::decode) enum Verdict {
    Refuted,
    Possible,
    Proven,
}

/// Where in a fragmented message a chain stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fragments {
    Unknown,
    Between,
    Inside,
}

/// A chain of frames that has not been refuted yet.
#[derive(Debug)]
pub(in crate::decode) struct Candidate {
    /// Offset of its first header.
    pub(in crate::decode) start: u64,
    /// Offset of the header it stands at.
    pub(in crate::decode) at: u64,
    /// That header and its length, once it is complete.
    header: Option<(Header, usize)>,
    /// Offset that must be reached before there is more to say.
    pub(in crate::decode) need: u64,
    evidence: u32,
    /// Hashes of the first `counted` frames that are evidence, no two of them equal.
    distinct: [u64; PROOF as usize],
    counted: usize,
    /// A frame was like one before it and began no call: payload that repeats itself looks like that.
    repeats: bool,
    /// That header begins a call.
    begins_call: bool,
    /// The first header begins a call.
    pub(in crate::decode) from_call: bool,
    /// Frames since the last header that began a call, that one included.
    in_call: u32,
    pub(in crate::decode) masked: Option<bool>,
    fragments: Fragments,
}

impl Candidate {
    pub(in crate::decode) fn new(start: u64) -> Self {
        Self {
            start,
            at: start,
            header: None,
            need: start.saturating_add(2),
            evidence: 0,
            distinct: [0; PROOF as usize],
            counted: 0,
            repeats: false,
            begins_call: false,
            from_call: false,
            in_call: 0,
            masked: None,
            fragments: Fragments::Unknown,
        }
    }

    /// The header that it stands at begins a call.
    pub(in crate::decode) fn call_starts(&mut self) {
        self.begins_call = true;
        self.from_call |= self.at == self.start;
    }

    /// There is as much evidence for it as a frame at the start of a call is.
    pub(in crate::decode) fn is_likely(&self) -> bool {
        self.evidence > CALL_EVIDENCE
    }

    /// Looks at `bytes`, the stream from `base` to `end`.
    pub(in crate::decode) fn look(
        &mut self,
        bytes: &[u8],
        base: u64,
        end: u64,
        rules: &Rules,
    ) -> Verdict {
        while self.need <= end {
            let from = self.at.saturating_sub(base) as usize;
            let Some(frame) = bytes.get(from..).filter(|_| self.at >= base) else {
                return Verdict::Refuted;
            };
            let Some((header, used)) = self.header else {
                match header::parse(frame) {
                    Ok(Parsed::NeedMore(n)) => self.need = end + n as u64,
                    Ok(Parsed::Done { value, used }) if self.allows(&value, rules) => {
                        self.need = self.at + used as u64 + value.length.min(PREFIX);
                        self.header = Some((value, used));
                    }
                    Ok(Parsed::Done { .. }) | Err(_) => return Verdict::Refuted,
                }
                continue;
            };
            let head = &frame[..frame.len().min(used + header.length.min(PREFIX) as usize)];
            if refutes(&header, &head[used.min(head.len())..]) {
                return Verdict::Refuted;
            }
            self.evidence += self.weigh(header.length, head);
            self.in_call = if self.begins_call { 1 } else { self.in_call.saturating_add(1) };
            self.begins_call = false;
            if self.evidence >= PROOF {
                return Verdict::Proven;
            }
            self.at += used as u64 + header.length;
            self.need = self.at + 2;
            self.header = None;
        }
        Verdict::Possible
    }

    /// What a frame counts for, by itself and for beginning a call.
    ///
    /// Where frames repeat themselves inside of calls, only small calls say something: a peer that
    /// sends the same message twice in each of them looks like that. A long payload that repeats
    /// itself fills calls with hundreds of such "frames".
    fn weigh(&mut self, length: u64, head: &[u8]) -> u32 {
        let counts = length > 0 && self.counts(head);
        if !counts && length > 0 && self.begins_call {
            return u32::from(self.in_call <= REPEATS_MAX);
        }
        let is_call = self.begins_call && (counts || (length == 0 && !self.repeats));
        u32::from(counts) + if is_call { CALL_EVIDENCE } else { 0 }
    }

    /// Whether a frame is evidence. One that was in the chain before is none: payload that repeats
    /// itself does so under a mask as well, and may look like the same few frames over and over, also
    /// where a call happens to begin. A message that is said again, each time with a call, is.
    fn counts(&mut self, head: &[u8]) -> bool {
        let hash = FxBuildHasher.hash_one(head);
        if self.distinct[..self.counted].contains(&hash) {
            self.repeats |= !self.begins_call;
            return !self.repeats;
        }
        // There is room: each frame here is evidence, and PROOF of it ends the search.
        if let Some(free) = self.distinct.get_mut(self.counted) {
            *free = hash;
            self.counted += 1;
        }
        true
    }

    /// Checks a header against the rules and against those before it.
    fn allows(&mut self, header: &Header, rules: &Rules) -> bool {
        let masked = header.mask.is_some();
        if self.masked.or(rules.masked).is_some_and(|expected| expected != masked) {
            return false;
        }
        self.masked = Some(masked);
        let data = matches!(header.opcode, Opcode::Text | Opcode::Binary);
        let sound = !header.rsv23
            && header.opcode != Opcode::Reserved
            && header.minimal
            && header.length <= LENGTH_MAX
            && (!header.rsv1 || (rules.rsv1 && data))
            && (!header.control || (header.fin && header.length <= CONTROL_MAX))
            && (header.fin || header.length > 0)
            && (header.opcode != Opcode::Close || header.length != 1);
        sound && self.in_order(header)
    }

    fn in_order(&mut self, header: &Header) -> bool {
        if header.control {
            return true;
        }
        let continues = header.opcode == Opcode::Continuation;
        let expected = match self.fragments {
            Fragments::Unknown => true,
            Fragments::Between => !continues,
            Fragments::Inside => continues,
        };
        self.fragments = if header.fin { Fragments::Between } else { Fragments::Inside };
        expected
    }
}

/// Whether the first bytes of a payload contradict its header.
fn refutes(header: &Header, prefix: &[u8]) -> bool {
    let mut plain = [0; PREFIX as usize];
    let plain = &mut plain[..prefix.len()];
    plain.copy_from_slice(prefix);
    if let Some(key) = header.mask {
        mask::apply(plain, key, 0);
    }
    match header.opcode {
        // Block type 3 is reserved (RFC 1951, section 3.2.3).
        Opcode::Text | Opcode::Binary if header.rsv1 => {
            plain.first().is_some_and(|byte| byte & 0b110 == 0b110)
        }
        Opcode::Text => {
            let mut utf8 = Utf8::default();
            utf8.push(plain);
            utf8.is_broken()
        }
        Opcode::Close => match *plain {
            [high, low, ..] => {
                !crate::decode::frame::close::is_valid(u16::from_be_bytes([high, low]))
            }
            _ => false,
        },
        _ => false,
    }
}
