//! The main command: taps the targets, counts what passes, and serves it over HTTP.

mod check;
mod front;
pub(super) mod health;
mod instances;
mod summary;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::oneshot;

use super::learn::AutoLearner;
use super::reader::Sink;
use super::session::{self, Audience, Prepared, Until};
use super::stop::Stop;
use super::unreadable::Unreadable;
use super::{Failure, signals};
use crate::capture::bpf::socket;
use crate::capture::clock::{monotonic_ns, wall_offset_ns};
use crate::capture::supervisor::homes::{Homes, Move};
use crate::capture::supervisor::{Late, Member};
use crate::config::MonitorConfig;
use crate::event::{Loss, TargetId};
use crate::export::live::{Recorder, oldest_by_target};
use crate::export::{self, Exporter, Front, METRICS_PATH, Metrics, Status, status};
use crate::observation::{Observation, Waiting};
use crate::terminal;

/// Runs until a signal comes, or until the targets have ended where that was asked for.
pub(super) fn run(config: MonitorConfig) -> Result<(), Failure> {
    let front = front::Prepared::new(&config.web)?;
    let mut prepared = session::prepare(&config.tap)?;
    let instances = instances::Wanted::new(config.labels.as_deref(), &prepared.selection);
    prepared.homes = instances.homes();
    let homes = prepared.homes.clone();
    let names = prepared.selection.names();
    let front = front.open()?;
    let status = initial_status(names);
    let losses = Arc::new(Mutex::new(Vec::new()));
    let read_losses = {
        let losses = Arc::clone(&losses);
        move || losses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    };
    let mut metrics = Metrics::with_labels(&instances.of(names), Arc::clone(&status), read_losses)
        .map_err(|error| Failure::Runtime(format!("failed to register the metrics: {error}")))?;
    metrics.set_wall_offset_ns(prepared.wall_offset_ns);
    let recorder = Recorder::new(names, prepared.wall_offset_ns.into());
    let exporter = Exporter::new(&metrics, Arc::clone(&status), recorder.live());
    let path = config.web.metrics_path.clone();
    let address = front.places(path.as_deref().unwrap_or(METRICS_PATH))?;
    let router = export::router(exporter.with_metrics_path(path));
    let (check, view) = (config.check, metrics.view());
    let sink = MetricsSink {
        metrics,
        homes,
        losses: Arc::clone(&losses),
        unreadable: Unreadable::new(config.tap.finds_windows()),
        recorder,
        status: Arc::clone(&status),
        learner: learner(&config)?,
    };
    let board = Board { status, check, announced: false, address, up: BTreeMap::new() };
    serve(config, prepared, front, router, (sink, board))?;
    if !check {
        let losses = losses.lock().unwrap_or_else(PoisonError::into_inner);
        let text = summary::lines(&view.totals(), &view.turnarounds(), &losses);
        text.lines().for_each(terminal::print);
    }
    Ok(())
}

/// What learns beside the monitoring, if that was asked for.
fn learner(config: &MonitorConfig) -> Result<Option<AutoLearner>, Failure> {
    let wanted = config.tap.sources.learns() && !config.check;
    wanted.then(|| AutoLearner::start(config.tap.sandbox)).transpose()
}

/// What is known of the targets before anything is tapped: their names.
pub(super) fn initial_status(names: &[Arc<str>]) -> Arc<Status> {
    let status = Arc::new(Status::default());
    status.update(|now| {
        now.targets = names
            .iter()
            .map(|name| status::Target { name: name.to_string(), ..status::Target::default() })
            .collect();
    });
    status
}

