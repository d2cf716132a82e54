//! Frames of RFC 6455: headers, masks, close codes, and the UTF-8 of text.
//!
//! Which frames make a message is left to `message`, where frames begin in mid-stream to `resync`.

pub(in crate::decode) mod close;
pub(in crate::decode) mod header;
pub(in crate::decode) mod mask;
pub(in crate::decode) mod utf8;
