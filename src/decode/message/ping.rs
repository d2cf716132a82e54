//! Round trips of WebSocket pings (RFC 6455, section 5.5.2 and 5.5.3).

use std::collections::VecDeque;

use crate::event::Direction;
use crate::observation::Origin;

/// Pings of one direction that wait for a pong; beyond it the oldest is forgotten.
const OUTSTANDING_MAX: usize = 8;

#[derive(Debug)]
struct Beat {
    at_ns: u64,
    payload: Vec<u8>,
}

/// The pings of one connection.
#[derive(Debug, Default)]
pub(in crate::decode) struct Pings {
    /// By the direction of the ping, oldest first.
    outstanding: [VecDeque<Beat>; 2],
    /// By the direction of the ping: a pong whose ping was not seen. Events of two threads may
    /// arrive inverted, so the ping may still come.
    early: [Option<Beat>; 2],
}

impl Pings {
    /// A ping passed. Returns its round trip if its pong came first.
    pub(in crate::decode) fn ping(
        &mut self,
        direction: Direction,
        at_ns: u64,
        payload: &[u8],
    ) -> Option<(Origin, u64)> {
        let early = &mut self.early[direction.index()];
        if let Some(pong) = early.take_if(|pong| pong.at_ns >= at_ns && pong.payload == payload) {
            return Some((Origin::of_request(direction), pong.at_ns - at_ns));
        }
        let outstanding = &mut self.outstanding[direction.index()];
        if outstanding.len() == OUTSTANDING_MAX {
            outstanding.pop_front();
        }
        outstanding.push_back(Beat { at_ns, payload: payload.to_vec() });
        None
    }

    /// A pong passed in `direction`. Returns the round trip of the latest ping with its payload;
    /// that pong acknowledges all earlier pings too: an endpoint "MAY elect to send a Pong frame
    /// for only the most recently processed Ping frame".
    pub(in crate::decode) fn pong(
        &mut self,
        direction: Direction,
        at_ns: u64,
        payload: &[u8],
    ) -> Option<(Origin, u64)> {
        let asked = direction.opposite();
        let outstanding = &mut self.outstanding[asked.index()];
        let Some(latest) = outstanding.iter().rposition(|ping| ping.payload == payload) else {
            self.early[asked.index()] = Some(Beat { at_ns, payload: payload.to_vec() });
            return None;
        };
        let ping = outstanding.drain(..=latest).next_back()?;
        Some((Origin::of_request(asked), at_ns.checked_sub(ping.at_ns)?))
    }

    /// Bytes on the heap.
    #[cfg(test)]
    pub(in crate::decode) fn heap_bytes(&self) -> usize {
        let queue = |queue: &VecDeque<Beat>| {
            let payloads: usize = queue.iter().map(|beat| beat.payload.capacity()).sum();
            queue.capacity() * size_of::<Beat>() + payloads
        };
        let early = self.early.iter().flatten().map(|beat| beat.payload.capacity());
        self.outstanding.iter().map(queue).chain(early).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Received, Sent};

    #[test]
    fn a_pong_acknowledges_the_latest_equal_ping_and_all_before_it() {
        let mut pings = Pings::default();
        for (at_ns, payload) in [(1, b"a"), (2, b"b"), (3, b"b"), (4, b"c")] {
            assert_eq!(pings.ping(Sent, at_ns, payload), None);
        }
        assert_eq!(pings.pong(Received, 13, b"b"), Some((Origin::Local, 10)));
        assert_eq!(pings.pong(Received, 14, b"a"), None);
        assert_eq!(pings.pong(Received, 14, b"c"), Some((Origin::Local, 10)));
    }

    #[test]
    fn a_pong_in_the_ping_s_own_direction_answers_nothing() {
        let mut pings = Pings::default();
        pings.ping(Received, 1, b"");
        assert_eq!(pings.pong(Received, 2, b""), None);
        assert_eq!(pings.pong(Sent, 5, b""), Some((Origin::Remote, 4)));
    }

    #[test]
    fn a_pong_whose_event_overtook_its_ping_still_counts() {
        let mut pings = Pings::default();
        assert_eq!(pings.pong(Received, 9, b"x"), None);
        assert_eq!(pings.ping(Sent, 5, b"x"), Some((Origin::Local, 4)));
        assert_eq!(pings.ping(Sent, 6, b"x"), None, "it answers one ping");
    }

    #[test]
    fn unanswered_pings_are_bounded() {
        let mut pings = Pings::default();
        for at_ns in 0..1000 {
            pings.ping(Sent, at_ns, b"");
        }
        assert_eq!(pings.outstanding[Sent.index()].len(), OUTSTANDING_MAX);
    }
}
