//! `wstap replay` feeds recordings to the decoder. It needs no kernel support and no privilege.
//!
//! `timeline` puts the records in order. What the decoder makes of them goes into lines or a file, here,
//! or into metrics (`metrics`) or a table (`table`).

mod metrics;
mod table;
mod timeline;

use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use self::timeline::Timeline;
use super::Failure;
use super::output::{self, Shown};
use crate::capture::clock::monotonic_ns;
use crate::cli::recording::ReplayArgs;
use crate::event::Loss;
use crate::export::status::Snapshot;
use crate::observation::{Observation, Waiting};
use crate::views::{Process, View};

/// Takes what a replay produces.
trait Output {
    /// One observation, of a process of this name in a session with this offset of its clock.
    fn observe(&mut self, comm: &str, wall_offset_ns: i64, observation: &Observation<'_>);
    /// What is tapped from now on.
    fn facts(&mut self, first_target: u16, facts: Snapshot);
    /// What was lost so far in one session.
    fn lost(&mut self, session: usize, loss: Loss);
    /// The requests that wait for an answer, oldest first: at each tick of a session.
    fn waiting(&mut self, _place: Place, _waiting: &mut dyn Iterator<Item = Waiting<'_>>) {}
    /// Time has passed in a session, up to `at_ns` of its clock.
    fn tick(&mut self, _place: Place, _at_ns: u64) {}
    /// Shows what was observed so far, up to a time in nanoseconds since 1970.
    fn publish(&mut self, wall_ns: i128);
    /// All is replayed; the last record was of this time, in nanoseconds since 1970.
    fn ended(&mut self, wall_ns: i128) {
        self.publish(wall_ns);
    }
    /// Whether observations that the end of the recording causes are shown, too.
    fn shows_end(&self) -> bool;
    /// Whether the reader of the output has gone.
    fn is_closed(&self) -> bool;
}

/// Where a session stands among all.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// The number of its first target.
    first_target: u16,
    /// Its wall clock minus `CLOCK_MONOTONIC`, in nanoseconds.
    wall_offset_ns: i64,
}

/// Replays into lines, a file, metrics or a table.
pub(super) fn run(args: &ReplayArgs) -> Result<(), Failure> {
    let timeline = Timeline::open(&args.files)?;
    let pace = args.speed.map(Pace::new).transpose()?;
    match &args.listen {
        Some(listen) => metrics::serve(timeline, pace, &listen.0, &args.files),
        None if args.top => table::show(timeline, pace, args.json),
        None => print(timeline, pace, args),
    }
}

fn print(timeline: Timeline, pace: Option<Pace>, args: &ReplayArgs) -> Result<(), Failure> {
    let shown = Shown { json: args.json, frames: args.frames, payload: args.payload };
    let mut lines = Lines(output::open(&args.output, &args.filter, shown, io::stdout)?);
    lines.0.begin();
    play(timeline, pace, &mut lines)?;
    output::finish(lines.0)
}

/// Plays recordings as fast as it goes, and hands on what is observed until `observe` has enough. Its first
/// argument is the wall clock minus the clock of the observation, in nanoseconds.
pub(super) fn observe(
    files: &[PathBuf],
    observe: &mut dyn FnMut(i64, &Observation<'_>) -> bool,
) -> Result<(), Failure> {
    play(Timeline::open(files)?, None, &mut Observed { observe, has_enough: false })
}

/// See [`observe`].
struct Observed<'a> {
    observe: &'a mut dyn FnMut(i64, &Observation<'_>) -> bool,
    has_enough: bool,
}

impl Output for Observed<'_> {
    fn observe(&mut self, _comm: &str, wall_offset_ns: i64, observation: &Observation<'_>) {
        self.has_enough |= !(self.observe)(wall_offset_ns, observation);
    }

    fn facts(&mut self, _first_target: u16, _facts: Snapshot) {}

    fn lost(&mut self, _session: usize, _loss: Loss) {}

    fn publish(&mut self, _wall_ns: i128) {}

    fn shows_end(&self) -> bool {
        false
    }

    fn is_closed(&self) -> bool {
        self.has_enough
    }
}

/// Plays all recordings, and says what they lack.
fn play(
    mut timeline: Timeline,
    mut pace: Option<Pace>,
    output: &mut dyn Output,
) -> Result<(), Failure> {
    let mut last_ns = 0;
    while !output.is_closed() {
        let Some(wall_ns) = timeline.next_ns()? else { break };
        if let Some(wall_ns) = wall_ns {
            last_ns = wall_ns;
            if let Some(pace) = &mut pace {
                pace.wait_for(wall_ns, output);
            }
        }
        timeline.play(output)?;
    }
    output.ended(last_ns);
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
            output.publish(wall_ns);
            thread::sleep(wait);
        }
    }
}

/// Writes what `wstap messages` does.
struct Lines(Box<dyn View + Send>);

impl Output for Lines {
    fn observe(&mut self, comm: &str, wall_offset_ns: i64, observation: &Observation<'_>) {
        self.0.set_wall_offset_ns(wall_offset_ns.into());
        self.0.observe(observation, Process { pid: observation.conn.tgid, comm });
    }

    fn facts(&mut self, _first_target: u16, _facts: Snapshot) {}

    fn lost(&mut self, _session: usize, _loss: Loss) {}

    fn tick(&mut self, place: Place, at_ns: u64) {
        self.0.set_wall_offset_ns(place.wall_offset_ns.into());
        self.0.tick(at_ns);
    }

    fn publish(&mut self, _wall_ns: i128) {
        self.0.flush();
    }

    fn shows_end(&self) -> bool {
        true
    }

    fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}
