//! What the decoder learns that others act on: hints for the kernel side, and what streams carry.
//!
//! A hint says what need not be copied, or where the kernel side may begin to walk frame headers by
//! itself. Hints only save work: the decoder is right without a single one being followed.

use std::collections::VecDeque;

use crate::event::{ConnId, Direction, HttpVersion};

/// What the kernel side may do from now on with one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelHint {
    /// The connection is not WebSocket (for now): its payload need not be copied. A later upgrade
    /// on it must still be noticed.
    Ignore {
        /// Which connection.
        conn: ConnId,
    },
    /// A frame header begins at an absolute offset of one direction.
    FrameAt(FrameAt),
    /// A header of an HTTP/2 frame begins at an absolute offset of one direction.
    Http2At {
        /// Which connection.
        conn: ConnId,
        /// Which way.
        direction: Direction,
        /// Stream offset of the header's first byte. It may have passed already.
        offset: u64,
        /// Requests pass in this direction.
        asks: bool,
    },
}

/// Where a frame begins, and how much of the frames from there on is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameAt {
    /// Which connection.
    pub conn: ConnId,
    /// Which way.
    pub direction: Direction,
    /// Stream offset of the header's first byte. It may have passed already. What lies
    /// between the last byte seen and this offset is payload of one message.
    pub offset: u64,
    /// Compressed messages must be copied whole: their context goes on.
    pub whole: bool,
    /// Of the others that are long, the beginning is enough.
    pub narrow: bool,
}

/// What turned out to pass on a connection whose bytes may be anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamContent {
    /// TLS records. The plaintext inside them may be tapped in a TLS library.
    Tls,
    /// Anything else.
    Plaintext,
}

/// What one socket, or one TLS connection inside another, carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The connection.
    pub conn: ConnId,
    /// What passes there. [`StreamContent::Plaintext`] is only told of sockets.
    pub content: StreamContent,
}

/// Entries of each kind that wait to be drained; when full, the oldest is forgotten.
const WAITING_MAX: usize = 1024;

/// The queues between the decoder and those who act on what it learns.
#[derive(Debug, Default)]
pub(super) struct Hints {
    kernel: VecDeque<KernelHint>,
    findings: VecDeque<Finding>,
}

impl Hints {
    /// A connection carries `content`, and that is not WebSocket.
    pub(super) fn ignore(&mut self, conn: ConnId, content: StreamContent) {
        push(&mut self.kernel, KernelHint::Ignore { conn });
        self.find(conn, content);
    }

    /// A frame of a connection begins at a known offset, so the connection carries no TLS.
    /// In a stream of HTTP/2 the kernel side finds the frames by itself.
    pub(super) fn frame_at(&mut self, frame: FrameAt) {
        if frame.conn.http() == HttpVersion::Http2 {
            return;
        }
        push(&mut self.kernel, KernelHint::FrameAt(frame));
        self.find(frame.conn, StreamContent::Plaintext);
    }

    /// A frame of HTTP/2 begins at a known offset, on a connection that may carry WebSockets.
    pub(super) fn http2_at(&mut self, conn: ConnId, direction: Direction, offset: u64, asks: bool) {
        push(&mut self.kernel, KernelHint::Http2At { conn, direction, offset, asks });
    }

    fn find(&mut self, conn: ConnId, content: StreamContent) {
        if conn.socket().is_some() || content == StreamContent::Tls {
            push(&mut self.findings, Finding { conn, content });
        }
    }

    pub(super) fn drain_kernel(&mut self) -> impl Iterator<Item = KernelHint> {
        self.kernel.drain(..)
    }

    pub(super) fn drain_findings(&mut self) -> impl Iterator<Item = Finding> {
        self.findings.drain(..)
    }
}

fn push<T>(queue: &mut VecDeque<T>, entry: T) {
    if queue.len() == WAITING_MAX {
        queue.pop_front();
    }
    queue.push_back(entry);
}
