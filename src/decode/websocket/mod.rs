//! A WebSocket connection: two directions of frames, and what they share.

pub(in crate::decode) mod direction;
pub(in crate::decode) mod session;
mod violations;
