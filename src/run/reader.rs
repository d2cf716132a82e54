//! The thread that reads the ring buffer, decodes, and hands observations to a sink. It has no
//! privilege.
//!
//! The ring buffer is the only queue between the tapped process and the decoder, so there is one
//! place where data can be lost, and the kernel side counts it there.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use super::mailbox::Mailbox;
use super::record::Tape;
use super::session::{TICK_NS, only_serve};
use crate::capture::Error;
use crate::capture::bpf::hint::{Steering, Word};
use crate::capture::bpf::lifecycle::{Change, Lifecycle};
use crate::capture::bpf::{Alarm, Losses, Record, Ring};
use crate::capture::clock::monotonic_ns;
use crate::decode::decoder::{Decoder, Finding, FrameAt, KernelHint, StreamContent, WindowRequest};
use crate::event::{CONNECTION_END, Event, Loss};
use crate::observation::{Observation, Waiting};

/// Takes the observations, on the reading thread.
pub(super) trait Sink {
    /// One observation, on the hot path.
    fn observe(&mut self, observation: &Observation<'_>);
    /// Shows what was observed so far: whenever the ring buffer is empty, and at each tick.
    /// `losses` are the kernel side's totals.
    fn publish(&mut self, losses: &[Loss]);
    /// The requests that wait for an answer, oldest first: at each tick.
    fn waiting(&mut self, waiting: &mut dyn Iterator<Item = Waiting<'_>>);
    /// A protocol that was learned meanwhile, in the rule language: asked for at each tick.
    fn learned(&mut self) -> Option<String> {
        None
    }
    /// A process has made a copy of itself: before anything of that is observed.
    fn forked(&mut self, _pid: u32, _parent: u32) {}
    /// Time has passed, up to `now_ns`: at each tick.
    fn tick(&mut self, _now_ns: u64) {}
    /// The next ticks will show something that has been observed already.
    fn holds_back(&self) -> bool {
        false
    }
    /// How long a record may wait for the reader while records keep coming.
    fn shortest_nap(&self) -> Duration {
        RELAXED
    }
    /// Whether the sink's own reader has gone, so that the session may end.
    fn is_closed(&self) -> bool {
        false
    }
}

/// What the reading thread shares with the attaching one.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) ring: Ring,
    pub(super) losses: Losses<'a>,
    pub(super) alarm: Alarm<'a>,
    pub(super) mailbox: &'a Mailbox,
    /// Every probe has been removed: the ring buffer gets no new records.
    pub(super) done: &'a AtomicBool,
}

/// The decoder with its ends: observations go to the sink, frame borders to the kernel side.
pub(super) struct ReadLoop<'a> {
    decoder: Decoder,
    sink: &'a mut (dyn Sink + Send),
    steering: Steering,
    /// Records what the decoder is given.
    tape: Option<Tape>,
    /// Records since the count was last taken.
    records: u64,
    /// Forks, execs and exits that are not in the mailbox yet.
    lifecycle: Vec<Lifecycle>,
    /// Contents of sockets that are not in the mailbox yet.
    findings: Vec<Finding>,
    /// Processes whose zlib is to be looked at, or no longer, since then.
    windows: Vec<WindowRequest>,
}

impl<'a> ReadLoop<'a> {
    pub(super) fn new(
        decoder: Decoder,
        sink: &'a mut (dyn Sink + Send),
        steering: Steering,
        tape: Option<Tape>,
    ) -> Self {
        let (lifecycle, findings, windows) = (Vec::new(), Vec::new(), Vec::new());
        Self { decoder, sink, steering, tape, records: 0, lifecycle, findings, windows }
    }

