//! A session taps its targets, from the first probe to the last record.
//!
//! It has two threads. The attaching thread, here, owns the BPF object and follows the processes. The
//! reading thread (`reader`) decodes. It starts before the first probe is placed, so that no record
//! waits for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::Failure;
use super::mailbox::Mailbox;
use super::reader::{Place, ReadLoop, Sink};
use super::record::{self, Recording};
use super::stop::Stop;
use crate::capture::Error;
use crate::capture::bpf::{Settings, Tap, Waker, with_tap};
use crate::capture::clock::{monotonic_ns, wall_offset_ns};
use crate::capture::confine::limits;
use crate::capture::confine::privilege::Powers;
use crate::capture::confine::sandbox::{self, Task};
use crate::capture::procfs::planner::Planner;
use crate::capture::procfs::selector::Selection;
use crate::capture::supervisor::command::Launch;
use crate::capture::supervisor::homes::Homes;
use crate::capture::supervisor::plain::Plain;
use crate::capture::supervisor::{Late, Member, Supervisor};
use crate::config::{TapConfig, UsageError};
use crate::decode::decoder::{Decoder, Limits, StreamContent};
use crate::matching::{Matching, Protocols};
use crate::views::recording::TargetName;

/// The attaching thread looks this often at what cannot wake it.
const LOOK: Duration = Duration::from_millis(500);
/// How long the start waits for files that are being planned; the others are probed later. Longer than the
/// planner takes to give a single file up.
const PLANNING_MAX_NS: u64 = 15_000_000_000;
/// A process that is loading its libraries is looked at this often.
const LOADING_LOOK: Duration = Duration::from_millis(50);
/// How often requests expire, and how often the audience hears of changes.
pub(super) const TICK_NS: u64 = 250_000_000;

/// Is told what is tapped whenever that changes, on the attaching thread.
pub(super) trait Audience {
    /// `members` are the processes that are tapped now; `late` counts those that ran before they were
    /// tapped.
    fn tapped(&mut self, members: &[&Member], late: &Late);
}

/// What ends a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Until<'a> {
    /// Asked for from outside.
    pub(super) stop: &'a Stop,
    /// Also end when no target is left.
    pub(super) targets_end: bool,
    /// End at once: only show that attaching works.
    pub(super) attached: bool,
}

/// What a session needs before anything is attached.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) selection: Selection,
    /// Wall clock minus `CLOCK_MONOTONIC` in nanoseconds, read once.
    pub(super) wall_offset_ns: i64,
    launch: Option<Launch>,
    /// Who wants to hear where the processes are at home.
    pub(super) homes: Option<Homes>,
}

/// Looks up the names of the targets. If a command was given, forks the child that will become it.
/// Must be called while the process has one thread.
pub(super) fn prepare(config: &TapConfig) -> Result<Prepared, Error> {
    let mut selection = Selection::resolve(config.wanted.clone(), config.children)?;
    let mut launch = None;
    if !config.command.is_empty() {
        let child = Launch::prepare(&config.command)?;
        selection.launch(child.pid(), child.name())?;
        launch = Some(child);
    }
    // The command has inherited the limits as they were.
    limits::raise_descriptors();
    limits::forbid_core_dumps();
    Ok(Prepared { selection, wall_offset_ns: wall_offset_ns(), launch, homes: None })
}

/// The protocols, with those that single targets were given.
fn protocols(
    mut protocols: Protocols,
    of_targets: &[(String, String)],
    selection: &Selection,
) -> Result<Protocols, UsageError> {
    for (target, name) in of_targets {
        let Some(target) = selection.target_named(target) else { continue };
        let forced = protocols.force_for(target, name);
        forced.map_err(|error| UsageError(format!("protocol: {error}")))?;
    }
    protocols.doubts().iter().for_each(|doubt| tracing::warn!("{doubt}"));
    Ok(protocols)
}

/// Gives up every capability of this thread, and the system calls that it does not need. For threads
/// that attach nothing.
pub(super) fn only_serve(sandbox: bool) -> Result<(), Error> {
    let dropped = Powers::None.keep_only();
    dropped.map_err(|error| Error::Other(format!("cannot drop privileges: {error}")))?;
    if sandbox { enter_sandbox(Task::Serve) } else { Ok(()) }
}

