//! `wstap top`: one thread taps, this one shows. How it looks is left to `views`.

use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use super::messages::stop_on_signal;
use super::reader::Sink;
use super::session::{self, Audience, Until};
use super::stop::Stop;
use super::{Failure, monitor, signals};
use crate::capture::clock::monotonic_ns;
use crate::capture::supervisor::{Late, Member};
use crate::cli::top::TopArgs;
use crate::config::{TapConfig, UsageError};
use crate::event::Loss;
use crate::export::Status;
use crate::export::live::{Live, Recorder};
use crate::observation::{Observation, Waiting};
use crate::terminal;
use crate::views::top::{self, Choice, Picture, State};

/// How often it is looked whether to end.
const SLICE: Duration = Duration::from_millis(50);
/// How long the screen stays as it is while nothing is attached yet: a refusal is read better there.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long `--once` watches.
const ONCE: Duration = Duration::from_secs(5);
/// What has happened shows when its second has ended.
const SECOND: Duration = Duration::from_secs(1);

/// Shows until a key, a signal, `--duration` or the end of the targets.
pub(super) fn run(config: TapConfig, args: &TopArgs) -> Result<(), Failure> {
    let has_screen = !args.once && !args.json;
    if has_screen && !io::stdout().is_terminal() {
        let why = "top: standard output is no terminal; --once prints one table, --json a line each \
                   second";
        return Err(UsageError(why.into()).into());
    }
    let prepared = session::prepare(&config)?;
    let status = monitor::initial_status(prepared.selection.names());
    let recorder = Recorder::new(prepared.selection.names(), prepared.wall_offset_ns.into());
    let losses = Arc::new(Mutex::new(0));
    let source =
        Source { live: recorder.live(), status: Arc::clone(&status), losses: Arc::clone(&losses) };
    let stop = stop_on_signal(config.sandbox, signals::ended_on_screen)?;
    let ended = Arc::new(AtomicBool::new(false));
    let (attached, is_attached) = mpsc::channel();
    let sandbox = config.sandbox;
    let tap = {
        let (stop, ended) = (stop.clone(), Arc::clone(&ended));
        let mut sink = Recording { recorder, losses };
        let mut board = Board { status, attached };
        thread::Builder::new().name("wstap-tap".into()).spawn(move || {
            // Dropped last, also where the tap panics.
            let _ended = Ended(ended);
            let until = Until { stop: &stop, targets_end: true, attached: false };
            session::run(config, prepared, until, &mut sink, &mut board)
        })?
    };
    let _ = is_attached.recv_timeout(PATIENCE);
    let watch = Watch { ended: &ended, stop: &stop, source: &source };
    let shown = if ended.load(Ordering::Relaxed) {
        Ok(None)
    } else if has_screen {
        let limit = args.duration.map(|duration| duration.0);
        watch.on_screen(limit, sandbox).map(Some)
    } else {
        watch.print(args, sandbox).map(|()| None)
    };
    stop.ask();
    let result = tap.join();
    let result =
        result.unwrap_or_else(|_| Err(Failure::Runtime("the tap thread has panicked".into())));
    if let Some(last) = shown? {
        show_last(&last);
    }
    result
}

/// The last table stays.
fn show_last(text: &str) {
    text.lines().for_each(terminal::print);
}

/// Where pictures come from.
pub(super) struct Source {
    pub(super) live: Live,
    pub(super) status: Arc<Status>,
    /// Bytes that were lost so far.
    pub(super) losses: Arc<Mutex<u64>>,
}

/// Shows a source on the whole terminal until a key or a signal ends it. The last table stays.
pub(super) fn on_screen(source: &Source, stop: &Stop) -> Result<(), Failure> {
    let ended = Arc::new(AtomicBool::new(false));
    let last = Watch { ended: &ended, stop, source }.on_screen(None, false)?;
    show_last(&last);
    Ok(())
}

impl Source {
    fn picture(&self, choice: &Choice) -> Picture {
        let lost = *self.losses.lock().unwrap_or_else(PoisonError::into_inner);
        Picture::take(&self.live, &self.status.snapshot(), lost, choice)
    }

