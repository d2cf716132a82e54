//! `wstap learn`: watches connections, or plays recordings, and prints what identifies requests and
//! their answers.

mod auto;

use std::io::Write;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::messages::stop_on_signal;
use super::reader::Sink;
use super::session::{self, Audience, Until};
use super::{Failure, replay, signals};
use crate::capture::clock::monotonic_ns;
use crate::capture::supervisor::{Late, Member};
use crate::cli::learn::LearnArgs;
use crate::config::TapConfig;
use crate::event::Loss;
use crate::learning::{LearnLimits, Learner};
use crate::observation::{Observation, Waiting};
use crate::terminal::Page;
use crate::views::learned;

pub(super) use auto::AutoLearner;

/// Learns until there is enough, a signal comes, the targets have ended or the time is over, and prints
/// what is known then.
pub(super) fn run(args: &LearnArgs) -> Result<(), Failure> {
    let limits = LearnLimits { messages: args.messages as usize, ..LearnLimits::default() };
    let mut learner = Learner::new(limits);
    if args.files.is_empty() {
        watch(args, &mut learner)?;
    } else {
        let stop = stop_on_signal(true, signals::ended)?;
        replay::observe(&args.files, &mut |wall_offset_ns, observation| {
            learner.set_wall_offset_ns(wall_offset_ns);
            learner.observe(observation);
            !stop.is_asked() && !learner.is_full()
        })?;
    }
    print(args, &learner)
}

fn watch(args: &LearnArgs, learner: &mut Learner) -> Result<(), Failure> {
    let config = TapConfig::interactive(&args.tap, None, false)?;
    let prepared = session::prepare(&config)?;
    let stop = stop_on_signal(config.sandbox, signals::ended)?;
    learner.set_wall_offset_ns(prepared.wall_offset_ns);
    let until = Until { stop: &stop, targets_end: true, attached: false };
    let most = args.duration.map_or(Duration::MAX, |span| span.0);
    let mut attached = Attached::default();
    let mut sink = Listening { learner, since: attached.since.clone(), most, is_over: false };
    session::run(config, prepared, until, &mut sink, &mut attached)
}

/// The first time that something is tapped, it says what happens now.
#[derive(Default)]
struct Attached {
    /// When all was attached that there was, `CLOCK_MONOTONIC` nanoseconds.
    since: Arc<OnceLock<u64>>,
    has_said_so: bool,
}

impl Audience for Attached {
    fn tapped(&mut self, members: &[&Member], _late: &Late) {
        let _ = self.since.set(monotonic_ns());
        if !members.is_empty() && !std::mem::replace(&mut self.has_said_so, true) {
            tracing::info!("learning from what passes; Ctrl-C prints what is known by then");
        }
    }
}

struct Listening<'a> {
    learner: &'a mut Learner,
    since: Arc<OnceLock<u64>>,
    most: Duration,
    is_over: bool,
}

impl Listening<'_> {
    /// How long it has been attached.
    fn lasted(&self) -> Duration {
        let since = self.since.get();
        since.map_or(Duration::ZERO, |since| {
            Duration::from_nanos(monotonic_ns().saturating_sub(*since))
        })
    }
}

impl Sink for Listening<'_> {
    fn observe(&mut self, observation: &Observation<'_>) {
        self.learner.observe(observation);
    }

    fn publish(&mut self, _losses: &[Loss]) {
        self.is_over |= self.lasted() >= self.most || self.learner.is_full();
    }

    fn waiting(&mut self, _: &mut dyn Iterator<Item = Waiting<'_>>) {}

    fn is_closed(&self) -> bool {
        self.is_over
    }
}

fn print(args: &LearnArgs, learner: &Learner) -> Result<(), Failure> {
    let findings = learner.findings();
    let mut out = Page::new(false);
    for finding in &findings {
        if args.json {
            writeln!(out, "{}", learned::json(finding))?;
        } else {
            learned::write(&mut out, finding, args.all)?;
        }
    }
    if findings.is_empty() {
        tracing::warn!(
            "no WebSocket message has passed, so there is nothing to learn from; `wstap messages` \
             shows what passes, with the same options"
        );
    }
    if learner.strangers() > 0 {
        tracing::warn!(
            "{} messages were not looked at: they passed on more connections than are learned from; \
             fewer processes at a time have fewer connections",
            learner.strangers()
        );
    }
    if !args.json && findings.iter().any(|finding| learned::is_of_use(finding, args.all)) {
        let use_it = "keep what is printed in a file, such as learned.toml: `wstap --rules \
                      learned.toml --pid N` then counts by it, `wstap protocols --rules \
                      learned.toml` checks it, and --protocol with its name does without recognition";
        tracing::info!("{use_it}");
    }
    Ok(out.show()?)
}
