//! One direction of an HTTP/2 connection: what is known of its frames, heads and settings.

use super::border_search::BorderSearch;
use super::frame::FrameReader;
use super::heads::Heads;
use super::settings::Settings;
use crate::event::SegmentStart;

/// What a client begins with (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The state of one direction.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) reader: FrameReader,
    pub(super) heads: Heads,
    pub(super) settings: Settings,
    /// Present while the next frame border is not known.
    pub(super) search: Option<Box<BorderSearch>>,
    /// Bytes of the preface that have not passed.
    preface_left: usize,
    /// What the next content of the frame is.
    pub(super) content_start: SegmentStart,
    /// Stream offset of the next byte; `None` before the first.
    pub(super) position: Option<u64>,
    /// The kernel side walks the frames by itself.
    pub(super) is_walked: bool,
    /// The offset that it was told last.
    announced: Option<u64>,
}

impl Way {
    /// From the beginning of a connection; a client's begins with a preface.
    pub(super) fn new(is_client: bool) -> Self {
        Self {
            reader: FrameReader::default(),
            heads: Heads::new(),
            settings: Settings::default(),
            search: None,
            preface_left: if is_client { PREFACE.len() } else { 0 },
            content_start: SegmentStart::Middle,
            position: None,
            is_walked: false,
            announced: None,
        }
    }

    /// Of a connection that was met in mid-stream.
    pub(super) fn met() -> Self {
        let mut settings = Settings::default();
        settings.miss();
        Self { heads: Heads::met(), settings, search: Some(Box::default()), ..Self::new(false) }
    }

    /// Takes the preface off the front of `bytes`.
    pub(super) fn take_preface(&mut self, bytes: &mut &[u8]) {
        while self.preface_left > 0
            && let Some((&first, rest)) = bytes.split_first()
        {
            if first != PREFACE[PREFACE.len() - self.preface_left] {
                // The tap began behind it.
                self.preface_left = 0;
                return;
            }
            self.preface_left -= 1;
            *bytes = rest;
        }
    }

    /// Bytes follow that the kernel side does not know to begin with a header. If one does begin here,
    /// it does not walk.
    pub(super) fn call_starts(&mut self) {
        self.is_walked &= !self.reader.is_idle();
    }

    /// The offset of the next header, if the kernel side should be told: until it walks, the stream may
    /// have passed each offset that it was told, so it is told the next.
    pub(super) fn take_announcement(&mut self) -> Option<u64> {
        if self.is_walked || self.search.is_some() {
            return None;
        }
        let left = self.preface_left as u64 + self.reader.left();
        let offset = (self.position? + left).checked_sub(self.reader.begun() as u64);
        if offset == self.announced {
            return None;
        }
        self.announced = offset;
        offset
    }

    /// Nothing is known of where the next frame begins. Returns true if that poisoned the table of
    /// its heads just now.
    #[must_use]
    pub(super) fn lose_border(&mut self) -> bool {
        self.reader.restart();
        self.preface_left = 0;
        self.search.get_or_insert_default().interrupt();
        self.heads.poison()
    }

    /// Bytes that it holds back.
    pub(super) fn held_bytes(&self) -> usize {
        self.heads.held_bytes() + self.search.as_ref().map_or(0, |search| search.held_bytes())
    }
}