fn enter_sandbox(task: Task) -> Result<(), Error> {
    sandbox::enter(task).map_err(|error| {
        Error::Other(format!("cannot enter the sandbox: {error}; --no-sandbox does without"))
    })
}

/// Attaches, and decodes until `until` says so. Returns when every probe is gone and every event that
/// was in the ring buffer has been observed.
pub(super) fn run(
    mut config: TapConfig,
    prepared: Prepared,
    until: Until<'_>,
    sink: &mut (dyn Sink + Send),
    audience: &mut dyn Audience,
) -> Result<(), Failure> {
    let Prepared { selection, launch, wall_offset_ns, homes } = prepared;
    let finds_windows = config.finds_windows();
    let (recording, tape) = start_recording(&mut config, &selection, wall_offset_ns)?.unzip();
    let mut listening;
    let audience: &mut dyn Audience = match &recording {
        Some(recording) => {
            listening = recording.audience(audience);
            &mut listening
        }
        None => audience,
    };
    let protocols = protocols(config.protocols, &config.target_protocols, &selection)?;
    let matching = Matching::new(protocols, config.match_limits);
    let tracker = Decoder::new(Limits { finds_windows, ..config.limits }, matching);
    let kernel = Settings { watch_execs: selection.is_undecided_by_comm(), ..config.kernel };
    let planner = Planner::with_user_libraries(config.probes, config.user_libraries);
    let planner = planner.without_own_program();
    // Loading the BPF programs takes as long as planning a large program, and on another processor.
    planner.plan_ahead(&selection.pids().map(|(pid, _)| pid).collect::<Vec<_>>());
    let attaching = Attaching {
        launch,
        homes,
        wait: config.wait,
        plain: config.plain,
        powers: config.powers,
        sandbox: config.sandbox,
        until,
        audience,
    };
    let result = with_tap(&kernel, |tap| {
        let decoder = ReadLoop::new(tracker, sink, tap.steering()?, tape);
        let (mailbox, done) = (until.stop.mailbox(), AtomicBool::new(false));
        let (ready, is_ready) = mpsc::channel();
        let ring = tap.ring()?;
        let waker = ring.waker();
        let (losses, alarm) = (tap.losses(), tap.alarm());
        let place = Place { ring, losses, alarm, mailbox, done: &done };
        let sandbox = config.sandbox;
        thread::scope(|scope| {
            let reader = thread::Builder::new().name("wstap-reader".into());
            let reader = reader
                .spawn_scoped(scope, move || decoder.run(place, sandbox, &ready))
                .map_err(|error| Error::Other(format!("cannot start a thread: {error}")))?;
            // It sends nothing if it cannot read, and says why when it is waited for.
            let attached = match is_ready.recv() {
                Ok(()) => {
                    let _done = Done(&done, waker);
                    attaching.run(tap, planner, selection, mailbox)
                }
                Err(_) => Ok(()),
            };
            let read = reader.join();
            attached?;
            read.unwrap_or_else(|_| Err(Error::Other("the reading thread has panicked".into())))
        })
    });
    if let Some(recording) = recording {
        recording.end(result.is_err());
    }
    Ok(result?)
}

/// Makes the recording's files, where one was asked for, before anything is attached.
fn start_recording(
    config: &mut TapConfig,
    selection: &Selection,
    wall_offset_ns: i64,
) -> Result<Option<(Recording, record::Tape)>, Failure> {
    let protocol = |name: &str| config.target_protocols.iter().find(|(target, _)| target == name);
    let named = |name: &std::sync::Arc<str>| TargetName {
        name: name.to_string(),
        protocol: protocol(name).map(|(_, protocol)| protocol.clone()),
    };
    let targets = selection.names().iter().map(named).collect();
    let (header, redaction) = record::header(config, targets, wall_offset_ns);
    let Some(record) = config.record.take() else { return Ok(None) };
    Recording::start(record, header, redaction, config.sandbox).map(Some)
}

/// Lets the reading thread end, also when this thread panics.
struct Done<'a>(&'a AtomicBool, Waker);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
        self.1.wake();
    }
}