#[tokio::main(flavor = "current_thread")]
async fn serve(
    config: MonitorConfig,
    prepared: Prepared,
    front: Front,
    router: axum::Router,
    (mut sink, mut board): (MetricsSink, Board),
) -> Result<(), Failure> {
    let mut signals = signals::ended()?;
    let stop = Stop::default();
    let (ended, mut tap_ended) = oneshot::channel();
    let sandbox = config.tap.sandbox;
    let tap_thread = {
        let stop = stop.clone();
        let until_targets_end = config.exit_with_target;
        let check = config.check;
        thread::Builder::new().name("wstap-tap".into()).spawn(move || {
            let until = Until { stop: &stop, targets_end: until_targets_end, attached: check };
            let result = session::run(config.tap, prepared, until, &mut sink, &mut board);
            // Nobody listens any more if the process is ending for another reason.
            let _ = ended.send(result);
        })?
    };
    // The tap has threads of its own; this one only serves.
    session::only_serve(sandbox)?;
    let (stop_serving, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(export::serve(front, router, async {
        let _ = stopped.await;
    }));
    let result = tokio::select! {
        result = &mut tap_ended => result,
        () = signals.recv() => {
            stop.ask();
            signals::end_at_last();
            tap_ended.await
        }
    };
    let _ = stop_serving.send(());
    let served = server.await;
    let _ = tap_thread.join();
    if let Ok(Err(error)) = served {
        return Err(Failure::Runtime(format!("cannot serve HTTP: {error}")));
    }
    result.unwrap_or_else(|_| Err(Failure::Runtime("the tap thread has panicked".into())))
}

/// At most this many waiting requests are searched for the oldest of each target.
const WAITING_LOOKED_AT: usize = 10_000;

/// Counts observations, and keeps the loss counters current.
struct MetricsSink {
    metrics: Metrics,
    /// Where processes are at home, if labels say so.
    homes: Option<Homes>,
    losses: Arc<Mutex<Vec<Loss>>>,
    unreadable: Unreadable,
    recorder: Recorder,
    status: Arc<Status>,
    /// Where learning was asked for.
    learner: Option<AutoLearner>,
}

impl MetricsSink {
    /// Takes up where processes run, before something of them is counted.
    fn hear_of_homes(&mut self) {
        let Some(homes) = &self.homes else { return };
        for (pid, what) in homes.take() {
            match what {
                Move::To(target, home) => {
                    self.metrics.arrived(target, pid, instances::home(home));
                }
                Move::Ended => self.metrics.ended(pid),
            }
        }
    }
}

impl Sink for MetricsSink {
    fn observe(&mut self, observation: &Observation<'_>) {
        self.hear_of_homes();
        self.metrics.record(observation);
        self.recorder.record(observation);
        self.unreadable.observe(observation);
        if let Some(learner) = &mut self.learner {
            learner.observe(observation);
        }
    }

    fn learned(&mut self) -> Option<String> {
        self.learner.as_mut().and_then(AutoLearner::rule)
    }

    fn forked(&mut self, pid: u32, parent: u32) {
        self.hear_of_homes();
        self.metrics.forked(pid, parent);
    }

    fn waiting(&mut self, waiting: &mut dyn Iterator<Item = Waiting<'_>>) {
        self.hear_of_homes();
        self.metrics.keep_wall_offset_ns(wall_offset_ns());
        let waiting: Vec<_> = waiting.take(WAITING_LOOKED_AT).collect();
        self.recorder.waiting(waiting.iter().copied());
        let recorder = &self.recorder;
        self.status.update(|now| {
            let oldest = oldest_by_target(waiting.iter().copied(), now.targets.len());
            for (target, asked_ns) in now.targets.iter_mut().zip(oldest) {
                target.oldest_pending = asked_ns.map(|ns| recorder.seconds(ns));
            }
        });
    }

    fn publish(&mut self, losses: &[Loss]) {
        self.metrics.flush();
        self.recorder.publish(monotonic_ns());
        if let Some(line) = self.unreadable.line(monotonic_ns()) {
            tracing::warn!("{line}");
        }
        let mut shared = self.losses.lock().unwrap_or_else(PoisonError::into_inner);
        shared.clear();
        shared.extend_from_slice(losses);
    }
}

/// Keeps the status page current, and says what is tapped.
struct Board {
    status: Arc<Status>,
    check: bool,
    announced: bool,
    /// Where the metrics are.
    address: String,
    /// The processes that are tapped, by pid, with the words that describe them.
    up: BTreeMap<u32, String>,
}

impl Board {
    /// Prints which processes were added and which have ended since the last time. One that has loaded a TLS
    /// library or runs another program since then is printed again.
    fn say_changes(&mut self, members: &[&Member]) {
        let tapped = members.iter().filter(|member| member.up);
        let now: BTreeMap<u32, String> =
            tapped.map(|member| (member.target.process.pid, describe(member))).collect();
        for (_, gone) in self.up.iter().filter(|(pid, _)| !now.contains_key(pid)) {
            terminal::print(format_args!("{gone} has ended"));
        }
        for (_, come) in now.iter().filter(|(pid, come)| self.up.get(pid) != Some(come)) {
            if self.announced {
                terminal::print(format_args!("tapping {come}"));
            }
        }
        self.up = now;
    }
}

impl Audience for Board {
    fn tapped(&mut self, members: &[&Member], late: &Late) {
        self.status.update(|now| take_up(now, members, late));
        if self.check {
            report_check(members);
            return;
        }
        self.say_changes(members);
        if !std::mem::replace(&mut self.announced, true) {
            announce(members, &self.address);
        }
    }
}

/// Writes into `now` what is tapped.
pub(super) fn take_up(now: &mut status::Snapshot, members: &[&Member], late: &Late) {
    for (id, target) in (0..).map(TargetId).zip(&mut now.targets) {
        target.processes.clear();
        target.tapped_late = late.of(id);
        target.not_seen = not_seen(members, id);
    }
    let tapped = |member: &&&Member| member.has_sockets() || !member.target.images.is_empty();
    for member in members.iter().filter(tapped) {
        if let Some(target) = now.targets.get_mut(usize::from(member.target.id.0)) {
            target.push(process(member));
        }
    }
    now.probes = members.iter().copied().flat_map(probes).collect();
    now.ready |= members.iter().any(|member| member.up);
}

fn not_seen(members: &[&Member], target: TargetId) -> status::NotSeen {
    let mut sum = status::NotSeen::default();
    for member in members.iter().filter(|member| member.target.id == target) {
        let images = &member.target.images;
        sum.unreadable += member.unread_files() as u64;
        sum.unprobed += images.iter().filter(|image| !member.is_probed(image)).count() as u64;
        let refused = images.iter().flat_map(|image| &image.plan.libraries);
        sum.refused += refused.filter(|library| !library.is_tappable()).count() as u64;
    }
    sum
}

fn process(member: &Member) -> status::Process {
    let (process, home) = (&member.target.process, &member.home);
    let libraries = || member.target.images.iter().flat_map(|image| &image.plan.libraries);
    let library = libraries().find(|library| library.is_tappable()).or_else(|| libraries().next());
    status::Process {
        pid: process.pid,
        comm: process.comm.clone(),
        exe: process.exe.as_ref().map_or_else(String::new, |exe| exe.display().to_string()),
        tls_library: library.map_or_else(String::new, |l| l.stack.as_str().to_owned()),
        tls_version: library.and_then(|l| member.target.version(l)).unwrap_or_default().to_owned(),
        container: home.short_container().unwrap_or_default().to_owned(),
        container_id: home.container.clone().unwrap_or_default(),
        pod_uid: home.pod.clone().unwrap_or_default(),
        unit: home.unit.clone().unwrap_or_default(),
        up: member.is_seen(),
    }
}

fn probes(member: &Member) -> Vec<status::Probe> {
    let mut probes = Vec::new();
    if member.has_sockets() {
        probes.extend(socket::TRACEPOINTS.map(|function| status::Probe {
            stack: "kernel".into(),
            library: "kernel".into(),
            function: function.into(),
            technique: "tracepoint".into(),
            attached: u32::from(member.up),
        }));
    }
    for image in &member.target.images {
        let file = image.path.file_name().unwrap_or_default().to_string_lossy();
        let libraries = image.plan.libraries.iter();
        for (library, probe) in
            libraries.flat_map(|library| library.probes.iter().map(move |probe| (library, probe)))
        {
            probes.extend(probe.covers.iter().map(|function| status::Probe {
                stack: library.stack.as_str().to_owned(),
                library: file.to_string(),
                function: (*function).to_owned(),
                technique: member.technique.to_owned(),
                attached: u32::from(member.up && member.is_probed(image)),
            }));
        }
    }
    probes
}

/// The one line on standard output: for people, and for scripts that chose port 0.
fn announce(members: &[&Member], address: &str) {
    let mut tapping: Vec<String> =
        members.iter().filter(|member| member.up).take(4).map(|member| describe(member)).collect();
    let more = members.iter().filter(|member| member.up).count() - tapping.len();
    if more > 0 {
        tapping.push(format!("{more} more"));
    }
    if tapping.is_empty() {
        terminal::print(format_args!("waiting for a target; metrics on {address}"));
    } else {
        let tapping = tapping.join(", ");
        terminal::print(format_args!("tapping {tapping}; metrics on {address}"));
    }
}

fn describe(member: &Member) -> String {
    let process = process(member);
    let tapped = match (process.tls_library.as_str(), process.tls_version.as_str()) {
        ("", _) => "plain TCP".to_owned(),
        (library, "") => format!("{library} ?"),
        (library, version) => format!("{library} {version}"),
    };
    let not_seen = match member.files_not_seen() {
        0 => String::new(),
        1 => ", 1 file not seen".to_owned(),
        count => format!(", {count} files not seen"),
    };
    format!("pid {} ({}, {tapped}{not_seen})", process.pid, process.comm)
}

fn report_check(members: &[&Member]) {
    for member in members {
        for line in check::lines(member.target.process.pid, &probes(member)) {
            terminal::print(format_args!("{line}"));
        }
    }
}