    /// Prints what there is now, as a table or as JSON.
    pub(super) fn print(&self, json: bool) -> Result<(), Failure> {
        let state = State::new(false);
        let picture = self.picture(state.choice());
        if json {
            return print_json(&picture);
        }
        show_last(&top::table(&picture, &state, terminal::columns()));
        Ok(())
    }
}

/// The part of the thread that shows.
struct Watch<'a> {
    /// The tap has ended.
    ended: &'a Arc<AtomicBool>,
    stop: &'a Stop,
    source: &'a Source,
}

impl Watch<'_> {
    /// On the whole terminal. What it showed last is returned as text.
    fn on_screen(&self, limit: Option<Duration>, sandbox: bool) -> Result<String, Failure> {
        let end = Arc::new(AtomicBool::new(false));
        let begun = monotonic_ns();
        let enter =
            || session::only_serve(sandbox).map_err(|error| io::Error::other(error.to_string()));
        let look = |choice: &Choice| {
            let is_over = limit.is_some_and(|limit| since(begun) >= limit);
            if is_over || self.is_over() {
                end.store(true, Ordering::Relaxed);
            }
            self.source.picture(choice)
        };
        let state = State::new(terminal::shows_colors());
        let shown = top::show(&end, state, enter, look);
        let shown = shown.map_err(|error| {
            Failure::Runtime(format!(
                "cannot use the terminal: {error}; --once prints one table, --json a line each second"
            ))
        })?;
        Ok(top::table(&shown.picture, &shown.state, terminal::columns()))
    }

    /// As text or JSON, once or each second.
    fn print(&self, args: &TopArgs, sandbox: bool) -> Result<(), Failure> {
        session::only_serve(sandbox)?;
        let limit = args.duration.map(|duration| duration.0).or(args.once.then_some(ONCE));
        let state = State::new(false);
        let begun = monotonic_ns();
        let mut next = SECOND;
        loop {
            let is_over = limit.is_some_and(|limit| since(begun) >= limit) || self.is_over();
            if !args.once && (is_over || since(begun) >= next) {
                next += SECOND;
                print_json(&self.source.picture(state.choice()))?;
            }
            if is_over || terminal::is_abandoned() {
                break;
            }
            thread::sleep(SLICE);
        }
        if !args.once {
            return Ok(());
        }
        self.await_second();
        self.source.print(args.json)
    }

    /// Waits until the second that is under way shows.
    fn await_second(&self) {
        let begun = monotonic_ns();
        let shown = self.source.live.now(false).time;
        while self.source.live.now(false).time <= shown && since(begun) < 2 * SECOND {
            if self.ended.load(Ordering::Relaxed) {
                return;
            }
            thread::sleep(SLICE);
        }
    }

    fn is_over(&self) -> bool {
        self.stop.is_asked() || self.ended.load(Ordering::Relaxed)
    }
}

fn since(begun_ns: u64) -> Duration {
    Duration::from_nanos(monotonic_ns().saturating_sub(begun_ns))
}

fn print_json(picture: &Picture) -> Result<(), Failure> {
    let mut page = terminal::Page::new(false);
    serde_json::to_writer(&mut page, picture)?;
    io::Write::write_all(&mut page, b"\n")?;
    Ok(page.show()?)
}

/// Says that the tap has ended, however it did.
struct Ended(Arc<AtomicBool>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Keeps the last 15 minutes.
struct Recording {
    recorder: Recorder,
    losses: Arc<Mutex<u64>>,
}

impl Sink for Recording {
    fn observe(&mut self, observation: &Observation<'_>) {
        self.recorder.record(observation);
    }

    fn publish(&mut self, losses: &[Loss]) {
        self.recorder.publish(monotonic_ns());
        let lost = losses.iter().map(|loss| loss.bytes).sum();
        *self.losses.lock().unwrap_or_else(PoisonError::into_inner) = lost;
    }

    fn waiting(&mut self, waiting: &mut dyn Iterator<Item = Waiting<'_>>) {
        self.recorder.waiting(waiting);
    }
}

/// Keeps what the sentence says current.
struct Board {
    status: Arc<Status>,
    attached: mpsc::Sender<()>,
}

impl Audience for Board {
    fn tapped(&mut self, members: &[&Member], late: &Late) {
        self.status.update(|now| monitor::take_up(now, members, late));
        // Nobody waits for it any more after the first time.
        let _ = self.attached.send(());
    }
}
