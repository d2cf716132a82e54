//! Whether bytes that are missing behind a text could make a pattern match it.
//!
//! A pattern that begins at the start of a text is followed byte by byte. Where nothing can come of
//! it any more, as behind the blank line that ends the header lines of a frame, the rest of the
//! text does not matter to it. Of a pattern that may begin anywhere that can never be said.

use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};

/// Memory that one compiled pattern may take, bytes.
pub(super) const SIZE_LIMIT_BYTES: usize = 1 << 20;

/// Follows one pattern.
#[derive(Debug)]
pub(super) struct Continuation {
    dfa: DFA,
    cache: Cache,
}

impl Continuation {
    /// `None` if the pattern may begin anywhere, or would take too much memory.
    pub(super) fn compile(pattern: &str) -> Option<Self> {
        let syntax = syntax::Config::new().unicode(false).utf8(false).dot_matches_new_line(true);
        let config = DFA::config()
            .cache_capacity(SIZE_LIMIT_BYTES)
            .skip_cache_capacity_check(true)
            .minimum_cache_clear_count(None);
        let dfa = DFA::builder().syntax(syntax).configure(config).build(pattern).ok()?;
        let cache = dfa.create_cache();
        dfa.get_nfa().is_always_start_anchored().then_some(Self { dfa, cache })
    }

    /// Some text that begins with `bytes` may match.
    pub(super) fn is_possible(&mut self, bytes: &[u8]) -> bool {
        self.follow(bytes).unwrap_or(true)
    }

    /// `None` where it cannot be said.
    fn follow(&mut self, bytes: &[u8]) -> Option<bool> {
        let Self { dfa, cache } = self;
        let start = Input::new(bytes).anchored(Anchored::Yes);
        let mut state = dfa.start_state_forward(cache, &start).ok()?;
        for &byte in bytes {
            state = dfa.next_state(cache, state, byte).ok()?;
            if state.is_dead() {
                return Some(false);
            }
            if state.is_quit() {
                return None;
            }
        }
        Some(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_ends_where_nothing_can_come_of_it() {
        let mut receipt = Continuation::compile(r"^SEND\n(?:[^\n]+\n)*?receipt:(?P<id>[^\n]+)\n");
        let mut possible = |text: &str| receipt.as_mut().unwrap().is_possible(text.as_bytes());
        assert!(possible("SEND\n") && possible("SEND\nzz:1\nrece") && possible("SE"));
        assert!(!possible("SEND\nzz:1\n\nreceipt:1\n") && !possible("MESSAGE\n"));
    }

    #[test]
    fn of_a_pattern_that_begins_anywhere_nothing_is_said() {
        assert!(Continuation::compile("id=(?P<id>[0-9]+)").is_none());
    }
}
