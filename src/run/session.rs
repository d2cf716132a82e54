//! The tap thread: one thread owns the BPF object, the decoder and what records its observations.
//!
//! The ring buffer is the only queue between the tapped process and the decoder, so there is one
//! place where data can be lost, and the kernel side counts it there.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::Failure;
use crate::capture::Error;
use crate::capture::clock::monotonic_ns;
use crate::capture::command::Launch;
use crate::capture::image::Planner;
use crate::capture::lifecycle::{Change, Lifecycle};
use crate::capture::privilege::Powers;
use crate::capture::roster::{Member, Roster};
use crate::capture::sandbox::{self, Task};
use crate::capture::selector::Selection;
use crate::capture::steering::{Steering, Word};
use crate::capture::tap::{self, Loss, Record, Settings, Tap, with_tap};
use crate::config::{TapConfig, UsageError};
use crate::decode::event::{ConnId, Event};
use crate::decode::matching::{Matching, Protocols};
use crate::decode::observation::Observation;
use crate::decode::tracker::{self, Tracker};

/// What takes the observations, and hears how the tap is doing.
pub(super) trait Sink {
    /// One observation, on the hot path.
    fn observe(&mut self, observation: &Observation<'_>);
    /// What is tapped has changed.
    fn tapped(&mut self, members: &[&Member]);
    /// The reader has caught up for now; `losses` are the kernel side's totals.
    fn caught_up(&mut self, losses: &[Loss]);
    /// Nobody wants to hear more: the session ends.
    fn is_closed(&self) -> bool {
        false
    }
}

/// How long the reader sleeps between looks at a ring buffer that nobody wakes it for.
const POLL: Duration = Duration::from_millis(10);
/// How often requests expire and processes are looked after.
const TICK_NS: u64 = 250_000_000;

/// What ends a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Until<'a> {
    /// Set from outside.
    pub(super) stop: &'a AtomicBool,
    /// Also end when no target is left.
    pub(super) targets_end: bool,
    /// End at once: only show that attaching works.
    pub(super) attached: bool,
}

/// What is to be tapped, before anything is.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) selection: Selection,
    launch: Option<Launch>,
}

/// Looks up the names of targets, and makes the child that will become the command, if there is
/// one. To be called before there are threads.
pub(super) fn prepare(config: &TapConfig) -> Result<Prepared, Error> {
    let mut selection = Selection::resolve(config.wanted.clone(), config.children)?;
    if config.command.is_empty() {
        return Ok(Prepared { selection, launch: None });
    }
    let launch = Launch::prepare(&config.command)?;
    selection.launch(launch.pid(), launch.name())?;
    Ok(Prepared { selection, launch: Some(launch) })
}

fn protocols(mut protocols: Protocols, selection: &Selection) -> Result<Protocols, UsageError> {
    for (target, name) in selection.protocols() {
        let forced = protocols.force_for(target, name);
        forced.map_err(|error| UsageError(format!("protocol: {error}")))?;
    }
    Ok(protocols)
}

/// Gives up every capability of this thread, and all that it will not do: for threads that only
/// serve.
pub(super) fn only_serve(sandbox: bool) -> Result<(), Error> {
    let dropped = Powers::None.settle();
    dropped.map_err(|error| Error::Other(format!("cannot drop privileges: {error}")))?;
    if sandbox { enter_sandbox(Task::Serve) } else { Ok(()) }
}

fn enter_sandbox(task: Task) -> Result<(), Error> {
    sandbox::enter(task).map_err(|error| {
        Error::Other(format!("cannot enter the sandbox: {error}; --no-sandbox does without"))
    })
}

