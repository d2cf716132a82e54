//! A connection while it speaks HTTP/1.1, and the handshake that turns it into a WebSocket.
//!
//! Bodies are stepped over. What follows a 101 belongs to `websocket`.

pub(in crate::decode) mod handshake;
pub(in crate::decode) mod head;
mod head_lines;
pub(in crate::decode) mod head_scan;
pub(in crate::decode) mod http2_opening;
pub(in crate::decode) mod reader;
mod subprotocol;
pub(in crate::decode) mod upgrade;
