//! From frames to messages: fragments, inflation, how much is copied, and what is compared.
//!
//! What a message means is left to `matching`.

pub(in crate::decode) mod assembly;
pub(in crate::decode) mod compression;
mod identical;
pub(in crate::decode) mod inflate;
mod lookout;
mod partial;
mod ping;
pub(in crate::decode) mod shared;
mod tail;
pub(in crate::decode) mod window;
mod window_learning;
