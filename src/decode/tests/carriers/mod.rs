//! What a WebSocket begins on: the upgrade of HTTP/1.1, or a stream of HTTP/2.

mod handshake;
mod http2;

use super::*;
