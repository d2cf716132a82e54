//! The thread that reads the ring buffer, decodes, and records what was observed. It has no privilege.
//!
//! The ring buffer is the only queue between the tapped process and the decoder, so there is one
//! place where data can be lost, and the kernel side counts it there.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use super::mailbox::Mailbox;
use super::session::{POLL, TICK_NS, only_serve};
use crate::capture::Error;
use crate::capture::bpf::hint::{Steering, Word};
use crate::capture::bpf::lifecycle::{Change, Lifecycle};
use crate::capture::bpf::{Loss, Losses, Record, Ring};
use crate::capture::clock::monotonic_ns;
use crate::decode::decoder::{Decoder, Finding, FrameAt, KernelHint, StreamContent};
use crate::event::Event;
use crate::observation::Observation;

/// What takes the observations, on the thread that reads.
pub(super) trait Sink {
    /// One observation, on the hot path.
    fn observe(&mut self, observation: &Observation<'_>);
    /// The reader has caught up for now; `losses` are the kernel side's totals.
    fn caught_up(&mut self, losses: &[Loss]);
    /// Nobody wants to hear more: the session ends.
    fn is_closed(&self) -> bool {
        false
    }
}

/// What the reader has to do with others.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) ring: Ring,
    pub(super) losses: Losses<'a>,
    pub(super) mailbox: &'a Mailbox,
    /// Every probe is gone: what is in the ring buffer is the rest.
    pub(super) done: &'a AtomicBool,
}

/// The decoder with its ends: observations go to the sink, frame borders to the kernel side.
pub(super) struct ReadLoop<'a> {
    tracker: Decoder,
    sink: &'a mut (dyn Sink + Send),
    steering: Steering,
    /// What became of processes since it was last handed on.
    heard: Vec<Lifecycle>,
    /// Sockets of which it turned out whether TLS passes there.
    learnt: Vec<Finding>,
}

impl<'a> ReadLoop<'a> {
    pub(super) fn new(
        tracker: Decoder,
        sink: &'a mut (dyn Sink + Send),
        steering: Steering,
    ) -> Self {
        Self { tracker, sink, steering, heard: Vec::new(), learnt: Vec::new() }
    }

    /// Reads until `place.done`, or until nobody wants to hear more. Says so to `ready` once it can.
    ///
    /// # Errors
    ///
    /// The ring buffer cannot be mapped, or privileges cannot be dropped.
    pub(super) fn run(
        self,
        place: Place<'_>,
        sandbox: bool,
        ready: &mpsc::Sender<()>,
    ) -> Result<(), Error> {
        let _closing = Closing(place.mailbox);
        let decoder = RefCell::new(self);
        let reader = place.ring.reader(|record| decoder.borrow_mut().record(record))?;
        only_serve(sandbox)?;
        // Who waits for it is there until this thread has ended.
        let _ = ready.send(());
        let mut next_tick = 0;
        while !place.done.load(Ordering::Acquire) {
            let more = reader.read();
            let mut decoder = decoder.borrow_mut();
            decoder.hand_on(place.mailbox);
            let now = monotonic_ns();
            if now >= next_tick {
                next_tick = now + TICK_NS;
                decoder.tick(now);
            }
            if decoder.sink.is_closed() {
                break;
            }
            if !more {
                decoder.sink.caught_up(&place.losses.now());
                drop(decoder);
                reader.wait(POLL);
            }
        }
        while reader.read() {}
        decoder.borrow_mut().finish(&place.losses.now());
        Ok(())
    }

    fn record(&mut self, record: &Record<'_>) {
        match record {
            Record::Passed(event) => self.event(event),
            Record::Encrypted(conn) => {
                self.learnt.push(Finding { conn: *conn, content: StreamContent::Tls })
            }
            Record::Process(message) => {
                // In its place among the events: nothing of the process is still to come.
                if message.change == Change::Exited {
                    self.exited(message);
                }
                self.heard.push(*message);
            }
        }
    }

    fn hand_on(&mut self, mailbox: &Mailbox) {
        mailbox.put(&mut self.heard, &mut self.learnt);
    }

    fn exited(&mut self, message: &Lifecycle) {
        let sink = &mut *self.sink;
        let (tgid, at_ns) = (message.pid, message.at_ns);
        self.tracker.exited(tgid, at_ns, &mut |observation| sink.observe(observation));
    }

    fn event(&mut self, event: &Event<'_>) {
        let sink = &mut *self.sink;
        self.tracker.event(event, &mut |observation| sink.observe(observation));
        self.steer();
    }

    fn tick(&mut self, now_ns: u64) {
        let sink = &mut *self.sink;
        self.tracker.tick(now_ns, &mut |observation| sink.observe(observation));
    }

    fn finish(&mut self, losses: &[Loss]) {
        let sink = &mut *self.sink;
        self.tracker.finish(monotonic_ns(), &mut |observation| sink.observe(observation));
        sink.caught_up(losses);
    }

    fn steer(&mut self) {
        for hint in self.tracker.kernel_hints() {
            match hint {
                KernelHint::FrameAt(FrameAt { conn, direction, offset, whole, narrow }) => {
                    self.steering.set(conn, direction, Word::FrameAt { offset, whole, narrow });
                }
                KernelHint::Ignore { conn } => self.steering.ignore(conn),
            }
        }
        self.learnt.extend(self.tracker.findings().filter(|it| it.conn.socket().is_some()));
    }
}

/// Says that nobody reads any more, also where this thread comes to a sudden end.
struct Closing<'a>(&'a Mailbox);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}
