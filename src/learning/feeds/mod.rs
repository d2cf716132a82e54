//! Finds what nobody asks for: messages that come one after the other, with a time of their own and a
//! number that rises by itself.
//!
//! `flows` sorts the messages that no id explains by what they say they are. In each flow, `times` looks
//! for a time that goes with the clock, and `sequences` for a number that goes with the messages.
//! `proposal` puts together what several flows have in common. What the machinery makes of it, and whether
//! that convinces, is left to `proof`.

mod bounds;
mod flows;
mod proposal;
mod sequences;
mod times;

pub(in crate::learning) use proposal::{Proposal, proposals};
pub(in crate::learning) use sequences::Numbers;
