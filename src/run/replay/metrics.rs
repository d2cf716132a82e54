//! Serves what a replay counts, as `wstap` does live.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::oneshot;

use super::timeline::Timeline;
use super::{Output, Pace, Place, play};
use crate::event::Loss;
use crate::export::live::{Recorder, oldest_by_target};
use crate::export::status::{Snapshot, Target};
use crate::export::{self, Address, Exporter, Front, METRICS_PATH, Metrics, Status, WebConfig};
use crate::observation::{Observation, Waiting};
use crate::run::{Failure, signals};
use crate::terminal;

/// Counts for `/metrics`.
struct Counts {
    metrics: Metrics,
    status: Arc<Status>,
    losses: Arc<Mutex<BTreeMap<(usize, &'static str), Loss>>>,
}

impl Output for Counts {
    fn observe(&mut self, _comm: &str, wall_offset_ns: i64, observation: &Observation<'_>) {
        self.metrics.set_wall_offset_ns(wall_offset_ns);
        self.metrics.record(observation);
    }

    fn facts(&mut self, first_target: u16, facts: Snapshot) {
        take_up(&self.status, first_target, facts);
    }

    fn lost(&mut self, session: usize, loss: Loss) {
        let mut losses = self.losses.lock().unwrap_or_else(PoisonError::into_inner);
        losses.insert((session, loss.reason), loss);
    }

    fn waiting(&mut self, place: Place, waiting: &mut dyn Iterator<Item = Waiting<'_>>) {
        let wall = |at_ns: u64| (i128::from(at_ns) + i128::from(place.wall_offset_ns)) as f64 / 1e9;
        self.status.update(|now| {
            let targets = &mut now.targets[usize::from(place.first_target)..];
            let oldest = oldest_by_target(waiting, targets.len());
            for (target, asked_ns) in targets.iter_mut().zip(oldest) {
                target.oldest_pending = asked_ns.map(wall);
            }
        });
    }

    fn publish(&mut self, _wall_ns: i128) {
        self.metrics.flush();
    }

    // Live, nobody could have scraped what the end of wstap causes.
    fn shows_end(&self) -> bool {
        false
    }

    fn is_closed(&self) -> bool {
        false
    }
}

#[tokio::main(flavor = "current_thread")]
pub(super) async fn serve(
    timeline: Timeline,
    pace: Option<Pace>,
    listen: &Address,
    files: &[PathBuf],
) -> Result<(), Failure> {
    let front = Front::open(std::slice::from_ref(listen), WebConfig::default());
    let front = front.map_err(Failure::Runtime)?;
    let address = front.places(METRICS_PATH)?;
    let mut signals = signals::ended()?;
    let status = Arc::new(Status::default());
    let mut counts = counts(&timeline, &status)?;
    // The page shows the last 15 minutes by the clock; a replay has a clock of its own.
    let live = Recorder::new(&timeline.targets(), 0).live();
    let router = export::router(Exporter::new(&counts.metrics, Arc::clone(&status), live));
    let count = files.len();
    terminal::print(format_args!("replaying {count} recordings; metrics on {address}"));
    let (failed, failure) = oneshot::channel();
    thread::Builder::new().name("wstap-replay".into()).spawn(move || {
        match play(timeline, pace, &mut counts) {
            Ok(()) => {
                status.update(|now| now.ready = true);
                tracing::info!("all is replayed");
            }
            // Nobody listens any more if the process is ending.
            Err(error) => drop(failed.send(error)),
        }
        // The metrics live as long as they are served.
        loop {
            thread::park();
        }
    })?;
    let (stop_serving, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(export::serve(front, router, async {
        let _ = stopped.await;
    }));
    let result = tokio::select! {
        Ok(error) = failure => Err(error),
        () = signals.recv() => Ok(()),
    };
    let _ = stop_serving.send(());
    if let Ok(Err(error)) = server.await {
        return Err(Failure::Runtime(format!("cannot serve HTTP: {error}")));
    }
    result
}

fn counts(timeline: &Timeline, status: &Arc<Status>) -> Result<Counts, Failure> {
    let names = timeline.targets();
    status.update(|now| {
        let named = |name: &String| Target { name: name.clone(), ..Target::default() };
        now.targets = names.iter().map(named).collect();
    });
    let losses: Arc<Mutex<BTreeMap<(usize, &'static str), Loss>>> = Arc::default();
    let read_losses = {
        let losses = Arc::clone(&losses);
        // Of several sessions the series are joined.
        move || losses.lock().unwrap_or_else(PoisonError::into_inner).values().copied().collect()
    };
    let metrics = Metrics::new(&names, Arc::clone(status), read_losses)
        .map_err(|error| Failure::Runtime(format!("failed to register the metrics: {error}")))?;
    Ok(Counts { metrics, status: Arc::clone(status), losses })
}

/// Takes up what is tapped from now on in a session whose targets begin at `first_target`.
pub(super) fn take_up(status: &Status, first_target: u16, facts: Snapshot) {
    status.update(|now| {
        let targets = now.targets.iter_mut().skip(usize::from(first_target));
        for (target, told) in targets.zip(facts.targets) {
            *target = Target { name: std::mem::take(&mut target.name), ..told };
        }
        now.probes = facts.probes;
    });
}
