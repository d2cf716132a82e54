//! `--protocol auto`: beside the monitoring, what no rule reads is learned and read by what was
//! learned. A thread of its own learns, so that reading never waits for it.

use std::collections::VecDeque;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use crate::capture::clock::{monotonic_ns, wall_offset_ns};
use crate::learning::{Finding, LearnLimits, Learner, Verdict};
use crate::observation::{MessageReading, Observation, What};
use crate::run::{Failure, session};

/// Messages of connections to one path that are learned from.
const MESSAGES: usize = 2_000;

/// With fewer nothing is tried.
const FEW_MESSAGES: usize = 100;

/// Nanoseconds between the first two attempts; each takes twice as long as the one before.
const FIRST_PAUSE_NS: u64 = 5_000_000_000;
const LONGEST_PAUSE_NS: u64 = 600_000_000_000;

/// Learns what no rule reads.
pub(in crate::run) struct AutoLearner {
    learner: Learner,
    samples: Sender<Learner>,
    findings: Receiver<Vec<Finding>>,
    rules: VecDeque<String>,
    is_busy: bool,
    next_ns: u64,
    pause_ns: u64,
}

impl AutoLearner {
    /// Starts the thread that learns.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub(in crate::run) fn start(sandbox: bool) -> Result<Self, Failure> {
        let (samples, taken) = mpsc::channel::<Learner>();
        let (told, findings) = mpsc::channel();
        thread::Builder::new().name("wstap-learner".into()).spawn(move || {
            if let Err(error) = session::only_serve(sandbox) {
                tracing::error!("nothing is learned: {error}");
                return;
            }
            for learner in taken {
                if told.send(learner.findings()).is_err() {
                    return;
                }
            }
        })?;
        let limits = LearnLimits { messages: MESSAGES, bytes: 16 << 20, ..LearnLimits::default() };
        let mut learner = Learner::new(limits);
        learner.set_wall_offset_ns(wall_offset_ns());
        Ok(Self {
            learner,
            samples,
            findings,
            rules: VecDeque::new(),
            is_busy: false,
            next_ns: monotonic_ns() + FIRST_PAUSE_NS,
            pause_ns: FIRST_PAUSE_NS,
        })
    }

    /// Takes what passed, unless it is a message that some rule reads.
    pub(in crate::run) fn observe(&mut self, observation: &Observation<'_>) {
        if let What::Message { reading, .. } = &observation.what
            && reading.protocol != MessageReading::UNKNOWN.protocol
        {
            return;
        }
        self.learner.observe(observation);
    }

    /// A protocol that was learned since the last time. To be asked now and then.
    pub(in crate::run) fn rule(&mut self) -> Option<String> {
        if let Ok(findings) = self.findings.try_recv() {
            self.is_busy = false;
            findings.into_iter().for_each(|finding| self.take(finding));
        }
        let now = monotonic_ns();
        let is_due = now >= self.next_ns && self.learner.most_messages() >= FEW_MESSAGES;
        if is_due && !self.is_busy {
            self.is_busy = self.samples.send(self.learner.take()).is_ok();
            self.pause_ns = (2 * self.pause_ns).min(LONGEST_PAUSE_NS);
            self.next_ns = now + self.pause_ns;
        }
        self.rules.pop_front()
    }

    fn take(&mut self, finding: Finding) {
        match finding.verdict {
            Verdict::Learned(learned) => {
                let ids = learned.ids.iter().map(|it| format!("ids in {}", it.asked));
                let times = learned.feeds.iter().filter_map(|it| it.time.as_ref());
                let times = times.map(|path| format!("times in {path}"));
                let numbers = learned.feeds.iter().filter_map(|it| it.number.as_ref());
                let numbers = numbers.map(|path| format!("numbers in {path}"));
                let places: Vec<String> = ids.chain(times).chain(numbers).collect();
                tracing::info!(
                    "learned of {} connections to `{}`: {}; they are counted as protocol `learned` \
                     from now on; `wstap learn` prints the rule",
                    finding.connections,
                    finding.path,
                    places.join(", ")
                );
                self.rules.push_back(learned.toml);
            }
            Verdict::Refused(refusal) => {
                tracing::debug!("nothing learned of `{}`: {}", finding.path, refusal.reason);
            }
        }
    }
}