    /// Reads until `place.done` is set or the sink is closed. Sends to `ready` once it can read.
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
        let read_loop = RefCell::new(self);
        let reader = place.ring.reader(|record| read_loop.borrow_mut().record(record))?;
        only_serve(sandbox)?;
        // The receiver lives until this thread has ended.
        let _ = ready.send(());
        let (mut next_tick, mut unheard) = (0, 0);
        let mut pace = Pace::new(read_loop.borrow().sink.shortest_nap());
        while !place.done.load(Ordering::Acquire) {
            if pace.is_slow() {
                place.alarm.set();
            }
            let more = reader.read();
            let mut this = read_loop.borrow_mut();
            this.hand_on(place.mailbox);
            if unheard != place.losses.unheard() {
                unheard = place.losses.unheard();
                place.mailbox.wake();
            }
            let now = monotonic_ns();
            let is_due = now >= next_tick;
            if is_due {
                next_tick = now + TICK_NS;
                if !more {
                    this.take_leave(&place.mailbox.take_ended(), now);
                }
                this.tick(now);
            }
            if this.is_closed() {
                break;
            }
            // Under overload the ring buffer never runs empty. Its losses must show meanwhile.
            if is_due || !more {
                this.publish(&place.losses.now());
            }
            let nap = pace.nap(this.take_records() == 0, this.longest_nap());
            drop(this);
            if !more {
                reader.wait(nap);
            }
        }
        while reader.read() {}
        read_loop.borrow_mut().finish(&place.losses.now());
        Ok(())
    }

    fn record(&mut self, record: &Record<'_>) {
        self.records += 1;
        match record {
            Record::Passed(event) => self.event(event),
            Record::Encrypted(conn) => {
                self.findings.push(Finding { conn: *conn, content: StreamContent::Tls })
            }
            Record::Process(message) => {
                // The ring buffer keeps the order: every event of the process came before.
                match message.change {
                    Change::Exited => self.exited(message.pid, message.at_ns),
                    Change::Forked { parent } => self.sink.forked(message.pid, parent),
                    Change::Executed | Change::Loaded => {}
                }
                self.lifecycle.push(*message);
            }
            Record::Zlib(call) => self.decoder.zlib_call(call),
        }
    }

    /// Whether the sink or the recording wants nothing more.
    fn is_closed(&self) -> bool {
        self.sink.is_closed() || self.tape.as_ref().is_some_and(Tape::ends_session)
    }

    fn publish(&mut self, losses: &[Loss]) {
        if let Some(tape) = &mut self.tape {
            tape.losses(losses);
        }
        let ends = losses.iter().find(|loss| loss.reason == CONNECTION_END);
        self.decoder.ends_lost(ends.map_or(0, |loss| loss.records));
        self.sink.publish(losses);
    }

    fn hand_on(&mut self, mailbox: &Mailbox) {
        self.windows.extend(self.decoder.window_requests());
        mailbox.put(&mut self.lifecycle, &mut self.findings, &mut self.windows);
    }

    fn take_records(&mut self) -> u64 {
        std::mem::take(&mut self.records)
    }

    /// What is due when nothing comes waits for no longer than this.
    fn longest_nap(&self) -> Duration {
        let is_awaited =
            self.tape.is_some() || self.decoder.has_deadlines() || self.sink.holds_back();
        if is_awaited { Duration::from_nanos(TICK_NS) } else { LONGEST_NAP }
    }

    /// Takes leave of processes of whose end no record told. The ring buffer is empty: nothing more of
    /// them comes.
    fn take_leave(&mut self, ended: &[u32], now_ns: u64) {
        ended.iter().for_each(|&pid| self.exited(pid, now_ns));
    }

    fn exited(&mut self, tgid: u32, at_ns: u64) {
        let sink = &mut *self.sink;
        if let Some(tape) = &mut self.tape {
            tape.exited(tgid, at_ns);
        }
        self.decoder.exited(tgid, at_ns, &mut |observation| sink.observe(observation));
    }

    fn event(&mut self, event: &Event<'_>) {
        if let Some(tape) = &mut self.tape {
            tape.event(event);
        }
        let sink = &mut *self.sink;
        self.decoder.event(event, &mut |observation| sink.observe(observation));
        self.steer();
    }

    fn tick(&mut self, now_ns: u64) {
        if let Some(tape) = &mut self.tape {
            tape.tick(now_ns);
        }
        let sink = &mut *self.sink;
        self.decoder.tick(now_ns, &mut |observation| sink.observe(observation));
        sink.tick(now_ns);
        self.decoder.rule_doubts(now_ns).iter().for_each(|doubt| tracing::warn!("{doubt}"));
        sink.waiting(&mut self.decoder.waiting());
        let Some(toml) = sink.learned() else { return };
        match self.decoder.learn(&toml) {
            Ok(true) => {}
            Ok(false) => tracing::warn!("a rule was learned that there is no room for: {toml}"),
            Err(error) => tracing::warn!("a rule was learned that cannot be used: {error}"),
        }
    }

    fn finish(&mut self, losses: &[Loss]) {
        let now_ns = monotonic_ns();
        if let Some(tape) = &mut self.tape {
            tape.losses(losses);
            tape.finish(now_ns);
        }
        let sink = &mut *self.sink;
        self.decoder.finish(now_ns, &mut |observation| sink.observe(observation));
        sink.publish(losses);
    }

    fn steer(&mut self) {
        for hint in self.decoder.kernel_hints() {
            match hint {
                KernelHint::FrameAt(FrameAt { conn, direction, offset, whole, narrow }) => {
                    if let Some(tape) = &mut self.tape {
                        tape.has_frames(conn);
                    }
                    self.steering.set(conn, direction, Word::FrameAt { offset, whole, narrow });
                }
                KernelHint::Http2At { conn, direction, offset, asks } => {
                    if let Some(tape) = &mut self.tape {
                        tape.has_streams(conn);
                    }
                    self.steering.set(conn, direction, Word::Http2At { offset, asks });
                }
                KernelHint::Ignore { conn } => self.steering.ignore(conn),
            }
        }
        self.findings.extend(self.decoder.findings().filter(|it| it.conn.socket().is_some()));
    }
}

