//! Writes lines until nobody wants another one.

use std::io::{self, Write};

use super::MessageView;
use super::order::Order;
use crate::observation::Observation;
use crate::views::{Process, View};

/// Writes the lines of a [`MessageView`] to `out` in the order of their times, with their header before
/// the first one.
#[derive(Debug)]
pub struct Printer<W> {
    view: MessageView,
    out: W,
    has_header: bool,
    order: Order,
    /// Lines that are still wanted; `None` for all that come.
    left: Option<u64>,
    error: Option<io::Error>,
}

impl<W: Write> Printer<W> {
    /// Has written nothing yet. It is closed after `most` lines, not counting the header.
    pub fn new(view: MessageView, out: W, most: Option<u64>) -> Self {
        Self { view, out, has_header: false, order: Order::default(), left: most, error: None }
    }

    fn wall_ns(&self, at_ns: u64) -> i128 {
        i128::from(at_ns).saturating_add(self.view.wall_offset_ns)
    }

    fn write_due(&mut self) {
        while !self.is_closed()
            && let Some(line) = self.order.pop_due()
        {
            self.write(&line);
        }
    }

    fn write(&mut self, line: &[u8]) {
        match self.out.write_all(line) {
            Ok(()) => self.left = self.left.map(|left| left.saturating_sub(1)),
            Err(error) => self.error = Some(error),
        }
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
        let wall_ns = self.wall_ns(observation.at_ns);
        self.order.observed(wall_ns);
        if let Some(event) = self.view.event(observation) {
            self.begin();
            let mut line = Vec::new();
            match self.view.write_event(&mut line, observation, process, event) {
                Ok(()) => self.order.push(wall_ns, line),
                Err(error) => self.error = Some(error),
            }
        }
        self.write_due();
    }

    fn tick(&mut self, now_ns: u64) {
        self.order.tick(self.wall_ns(now_ns));
        self.write_due();
    }

    fn holds_back(&self) -> bool {
        !self.order.is_empty()
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
        while !self.is_closed()
            && let Some(line) = self.order.pop()
        {
            self.write(&line);
        }
        self.flush();
        match self.error {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(None),
        }
    }
}
