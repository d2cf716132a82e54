//! `wstap messages`: a line for each message as it passes.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use super::Failure;
use super::output::{self, Shown, Writing};
use super::reader::{PROMPT, Sink};
use super::session::{self, Audience, Until};
use super::signals::{self, Ended};
use super::stop::Stop;
use super::unreadable::Unreadable;
use crate::capture::clock::monotonic_ns;
use crate::capture::procfs::process;
use crate::capture::supervisor::{Late, Member};
use crate::cli::messages::MessagesArgs;
use crate::config::TapConfig;
use crate::event::Loss;
use crate::observation::{Observation, Waiting};
use crate::terminal;
use crate::views::{Process, View};

/// Prints until a signal comes, the targets have ended, or the reader of standard output has gone.
pub(super) fn run(config: TapConfig, args: &MessagesArgs) -> Result<(), Failure> {
    let prepared = session::prepare(&config)?;
    let stop = stop_on_signal(config.sandbox, signals::ended)?;
    let mut names = Names::default();
    let shown = Shown { json: args.json, frames: args.frames, payload: args.payload };
    let stdout = || terminal::stdout_until(stop.flag());
    let (mut printer, writing) =
        output::open_live(&args.output, &args.filter, shown, stdout, config.sandbox)?;
    printer.set_wall_offset_ns(prepared.wall_offset_ns.into());
    let mut sink = Lines {
        printer,
        is_abandoned: false,
        names: names.clone(),
        lost: 0,
        unreadable: Unreadable::new(config.finds_windows()),
    };
    let until = Until { stop: &stop, targets_end: true, attached: false };
    let ended = session::run(config, prepared, until, &mut sink, &mut names);
    // What has passed is shown, also where the session has failed.
    let finished = output::finish(sink.printer);
    let finished = finished.and(writing.map_or(Ok(()), Writing::end));
    if ended.is_err() && !names.are_told() {
        output::discard(&args.output);
    }
    ended.and(finished)
}

/// Waits for the signals on a thread of its own, because the session occupies this one.
pub(super) fn stop_on_signal(
    sandbox: bool,
    catch: fn() -> io::Result<Ended>,
) -> Result<Stop, Failure> {
    let stop = Stop::default();
    let seen = stop.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (caught, ready) = oneshot::channel();
    thread::Builder::new().name("wstap-signals".into()).spawn(move || {
        let _ = session::only_serve(sandbox);
        runtime.block_on(async {
            let signals = catch();
            let failed = signals.as_ref().err().map(ToString::to_string);
            let _ = caught.send(failed);
            if let Ok(mut signals) = signals {
                signals.recv().await;
                seen.ask();
                signals::end_at_last();
            }
        });
    })?;
    match ready.blocking_recv() {
        Ok(None) => Ok(stop),
        Ok(Some(error)) => Err(Failure::Runtime(error)),
        Err(_) => Err(Failure::Runtime("the signal thread has ended".into())),
    }
}

/// Names of processes by pid.
#[derive(Clone, Default)]
struct Names(Arc<Mutex<HashMap<u32, String>>>);

impl Names {
    /// Runs `body` with the name of process `pid`. The first bytes of a new process may arrive before
    /// the attaching thread has reported it; then `/proc` is asked for the name.
    fn with<R>(&self, pid: u32, body: impl FnOnce(&str) -> R) -> R {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let name = names.entry(pid).or_insert_with(|| {
            process::Process::read(pid).map_or_else(|_| String::new(), |process| process.comm)
        });
        body(name)
    }

    /// Whether a process is tapped.
    fn are_told(&self) -> bool {
        !self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

impl Audience for Names {
    fn tapped(&mut self, members: &[&Member], _late: &Late) {
        let processes = members.iter().map(|member| &member.target.process);
        let names = processes.map(|process| (process.pid, process.comm.clone())).collect();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = names;
    }
}

struct Lines {
    printer: Box<dyn View + Send>,
    /// Nobody reads any more, as was seen without writing.
    is_abandoned: bool,
    names: Names,
    lost: u64,
    unreadable: Unreadable,
}

impl Sink for Lines {
    fn observe(&mut self, observation: &Observation<'_>) {
        self.unreadable.observe(observation);
        let pid = observation.conn.tgid;
        let printer = &mut self.printer;
        self.names.with(pid, |comm| printer.observe(observation, Process { pid, comm }));
    }

    fn tick(&mut self, now_ns: u64) {
        self.printer.tick(now_ns);
    }

    fn holds_back(&self) -> bool {
        self.printer.holds_back()
    }

    fn publish(&mut self, losses: &[Loss]) {
        if self.names.are_told() {
            self.printer.begin();
        }
        self.printer.flush();
        if let Some(line) = self.unreadable.line(monotonic_ns()) {
            tracing::warn!("{line}");
        }
        let lost = losses.iter().map(|loss| loss.bytes).sum();
        if lost > self.lost {
            tracing::warn!("{} bytes were lost; try a larger --ring-size", lost - self.lost);
            self.lost = lost;
        }
    }

    fn shortest_nap(&self) -> Duration {
        PROMPT
    }

    fn waiting(&mut self, _: &mut dyn Iterator<Item = Waiting<'_>>) {
        // Where nothing passes, nothing is written that could fail.
        self.is_abandoned = terminal::is_abandoned();
    }

    fn is_closed(&self) -> bool {
        self.is_abandoned || self.printer.is_closed()
    }
}
