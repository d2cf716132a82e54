//! `wstap replay` feeds recordings to the decoder. It needs no kernel support and no privilege.
//!
//! `timeline` puts the records in order; this module turns what the decoder makes of them into lines
//! or metrics.

mod timeline;

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Stdout};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use self::timeline::Timeline;
use super::{Failure, monitor, signals};
use crate::capture::clock::monotonic_ns;
use crate::cli::recording::ReplayArgs;
use crate::config::messages;
use crate::event::Loss;
use crate::export::live::Recorder;
use crate::export::status::{Snapshot, Target};
use crate::export::{self, Exporter, Metrics, Status};
use crate::observation::Observation;
use crate::terminal;
use crate::views::messages::{Format, MessageView, Printer, Process};

/// Takes what a replay produces.
trait Output {
    /// One observation, of a process of this name in a session with this offset of its clock.
    fn observe(&mut self, comm: &str, wall_offset_ns: i64, observation: &Observation<'_>);
    /// What is tapped from now on.
    fn facts(&mut self, first_target: u16, facts: Snapshot);
    /// What was lost so far in one session.
    fn lost(&mut self, session: usize, loss: Loss);
    /// Shows what was observed so far.
    fn publish(&mut self);
    /// Whether observations that the end of the recording causes are shown, too.
    fn shows_end(&self) -> bool;
    /// Whether the reader of the output has gone.
    fn is_closed(&self) -> bool;
}

/// Replays into lines or metrics.
pub(super) fn run(args: &ReplayArgs) -> Result<(), Failure> {
    let timeline = Timeline::open(&args.files)?;
    let pace = args.speed.map(Pace::new).transpose()?;
    match args.listen {
        Some(listen) => serve(timeline, pace, listen.0, &args.files),
        None => print(timeline, pace, args),
    }
}

fn print(timeline: Timeline, pace: Option<Pace>, args: &ReplayArgs) -> Result<(), Failure> {
    let view = MessageView {
        format: if args.json { Format::Json } else { Format::Text },
        color: terminal::shows_colors(),
        filter: messages::filter(&args.filter),
        frames: args.frames,
        payload: args.payload,
        wall_offset_ns: 0,
    };
    let out = BufWriter::new(io::stdout());
    let mut lines = Lines(Printer::new(view, out, args.filter.count));
    lines.0.begin();
    play(timeline, pace, &mut lines)?;
    Ok(lines.0.finish()?)
}

/// Plays all recordings, and says what they lack.
fn play(
    mut timeline: Timeline,
    mut pace: Option<Pace>,
    output: &mut dyn Output,
) -> Result<(), Failure> {
    while !output.is_closed() {
        let Some(wall_ns) = timeline.next_ns()? else { break };
        if let Some(pace) = &mut pace {
            pace.wait_for(wall_ns, output);
        }
        timeline.play(output)?;
    }
    output.publish();
    timeline.say_what_is_missing();
    Ok(())
}

/// Keeps the speed of the replay.
struct Pace {
    speed: f64,
    /// The time of the first record: when it was recorded, and when it was replayed.
    began: Option<(i128, u64)>,
}

impl Pace {
    fn new(speed: f64) -> Result<Self, Failure> {
        if speed.is_finite() && speed > 0.0 {
            return Ok(Self { speed, began: None });
        }
        let why = "speed: it must be above 0; leave it out to replay as fast as it goes";
        Err(crate::config::UsageError(why.into()).into())
    }

    /// Shows what was observed, then waits until the record of `wall_ns` is due.
    fn wait_for(&mut self, wall_ns: i128, output: &mut dyn Output) {
        let (first_ns, began) = *self.began.get_or_insert_with(|| (wall_ns, monotonic_ns()));
        let since_ns = u64::try_from(wall_ns - first_ns).unwrap_or(0) as f64 / self.speed;
        let due = Duration::try_from_secs_f64(since_ns / 1e9).unwrap_or(Duration::MAX);
        let wait = due.saturating_sub(Duration::from_nanos(monotonic_ns() - began));
        if wait > Duration::from_millis(1) {
            output.publish();
            thread::sleep(wait);
        }
    }
}

/// Prints lines as `wstap messages` does.
struct Lines(Printer<BufWriter<Stdout>>);

impl Output for Lines {
    fn observe(&mut self, comm: &str, wall_offset_ns: i64, observation: &Observation<'_>) {
        self.0.set_wall_offset_ns(wall_offset_ns.into());
        self.0.observe(observation, Process { pid: observation.conn.tgid, comm });
    }

    fn facts(&mut self, _first_target: u16, _facts: Snapshot) {}

    fn lost(&mut self, _session: usize, _loss: Loss) {}

    fn publish(&mut self) {
        self.0.flush();
    }

    fn shows_end(&self) -> bool {
        true
    }

    fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

/// Counts for `/metrics`.
struct Counts {
    metrics: Metrics,
    status: Arc<Status>,
    losses: Arc<Mutex<BTreeMap<(usize, &'static str), Loss>>>,
}

impl Output for Counts {
    fn observe(&mut self, _comm: &str, _wall_offset_ns: i64, observation: &Observation<'_>) {
        self.metrics.record(observation);
    }

    fn facts(&mut self, first_target: u16, facts: Snapshot) {
        self.status.update(|now| {
            let targets = now.targets.iter_mut().skip(usize::from(first_target));
            for (target, told) in targets.zip(facts.targets) {
                *target = Target { name: std::mem::take(&mut target.name), ..told };
            }
            now.probes = facts.probes;
        });
    }

    fn lost(&mut self, session: usize, loss: Loss) {
        let mut losses = self.losses.lock().unwrap_or_else(PoisonError::into_inner);
        losses.insert((session, loss.reason), loss);
    }

    fn publish(&mut self) {
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
async fn serve(
    timeline: Timeline,
    pace: Option<Pace>,
    listen: std::net::SocketAddr,
    files: &[PathBuf],
) -> Result<(), Failure> {
    let listener = tokio::net::TcpListener::from_std(monitor::bind(listen)?)?;
    let address = listener.local_addr()?;
    let mut signals = signals::ended()?;
    let status = Arc::new(Status::default());
    let mut counts = counts(&timeline, &status)?;
    // The page shows the last 15 minutes by the clock; a replay has a clock of its own.
    let live = Recorder::new(&timeline.targets(), 0).live();
    let router = export::router(Exporter::new(&counts.metrics, Arc::clone(&status), live));
    let count = files.len();
    terminal::print(format_args!(
        "replaying {count} recordings; metrics on http://{address}/metrics"
    ));
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
    let server = tokio::spawn(export::serve(listener, router, async {
        let _ = stopped.await;
    }));
    let result = tokio::select! {
        Ok(error) = failure => Err(error),
        () = signals.recv() => Ok(()),
    };
    let _ = stop_serving.send(());
    let _ = server.await;
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
