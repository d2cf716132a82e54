//! Shows a replay as `wstap top` shows a tap. The clock is the recording's: the last 15 minutes are its
//! last ones.

use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::timeline::Timeline;
use super::{Output, Pace, Place, play};
use crate::event::Loss;
use crate::export::Status;
use crate::export::live::Recorder;
use crate::export::status::{Snapshot, Target};
use crate::observation::{Observation, Waiting};
use crate::run::messages::stop_on_signal;
use crate::run::top::{self, Source};
use crate::run::{Failure, signals};

/// One second: after it, what has happened last shows.
const SECOND_NS: i128 = 1_000_000_000;

/// Replays into a table: on a terminal while it goes on, elsewhere once at the end.
pub(super) fn show(timeline: Timeline, pace: Option<Pace>, json: bool) -> Result<(), Failure> {
    let names = timeline.targets();
    let recorder = Recorder::new(&names, 0);
    let status = Arc::new(Status::default());
    status.update(|now| {
        let named = |name: &String| Target { name: name.clone(), ..Target::default() };
        now.targets = names.iter().map(named).collect();
    });
    let losses = Arc::new(Mutex::new(0));
    let source =
        Source { live: recorder.live(), status: Arc::clone(&status), losses: Arc::clone(&losses) };
    let closed = Arc::new(AtomicBool::new(false));
    let mut table =
        Table { recorder, status, losses, lost: Vec::new(), closed: Arc::clone(&closed) };
    if json || !io::stdout().is_terminal() {
        play(timeline, pace, &mut table)?;
        return source.print(json);
    }
    let stop = stop_on_signal(false, signals::ended_on_screen)?;
    let playing = thread::Builder::new()
        .name("wstap-replay".into())
        .spawn(move || play(timeline, pace, &mut table))?;
    // The last table stays on the screen until a key ends it.
    let shown = top::on_screen(&source, &stop);
    closed.store(true, Ordering::Relaxed);
    let played = playing.join();
    shown?;
    played.unwrap_or_else(|_| Err(Failure::Runtime("the replay thread has panicked".into())))
}

/// Keeps the last 15 minutes of the recordings.
struct Table {
    /// Its clock is the wall clock.
    recorder: Recorder,
    status: Arc<Status>,
    losses: Arc<Mutex<u64>>,
    /// By session and reason.
    lost: Vec<((usize, &'static str), u64)>,
    closed: Arc<AtomicBool>,
}

/// The wall clock's nanoseconds, as the recorder counts them.
fn unsigned(wall_ns: i128) -> u64 {
    u64::try_from(wall_ns.max(0)).unwrap_or(u64::MAX)
}

impl Output for Table {
    fn observe(&mut self, _comm: &str, wall_offset_ns: i64, observation: &Observation<'_>) {
        let at_ns = unsigned(i128::from(observation.at_ns) + i128::from(wall_offset_ns));
        self.recorder.record(&Observation { at_ns, ..observation.clone() });
    }

    fn facts(&mut self, first_target: u16, facts: Snapshot) {
        super::metrics::take_up(&self.status, first_target, facts);
    }

    fn lost(&mut self, session: usize, loss: Loss) {
        let key = (session, loss.reason);
        self.lost.retain(|(known, _)| *known != key);
        self.lost.push((key, loss.bytes));
        let sum = self.lost.iter().map(|(_, bytes)| bytes).sum();
        *self.losses.lock().unwrap_or_else(PoisonError::into_inner) = sum;
    }

    fn waiting(&mut self, place: Place, waiting: &mut dyn Iterator<Item = Waiting<'_>>) {
        let offset_ns = i128::from(place.wall_offset_ns);
        self.recorder.waiting(waiting.map(|request| {
            let asked_ns = unsigned(i128::from(request.asked_ns) + offset_ns);
            Waiting { asked_ns, ..request }
        }));
    }

    fn publish(&mut self, wall_ns: i128) {
        self.recorder.publish(unsigned(wall_ns));
    }

    // Live, nobody would have seen what the end of wstap causes.
    fn shows_end(&self) -> bool {
        false
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    fn ended(&mut self, wall_ns: i128) {
        // What is under way shows when its second is over.
        self.recorder.publish(unsigned(wall_ns.saturating_add(SECOND_NS)));
    }
}
