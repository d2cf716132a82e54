//! Tells the kernel side where frames begin, through memory that both map.
//!
//! No `bpf()` call is made, so it works when no privilege is left. The words are described in
//! `bpf/events.h`; each is valid on its own, so a torn pair does no harm.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};

use libbpf_rs::MapCore;
use memmap2::{MmapOptions, MmapRaw};

use super::skeleton::types::{wstap_steer, wstap_steer_bits};
use crate::event::{ConnId, Direction};

/// What userspace tells the kernel side about one direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// A frame header begins at this absolute offset.
    FrameAt {
        /// Absolute stream offset; at or beyond 2^45 - 1 the word is not written.
        offset: u64,
        /// Copy compressed messages whole: the inflater needs every byte.
        whole: bool,
        /// Copy only the beginning of others that are long (see [`NARROW_BYTES`](crate::event::NARROW_BYTES)).
        narrow: bool,
    },
    /// A header of an HTTP/2 frame begins at this absolute offset.
    Http2At {
        /// Absolute stream offset; at or beyond 2^45 - 1 the word is not written.
        offset: u64,
        /// Requests pass in this direction.
        asks: bool,
    },
    /// Not WebSocket: copy nothing until an upgrade is answered.
    Ignore,
}

/// The mapped words.
#[derive(Debug)]
pub struct Steering {
    map: MmapRaw,
}

const SLOTS: u32 = wstap_steer_bits::WSTAP_STEER_SLOTS.0;
const BYTES: usize = SLOTS as usize * size_of::<wstap_steer>();
const IGNORE: u64 = (1 << wstap_steer_bits::WSTAP_STEER_OFFSET_BITS.0) - 1;
const HTTP2: u64 = 1 << wstap_steer_bits::WSTAP_STEER_OFFSET_BITS.0;
const NARROW: u64 = HTTP2 << 1;
const ASKS: u64 = NARROW;
const WHOLE: u64 = NARROW << 1;

impl Steering {
    pub(in crate::capture) fn map(map: &impl MapCore) -> io::Result<Self> {
        let fd = map.as_fd().as_raw_fd();
        Ok(Self { map: MmapOptions::new().len(BYTES).map_raw(fd)? })
    }

    /// Writes the word of one direction. The kernel side reads it at the next call, and ignores an
    /// offset that the stream has already passed.
    pub fn set(&self, conn: ConnId, direction: Direction, word: Word) {
        let value = match word {
            Word::FrameAt { offset, .. } | Word::Http2At { offset, .. } if offset >= IGNORE => {
                return;
            }
            Word::FrameAt { offset, whole, narrow } => {
                offset | if whole { WHOLE } else { 0 } | if narrow { NARROW } else { 0 }
            }
            Word::Http2At { offset, asks } => offset | HTTP2 | if asks { ASKS } else { 0 },
            Word::Ignore => IGNORE,
        };
        let slot = (conn.generation % SLOTS) as usize;
        self.words()[slot * 2 + direction.index()]
            .store(value | tag(conn.generation), Ordering::Relaxed);
    }

    /// Writes [`Word::Ignore`] for both directions.
    pub fn ignore(&self, conn: ConnId) {
        for direction in Direction::BOTH {
            self.set(conn, direction, Word::Ignore);
        }
    }

    fn words(&self) -> &[AtomicU64] {
        // SAFETY: the map is page aligned, BYTES long and lives as long as `self`; the kernel side
        // only reads it, one aligned word at a time.
        unsafe { std::slice::from_raw_parts(self.map.as_mut_ptr().cast(), BYTES / 8) }
    }
}

fn tag(generation: u32) -> u64 {
    let high = generation >> wstap_steer_bits::WSTAP_STEER_SLOT_BITS.0;
    u64::from((high & wstap_steer_bits::WSTAP_STEER_TAG_MASK.0) + 1)
        << wstap_steer_bits::WSTAP_STEER_TAG_SHIFT.0
}
