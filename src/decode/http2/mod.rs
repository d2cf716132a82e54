//! HTTP/2 as what carries WebSockets (RFC 9113, RFC 8441): its frames, its heads, its streams.
//!
//! ```text
//!   Carrier -> Way (one direction) -> FrameReader   (borders known)
//!                                  -> BorderSearch  (borders unknown)
//!                                  -> Heads         (HPACK)
//!           -> Streams -> websocket::session        (the content of DATA, one for each stream)
//! ```
//!
//! Ordinary requests on the same connection are passed over. What is inside of a stream's DATA is
//! left to `websocket`.

mod border_search;
pub(in crate::decode) mod carrier;
mod frame;
mod head;
mod heads;
mod held;
pub(in crate::decode) mod scan;
mod settings;
mod stream;
mod streams;
mod way;