/// Attaches, then decodes until `until` says so. Returns when every probe is gone and every
/// event that was in the ring buffer has been observed.
pub(super) fn run(
    config: TapConfig,
    prepared: Prepared,
    until: Until<'_>,
    sink: &mut dyn Sink,
) -> Result<(), Failure> {
    let Prepared { selection, launch } = prepared;
    let matching = Matching::new(protocols(config.protocols, &selection)?, config.match_limits);
    let tracker = Tracker::new(config.limits, matching);
    let kernel = Settings { watch_execs: selection.is_undecided_by_comm(), ..config.kernel };
    with_tap(&kernel, |tap| {
        let steering = tap.steering()?;
        let decoder = RefCell::new(Decoder {
            tracker,
            sink,
            steering,
            heard: Vec::new(),
            learnt: Vec::new(),
        });
        let reader = tap.reader(|record| decoder.borrow_mut().record(record))?;
        let planner = Planner::with_given(config.probes, config.given);
        let (plain, powers) = (config.plain, config.powers);
        let mut roster = Roster::new(tap, planner, selection, plain, powers, monotonic_ns())?;
        if !config.wait {
            roster.require_reason()?;
        }
        tracing::debug!("attached to {} processes", roster.members().count());
        decoder.borrow_mut().tell(&mut roster);
        roster.settle_for(config.powers)?;
        if config.sandbox {
            enter_sandbox(match config.powers {
                Powers::None => Task::Serve,
                _ => Task::Attach,
            })?;
        }
        launch.map_or(Ok(()), Launch::go)?;
        if !until.attached {
            decode(tap, &mut roster, &reader, &decoder, until);
        }
        roster.detach();
        while reader.read() {}
        decoder.borrow_mut().finish(&tap.losses());
        Ok(())
    })?;
    Ok(())
}

fn decode(
    tap: &Tap<'_>,
    roster: &mut Roster<'_, '_>,
    reader: &tap::Reader<'_>,
    decoder: &RefCell<Decoder<'_>>,
    until: Until<'_>,
) {
    let mut next_tick = 0;
    while !until.stop.load(Ordering::Relaxed) {
        let more = reader.read();
        let mut decoder = decoder.borrow_mut();
        let now = monotonic_ns();
        for message in decoder.heard.drain(..) {
            roster.hear(&message, now);
        }
        for (conn, encrypted) in decoder.learnt.drain(..) {
            roster.learn(conn, encrypted);
        }
        roster.tend(now);
        if now >= next_tick {
            next_tick = now + TICK_NS;
            decoder.tick(now);
            decoder.tell(roster);
            if until.targets_end && !roster.may_grow() {
                return;
            }
        }
        if decoder.sink.is_closed() {
            return;
        }
        if !more {
            decoder.sink.caught_up(&tap.losses());
            drop(decoder);
            reader.wait(POLL);
        }
    }
}

/// The decoder with its ends: observations go to the sink, frame borders to the kernel side.
struct Decoder<'a> {
    tracker: Tracker,
    sink: &'a mut dyn Sink,
    steering: Steering,
    /// What became of processes since it was last taken up.
    heard: Vec<Lifecycle>,
    /// Sockets of which it turned out whether TLS passes there.
    learnt: Vec<(ConnId, bool)>,
}

impl Decoder<'_> {
    fn record(&mut self, record: &Record<'_>) {
        match record {
            Record::Passed(event) => self.event(event),
            Record::Encrypted(conn) => self.learnt.push((*conn, true)),
            Record::Process(message) => {
                // In its place among the events: nothing of the process is still to come.
                if message.change == Change::Exited {
                    self.exited(message);
                }
                self.heard.push(*message);
            }
        }
    }

    /// Tells the sink what is tapped, if that has changed.
    fn tell(&mut self, roster: &mut Roster<'_, '_>) {
        if roster.has_changed() {
            self.sink.tapped(&roster.members().collect::<Vec<_>>());
        }
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
        for hint in self.tracker.steering() {
            match hint {
                tracker::Steering::FrameAt { conn, direction, offset, whole, narrow } => {
                    self.learnt.extend(conn.socket().map(|_| (conn, false)));
                    self.steering.set(conn, direction, Word::FrameAt { offset, whole, narrow });
                }
                tracker::Steering::Ignore { conn, encrypted } => {
                    self.learnt.extend(conn.socket().map(|_| (conn, encrypted)));
                    self.steering.ignore(conn);
                }
            }
        }
    }
}