/// The attaching thread's part of the session.
struct Attaching<'a> {
    launch: Option<Launch>,
    homes: Option<Homes>,
    wait: bool,
    plain: Plain,
    powers: Powers,
    sandbox: bool,
    until: Until<'a>,
    audience: &'a mut dyn Audience,
}

impl Attaching<'_> {
    fn run(
        mut self,
        tap: &Tap<'_>,
        planner: Planner,
        selection: Selection,
        mailbox: &Mailbox,
    ) -> Result<(), Error> {
        let (plain, powers, homes) = (self.plain, self.powers, self.homes.take());
        let mut supervisor =
            Supervisor::new(tap, planner, selection, plain, powers, homes, monotonic_ns())?;
        self.await_plans(&mut supervisor);
        if !self.wait {
            self.require_reason(&mut supervisor)?;
        }
        tracing::debug!("attached to {} processes", supervisor.members().count());
        self.report(&mut supervisor);
        if self.until.attached {
            supervisor.require_match()?;
        }
        supervisor.keep_only(powers)?;
        if self.sandbox {
            enter_sandbox(match powers {
                Powers::None => Task::Serve,
                _ => Task::Attach,
            })?;
        }
        self.launch.take().map_or(Ok(()), Launch::go)?;
        if !self.until.attached {
            self.look_after(&mut supervisor, mailbox);
        }
        supervisor.detach();
        Ok(())
    }

    /// Waits for the files that take longer to plan than one inspection waits, as on a busy machine. What is
    /// said of a process, and what is left of the privileges, would otherwise come too early for them.
    fn await_plans(&self, supervisor: &mut Supervisor<'_, '_>) {
        let mut now = monotonic_ns();
        let until = now + PLANNING_MAX_NS;
        while supervisor.is_planning() && now < until && !self.until.stop.is_asked() {
            let rest = Duration::from_nanos(supervisor.rests_until(now).saturating_sub(now));
            thread::sleep(rest.min(LOOK));
            now = monotonic_ns();
            supervisor.poll(now);
        }
    }

    /// Fails where a process that was given by its pid has nothing to tap. One that was only just started,
    /// by the same script as wstap perhaps, is given the time to load its libraries.
    fn require_reason(&self, supervisor: &mut Supervisor<'_, '_>) -> Result<(), Error> {
        loop {
            let found = supervisor.require_reason();
            // Whoever has ended wstap meanwhile need not hear of it.
            if self.until.stop.is_asked() {
                return Ok(());
            }
            let is_early =
                matches!(found, Err(Error::NoTls(_))) && supervisor.may_be_loading(monotonic_ns());
            if !is_early {
                return found;
            }
            thread::sleep(LOADING_LOOK);
            supervisor.has_missed_something();
            supervisor.poll(monotonic_ns());
        }
    }

    fn look_after(&mut self, supervisor: &mut Supervisor<'_, '_>, mailbox: &Mailbox) {
        let mut next_tick = 0;
        while !self.until.stop.is_asked() {
            let until = if supervisor.has_news() { next_tick } else { u64::MAX };
            let now = monotonic_ns();
            let rest = until.min(supervisor.rests_until(now)).saturating_sub(now);
            let Some(mail) = mailbox.collect(LOOK.min(Duration::from_nanos(rest))) else { return };
            let now = monotonic_ns();
            for message in mail.lifecycle {
                supervisor.hear(&message, now);
            }
            for request in mail.windows {
                supervisor.look_for_windows(request.tgid, request.is_wanted);
            }
            for found in mail.findings {
                supervisor.learn(found.conn, found.content == StreamContent::Tls);
            }
            if mail.missed {
                supervisor.has_missed_something();
            }
            supervisor.poll(now);
            mailbox.tell_ended(&supervisor.take_unheard_ends());
            if now >= next_tick {
                next_tick = now + TICK_NS;
                self.report(supervisor);
                if self.until.targets_end && !supervisor.may_grow() {
                    return;
                }
            }
        }
    }

    /// Tells the audience what is tapped, if that has changed.
    fn report(&mut self, supervisor: &mut Supervisor<'_, '_>) {
        if supervisor.has_changed() {
            self.audience.tapped(&supervisor.members().collect::<Vec<_>>(), supervisor.late());
        }
    }
}
