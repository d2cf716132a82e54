//! Whether a connection that was met in mid-stream speaks HTTP/2, by its frames.

use super::border_search::BorderSearch;
use crate::decode::backlog::Backlog;
use crate::decode::limits::Limits;
use crate::decode::stream::Chunk;
use crate::event::{Direction, Stamp};

/// Looks at the starts of calls while it is not known what a connection speaks.
#[derive(Debug, Default)]
pub(in crate::decode) struct Http2Scan {
    ways: [BorderSearch; 2],
    passed: u64,
}

impl Http2Scan {
    /// One direction goes on. Returns all that passed there since a frame of HTTP/2 began, if
    /// frames have proven it.
    pub(in crate::decode) fn look(
        &mut self,
        chunk: Chunk<'_>,
        stamp: Stamp,
        limits: &Limits,
    ) -> Option<Backlog> {
        let Chunk { direction, bytes, start, .. } = chunk;
        self.passed = self.passed.saturating_add(bytes.len() as u64);
        let way = &mut self.ways[direction.index()];
        way.look(bytes, start, stamp, limits.held_bytes, |_| false)
    }

    /// Bytes of one direction are missing.
    pub(in crate::decode) fn interrupt(&mut self, direction: Direction) {
        self.ways[direction.index()].interrupt();
    }

    /// It has looked for long enough.
    pub(in crate::decode) fn is_exhausted(&self, limits: &Limits) -> bool {
        self.passed >= limits.search_bytes
    }

    /// Bytes that it takes.
    pub(in crate::decode) fn held_bytes(&self) -> usize {
        self.ways.iter().map(BorderSearch::held_bytes).sum()
    }
}
