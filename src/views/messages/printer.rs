//! Writes lines until nobody wants another one.

use std::io::{self, Write};

use super::MessageView;
use crate::observation::Observation;
use crate::views::{Process, View};

/// Writes the lines of a [`MessageView`] to `out`, with their header before the first one.
#[derive(Debug)]
pub struct Printer<W> {
    view: MessageView,
    out: W,
    has_header: bool,
    /// Lines that are still wanted; `None` for all that come.
    left: Option<u64>,
    error: Option<io::Error>,
}

impl<W: Write> Printer<W> {
    /// Has written nothing yet. It is closed after `most` lines, not counting the header.
    pub fn new(view: MessageView, out: W, most: Option<u64>) -> Self {
        Self { view, out, has_header: false, left: most, error: None }
    }
}

impl<W: Write> View for Printer<W> {
    fn set_wall_offset_ns(&mut self, wall_offset_ns: i128) {
        self.view.wall_offset_ns = wall_offset_ns;
    }

    fn begin(&mut self) {
        if std::mem::replace(&mut self.has_header, true) || self.error.is_some() {
            return;
        }
        self.error = self.view.write_header(&mut self.out).err();
    }

    fn observe(&mut self, observation: &Observation<'_>, process: Process<'_>) {
        if self.is_closed() {
            return;
        }
        let Some(event) = self.view.event(observation) else { return };
        self.begin();
        match self.view.write_event(&mut self.out, observation, process, event) {
            Ok(()) => self.left = self.left.map(|left| left.saturating_sub(1)),
            Err(error) => self.error = Some(error),
        }
    }

    fn flush(&mut self) {
        if self.error.is_none() {
            self.error = self.out.flush().err();
        }
    }

    fn is_closed(&self) -> bool {
        self.error.is_some() || self.left == Some(0)
    }

    fn finish(mut self: Box<Self>) -> io::Result<Option<String>> {
        self.flush();
        match self.error {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(None),
        }
    }
}
