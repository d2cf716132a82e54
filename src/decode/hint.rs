//! Hints for the kernel side: what it need not copy, and where it may begin to walk frame headers
//! by itself. Hints are an economy; decoding is right without a single one being followed.

use std::collections::VecDeque;

use crate::event::{ConnId, Direction};

/// What the kernel side may do from now on with one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steering {
    /// The connection is not WebSocket (for now): its payload need not be copied. A later upgrade
    /// on it must still be noticed.
    Ignore {
        /// Which connection.
        conn: ConnId,
        /// It carries TLS.
        encrypted: bool,
    },
    /// A frame header begins at an absolute offset of one direction.
    FrameAt {
        /// Which connection.
        conn: ConnId,
        /// Which way.
        direction: Direction,
        /// Stream offset of the header's first byte. It may have passed already. What lies
        /// between the last byte seen and this offset is payload of one message.
        offset: u64,
        /// Compressed messages must be copied whole: their context goes on.
        whole: bool,
        /// Of the others that are long, the beginning is enough (see
        /// [`window`](super::window)).
        narrow: bool,
    },
}

/// Hints that wait to be drained; when full, the oldest is forgotten.
const HINTS_MAX: usize = 1024;

/// The queue between the decoder and whoever talks to the kernel.
#[derive(Debug, Default)]
pub(super) struct Hints {
    queue: VecDeque<Steering>,
}

impl Hints {
    pub(super) fn push(&mut self, hint: Steering) {
        if self.queue.len() == HINTS_MAX {
            self.queue.pop_front();
        }
        self.queue.push_back(hint);
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = Steering> {
        self.queue.drain(..)
    }
}
