//! `wstap frames`: a line for each message as it passes.

use std::io::{self, BufWriter, StdoutLock, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tokio::sync::oneshot;

use super::session::{self, Sink, Until};
use super::{Failure, signals};
use crate::capture::clock::wall_offset_ns;
use crate::capture::roster::Member;
use crate::capture::tap::Loss;
use crate::cli::FramesArgs;
use crate::config::TapConfig;
use crate::decode::observation::Observation;
use crate::export::FrameView;
use crate::export::frames::{Format, Process};

/// Prints until a signal comes, the targets have ended or nobody reads any more.
pub(super) fn run(config: TapConfig, args: &FramesArgs) -> Result<(), Failure> {
    let prepared = session::prepare(&config)?;
    let view = FrameView {
        format: if args.json { Format::Json } else { Format::Text },
        frames: args.frames,
        payload: args.payload,
        wall_offset_ns: wall_offset_ns().into(),
    };
    let stop = stop_on_signal()?;
    let mut sink = Lines {
        view,
        out: BufWriter::new(io::stdout().lock()),
        error: None,
        comms: Vec::new(),
        lost: 0,
    };
    let until = Until { stop: &stop, targets_end: true, attached: false };
    session::run(config, prepared, until, &mut sink)?;
    match sink.error {
        // `wstap frames | head` is no failure.
        Some(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Waits for the signals on a thread of its own: the session has this one.
fn stop_on_signal() -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&stop);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (caught, ready) = oneshot::channel();
    thread::Builder::new().name("wstap-signals".into()).spawn(move || {
        runtime.block_on(async {
            let signals = signals::ended();
            let failed = signals.as_ref().err().map(ToString::to_string);
            let _ = caught.send(failed);
            if let Ok(mut signals) = signals {
                signals.recv().await;
                seen.store(true, Ordering::Relaxed);
            }
        });
    })?;
    match ready.blocking_recv() {
        Ok(None) => Ok(stop),
        Ok(Some(error)) => Err(Failure::Runtime(error)),
        Err(_) => Err(Failure::Runtime("the signal thread has ended".into())),
    }
}

struct Lines {
    view: FrameView,
    out: BufWriter<StdoutLock<'static>>,
    error: Option<io::Error>,
    comms: Vec<(u32, String)>,
    lost: u64,
}

impl Sink for Lines {
    fn observe(&mut self, observation: &Observation<'_>) {
        if self.error.is_some() {
            return;
        }
        let pid = observation.conn.tgid;
        let comm = self.comms.iter().find(|(known, _)| *known == pid).map_or("", |(_, c)| c);
        let process = Process { pid, comm };
        self.error = self.view.write(&mut self.out, observation, process).err();
    }

    fn tapped(&mut self, members: &[&Member]) {
        let processes = members.iter().map(|member| &member.target.process);
        self.comms = processes.map(|process| (process.pid, process.comm.clone())).collect();
    }

    fn caught_up(&mut self, losses: &[Loss]) {
        if self.error.is_none() {
            self.error = self.out.flush().err();
        }
        let lost = losses.iter().map(|loss| loss.bytes).sum();
        if lost > self.lost {
            tracing::warn!("{} bytes were lost; try a larger --ring-size", lost - self.lost);
            self.lost = lost;
        }
    }

    fn is_closed(&self) -> bool {
        self.error.is_some()
    }
}
