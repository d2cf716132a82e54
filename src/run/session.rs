//! The tap thread: one thread owns the BPF object, the decoder and what records its observations.
//!
//! The ring buffer is the only queue between the tapped process and the decoder, so there is one
//! place where data can be lost, and the kernel side counts it there.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::Failure;
use crate::capture::clock::monotonic_ns;
use crate::capture::image::Planner;
use crate::capture::process::FileId;
use crate::capture::steering::{Steering, Word};
use crate::capture::tap::{self, Attachment, Loss, Tap, with_tap};
use crate::capture::targets::{Target, is_tappable, survey};
use crate::capture::{Error, process};
use crate::config::TapConfig;
use crate::decode::event::{Direction, Event, TargetId};
use crate::decode::matching::Matching;
use crate::decode::observation::Observation;
use crate::decode::tracker::{self, Tracker};

/// What takes the observations, and hears how the tap is doing.
pub(super) trait Sink {
    /// One observation, on the hot path.
    fn observe(&mut self, observation: &Observation<'_>);
    /// What is tapped has changed.
    fn tapped(&mut self, targets: &[Tapped]);
    /// The reader has caught up for now; `losses` are the kernel side's totals.
    fn caught_up(&mut self, losses: &[Loss]);
    /// Nobody wants to hear more: the session ends.
    fn is_closed(&self) -> bool {
        false
    }
}

/// A process that is or was tapped.
#[derive(Debug)]
pub(super) struct Tapped {
    pub(super) target: Target,
    pub(super) up: bool,
    /// How its probes are attached, for people.
    pub(super) technique: &'static str,
    attachments: BTreeMap<FileId, Attachment>,
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

/// The processes to tap, each with the target that it belongs to, and the targets' names in the
/// order of their ids.
#[derive(Debug, Default)]
pub(super) struct Selection {
    pub(super) names: Vec<Arc<str>>,
    pub(super) pids: Vec<(u32, TargetId)>,
}

/// Names each target after the command of its process; processes of one name are one target.
pub(super) fn select(pids: &[u32]) -> Result<Selection, Error> {
    let mut selection = Selection::default();
    for &pid in pids {
        let comm = process::Process::read(pid).map_err(|_| Error::NoSuchProcess(pid))?.comm;
        let names = &mut selection.names;
        let known = names.iter().position(|name| **name == *comm);
        let index = known.unwrap_or_else(|| {
            names.push(comm.into());
            names.len() - 1
        });
        let id = u16::try_from(index).map_err(|_| Error::Other("too many targets".into()))?;
        selection.pids.push((pid, TargetId(id)));
    }
    Ok(selection)
}

/// Attaches, then decodes until `until` says so. Returns when every probe is gone and every
/// event that was in the ring buffer has been observed.
pub(super) fn run(
    config: TapConfig,
    pids: &[(u32, TargetId)],
    until: Until<'_>,
    sink: &mut dyn Sink,
) -> Result<(), Failure> {
    let mut planner = Planner::new(config.probes);
    let found = find(&mut planner, pids, config.wait, until.stop)?;
    let matching = Matching::new(config.protocols, config.match_limits);
    let tracker = Tracker::new(config.limits, matching);
    with_tap(&config.kernel, |tap| {
        let steering = tap.steering()?;
        let decoder = RefCell::new(Decoder { tracker, sink, steering });
        let reader = tap.reader(|event| decoder.borrow_mut().event(event))?;
        let mut keeper = Keeper { tap, planner, tapped: Vec::new() };
        for target in found {
            keeper.attach(target)?;
        }
        tracing::debug!("attached to {} processes", keeper.tapped.len());
        decoder.borrow_mut().sink.tapped(&keeper.tapped);
        if !until.attached {
            decode(&mut keeper, &reader, &decoder, until);
        }
        keeper.detach_all();
        while reader.read() {}
        decoder.borrow_mut().finish(&tap.losses());
        Ok(())
    })?;
    Ok(())
}

fn decode(
    keeper: &mut Keeper<'_>,
    reader: &tap::Reader<'_>,
    decoder: &RefCell<Decoder<'_>>,
    until: Until<'_>,
) {
    let mut next_tick = 0;
    while !until.stop.load(Ordering::Relaxed) {
        let more = reader.read();
        let mut decoder = decoder.borrow_mut();
        let now = monotonic_ns();
        if now >= next_tick {
            next_tick = now + TICK_NS;
            decoder.tick(now);
            if keeper.look_after() {
                decoder.sink.tapped(&keeper.tapped);
            }
            if until.targets_end && !keeper.tapped.iter().any(|tapped| tapped.up) {
                return;
            }
        }
        if decoder.sink.is_closed() {
            return;
        }
        if !more {
            decoder.sink.caught_up(&keeper.tap.losses());
            drop(decoder);
            reader.wait(POLL);
        }
    }
}

/// Finds what can be tapped in each process; with `wait`, until there is something.
fn find(
    planner: &mut Planner,
    pids: &[(u32, TargetId)],
    wait: bool,
    stop: &AtomicBool,
) -> Result<Vec<Target>, Error> {
    let mut found = Vec::new();
    for &(pid, id) in pids {
        loop {
            match Target::resolve(planner, id, pid) {
                Ok(target) => found.push(target),
                Err(Error::NoTls(_)) if wait && !stop.load(Ordering::Relaxed) => {
                    std::thread::sleep(Duration::from_millis(200));
                    continue;
                }
                Err(error) => return Err(error),
            }
            break;
        }
    }
    Ok(found)
}

/// Keeps the probes: attaches them, and looks after the processes that they are in.
struct Keeper<'tap> {
    tap: &'tap Tap<'tap>,
    planner: Planner,
    tapped: Vec<Tapped>,
}

impl Keeper<'_> {
    fn attach(&mut self, target: Target) -> Result<(), Error> {
        let technique = if self.tap.flavour().multi { "uprobe_multi" } else { "perf_uprobe" };
        let mut attachments = BTreeMap::new();
        for image in &target.images {
            if image.plan.libraries.iter().any(is_tappable) {
                let attachment = self.tap.attach(target.id, target.process.pid, image)?;
                attachments.insert(image.file, attachment);
            }
        }
        self.tapped.push(Tapped { target, up: true, technique, attachments });
        Ok(())
    }

