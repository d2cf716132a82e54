//! A WebSocket connection: two directions of frames, and what they share.

mod control;
pub(in crate::decode) mod direction;
pub(in crate::decode) mod session;
mod violations;
