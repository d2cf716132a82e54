//! The pure core: [`Event`](crate::event::Event)s in, [`Observation`](crate::observation::Observation)s out.
//!
//! Nothing here reads a clock, opens a file, starts a thread or knows where events come from.
//! Every buffer has a bound and an observation for when it bites.
//!
//! What an ordinary message runs through, here and in [`matching`](crate::matching), barely fits the
//! instruction cache. What seldom happens is therefore `#[cold]`, or at least `#[inline(never)]`.
//!
//! ```text
//!   Decoder -> Connection -> http (until the 101)
//!                         -> http2 (what carries a websocket on each stream)
//!                         -> websocket -> frame (borders known)
//!                                      -> resync (borders unknown)
//!                                      -> message (fragments, inflation)
//!                                           -> lz77 (windows that were not seen)
//! ```

pub mod decoder;

mod backlog;
mod connection;
mod context;
mod deferred_counts;
mod endings;
mod hint;
mod limits;
mod lz77;
mod stream;

mod frame;
mod http;
mod http2;
mod message;
mod resync;
mod websocket;

#[cfg(test)]
mod tests;