/// How long the reader sleeps before it looks again, where no record wakes it. Short while records
/// come; longer and longer when none does.
#[derive(Debug)]
struct Pace {
    shortest: Duration,
    nap: Duration,
}

/// Where somebody reads along.
pub(super) const PROMPT: Duration = Duration::from_millis(10);
/// Where nobody does. A look at the ring buffer costs some 70 us before its first message is read, because
/// what the reader needs has left the caches of the processor meanwhile.
const RELAXED: Duration = Duration::from_millis(40);
/// Losses show after this time at the latest, also where nothing comes through.
const LONGEST_NAP: Duration = Duration::from_millis(500);

impl Pace {
    fn new(shortest: Duration) -> Self {
        Self { shortest, nap: shortest }
    }

    /// The time until the next look, after one that has found nothing or something.
    fn nap(&mut self, is_quiet: bool, longest: Duration) -> Duration {
        self.nap = if is_quiet { (self.nap * 2).min(longest) } else { self.shortest };
        self.nap
    }

    /// What comes next would wait for long.
    fn is_slow(&self) -> bool {
        self.nap > self.shortest
    }
}

/// Closes the mailbox when the reading thread ends, also when it panics.
struct Closing<'a>(&'a Mailbox);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn naps_grow_while_nothing_comes_and_are_short_again_with_the_first_record() {
        for shortest in [PROMPT, RELAXED] {
            let mut pace = Pace::new(shortest);
            assert_eq!(pace.nap(false, LONGEST_NAP), shortest);
            assert!(!pace.is_slow(), "records that come do not wake the reader");
            assert_eq!(pace.nap(true, LONGEST_NAP), shortest * 2);
            assert!(pace.is_slow(), "the next record wakes it");
            for _ in 0..10 {
                pace.nap(true, LONGEST_NAP);
            }
            assert_eq!(pace.nap(true, LONGEST_NAP), LONGEST_NAP);
            assert_eq!(pace.nap(false, LONGEST_NAP), shortest);
            assert!(!pace.is_slow());
        }
    }
}
