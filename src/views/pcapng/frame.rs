//! The bytes of the streams: the upgrade and the frames, written anew.
//!
//! Frames are whole, not compressed and not masked: a reader then needs nothing of what passed before,
//! and the bytes can be read as they stand. tshark 4.0 shows no more than 256 KiB of a frame that is
//! masked. How they were on the wire is in the comments.

use std::fmt::Write;

use crate::observation::{MessageType, Opcode, Open};

/// A key and its answer (RFC 6455, section 1.3): the real ones prove nothing here.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The request and the answer that open a WebSocket, without what is not known.
pub(super) fn upgrade(open: &Open<'_>) -> [String; 2] {
    let path = open.path.unwrap_or("/");
    let host = open.host.unwrap_or("unknown");
    let mut request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n"
    );
    let mut answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {ACCEPT}\r\n"
    );
    for head in [&mut request, &mut answer] {
        if let Some(name) = open.subprotocol {
            // Writing to a string cannot fail.
            let _ = write!(head, "Sec-WebSocket-Protocol: {name}\r\n");
        }
        head.push_str("\r\n");
    }
    [request, answer]
}

/// The opcode of a message.
pub(super) fn opcode(message_type: MessageType) -> Opcode {
    match message_type {
        MessageType::Text => Opcode::Text,
        MessageType::Binary => Opcode::Binary,
    }
}

/// A whole frame (RFC 6455, section 5.2) without a mask, whoever sent it.
pub(super) fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    const FIN: u8 = 0x80;
    let mut frame = Vec::with_capacity(payload.len() + 10);
    frame.push(FIN | number(opcode));
    match payload.len() {
        length @ ..126 => frame.push(length as u8),
        length @ 126..0x1_0000 => {
            frame.push(126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

fn number(opcode: Opcode) -> u8 {
    match opcode {
        Opcode::Continuation => 0x0,
        Opcode::Text => 0x1,
        Opcode::Binary => 0x2,
        Opcode::Close => 0x8,
        Opcode::Ping => 0x9,
        Opcode::Pong => 0xa,
        // Which one it was is not told.
        Opcode::Reserved => 0xb,
    }
}

/// The port that the host of an upgrade names.
pub(super) fn port(host: &str) -> Option<u16> {
    let (_, port) = host.rsplit_once(':')?;
    port.parse().ok()
}