    /// Notices ended processes and libraries that were loaded since. `true` if anything changed.
    fn look_after(&mut self) -> bool {
        let mut changed = false;
        for tapped in self.tapped.iter_mut().filter(|tapped| tapped.up) {
            if !tapped.target.process.is_alive() {
                tracing::info!("pid {} has ended", tapped.target.process.pid);
                tapped.up = false;
                tapped.attachments.clear();
                changed = true;
                continue;
            }
            changed |= attach_new_images(self.tap, &mut self.planner, tapped);
        }
        changed
    }

    fn detach_all(&mut self) {
        self.tapped.iter_mut().for_each(|tapped| tapped.attachments.clear());
    }
}

/// A process loads its TLS library when it first needs it: Python, .NET and Qt all do.
fn attach_new_images(tap: &Tap<'_>, planner: &mut Planner, tapped: &mut Tapped) -> bool {
    let pid = tapped.target.process.pid;
    let Ok(survey) = survey(planner, pid) else { return false };
    let mut changed = false;
    for image in survey.images {
        if tapped.attachments.contains_key(&image.file)
            || !image.plan.libraries.iter().any(is_tappable)
        {
            continue;
        }
        match tap.attach(tapped.target.id, pid, &image) {
            Ok(attachment) => {
                tracing::info!("pid {pid} has loaded {}: tapped", image.path.display());
                tapped.attachments.insert(image.file, attachment);
                tapped.target.images.push(image);
                changed = true;
            }
            Err(error) => tracing::warn!("{error}"),
        }
    }
    changed
}

/// The decoder with its ends: observations go to the sink, frame borders to the kernel side.
struct Decoder<'a> {
    tracker: Tracker,
    sink: &'a mut dyn Sink,
    steering: Steering,
}

impl Decoder<'_> {
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
                tracker::Steering::FrameAt { conn, direction, offset } => {
                    self.steering.set(conn, direction, Word::FrameAt { offset, whole: true });
                }
                tracker::Steering::Ignore { conn } => {
                    for direction in Direction::BOTH {
                        self.steering.set(conn, direction, Word::Ignore);
                    }
                }
            }
        }
    }
}
