//! `wstap messages`: a line for each message as it passes.

use std::collections::HashMap;
use std::io::{self, BufWriter, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::oneshot;

use super::reader::Sink;
use super::session::{self, Audience, Until};
use super::unreadable::Unreadable;
use super::{Failure, signals};
use crate::capture::clock::monotonic_ns;
use crate::capture::procfs::process;
use crate::capture::supervisor::{Late, Member};
use crate::cli::MessagesArgs;
use crate::config::TapConfig;
use crate::event::Loss;
use crate::observation::{Observation, Waiting};
use crate::terminal;
use crate::views::messages::MessageView;
use crate::views::messages::{Format, Process};

/// Prints until a signal comes, the targets have ended, or the reader of standard output has gone.
pub(super) fn run(config: TapConfig, args: &MessagesArgs) -> Result<(), Failure> {
    let prepared = session::prepare(&config)?;
    let view = MessageView {
        format: if args.json { Format::Json } else { Format::Text },
        frames: args.frames,
        payload: args.payload,
        wall_offset_ns: prepared.wall_offset_ns.into(),
    };
    let stop = stop_on_signal(config.sandbox)?;
    let mut names = Names::default();
    let mut sink = Lines {
        view,
        out: BufWriter::new(Box::new(terminal::stdout_until(Arc::clone(&stop)))),
        error: None,
        names: names.clone(),
        lost: 0,
        unreadable: Unreadable::default(),
    };
    let until = Until { stop: &stop, targets_end: true, attached: false };
    session::run(config, prepared, until, &mut sink, &mut names)?;
    match sink.error {
        // `wstap messages | head` is no failure.
        Some(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Waits for the signals on a thread of its own, because the session occupies this one.
pub(super) fn stop_on_signal(sandbox: bool) -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&stop);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (caught, ready) = oneshot::channel();
    thread::Builder::new().name("wstap-signals".into()).spawn(move || {
        let _ = session::only_serve(sandbox);
        runtime.block_on(async {
            let signals = signals::ended();
            let failed = signals.as_ref().err().map(ToString::to_string);
            let _ = caught.send(failed);
            if let Ok(mut signals) = signals {
                signals.recv().await;
                seen.store(true, Ordering::Relaxed);
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
}

impl Audience for Names {
    fn tapped(&mut self, members: &[&Member], _late: &Late) {
        let processes = members.iter().map(|member| &member.target.process);
        let names = processes.map(|process| (process.pid, process.comm.clone())).collect();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = names;
    }
}

struct Lines {
    view: MessageView,
    out: BufWriter<Box<dyn Write + Send>>,
    error: Option<io::Error>,
    names: Names,
    lost: u64,
    unreadable: Unreadable,
}

impl Sink for Lines {
    fn observe(&mut self, observation: &Observation<'_>) {
        if self.error.is_some() {
            return;
        }
        self.unreadable.observe(observation);
        let pid = observation.conn.tgid;
        let (view, out) = (&self.view, &mut self.out);
        let written =
            self.names.with(pid, |comm| view.write(out, observation, Process { pid, comm }));
        self.error = written.err();
    }

    fn publish(&mut self, losses: &[Loss]) {
        if self.error.is_none() {
            self.error = self.out.flush().err();
        }
        if let Some(line) = self.unreadable.line(monotonic_ns()) {
            tracing::warn!("{line}");
        }
        let lost = losses.iter().map(|loss| loss.bytes).sum();
        if lost > self.lost {
            tracing::warn!("{} bytes were lost; try a larger --ring-size", lost - self.lost);
            self.lost = lost;
        }
    }

    fn waiting(&mut self, _: &mut dyn Iterator<Item = Waiting<'_>>) {}

    fn is_closed(&self) -> bool {
        self.error.is_some()
    }
}
