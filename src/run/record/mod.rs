//! `wstap record`, and recording beside another job.
//!
//! `tape` is what the reading thread does, `files` what the writing thread does; a bounded queue is
//! between them. The tap never waits for a disk.

mod files;
mod tape;

use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::reader::Sink;
use super::session::{self, Audience, Until};
use super::{Failure, messages, monitor, signals};
use crate::capture::supervisor::{Late, Member};
use crate::config::{RecordConfig, TapConfig};
use crate::event::Loss;
use crate::export::status::{Snapshot, Target};
use crate::observation::{Observation, Waiting};
use crate::views::recording::{Block, Header, Redaction, RuleFile, Settings, TargetName};

pub(super) use tape::Tape;

/// How many blocks of 128 KiB may wait for the disk. Further ones are dropped, and counted.
const QUEUE_BLOCKS: usize = 64;

/// How long the end of a session waits for a slow disk.
const PATIENCE: Duration = Duration::from_secs(10);

/// Records until a signal comes, the targets have ended or the recording is full.
pub(super) fn run(config: TapConfig) -> Result<(), Failure> {
    let prepared = session::prepare(&config)?;
    let stop = messages::stop_on_signal(config.sandbox, signals::ended)?;
    let until = Until { stop: &stop, targets_end: true, attached: false };
    session::run(config, prepared, until, &mut Nothing, &mut Nothing)
}

/// A sink that shows nothing, because everything goes to the file.
struct Nothing;

impl Sink for Nothing {
    fn observe(&mut self, _observation: &Observation<'_>) {}
    fn publish(&mut self, _losses: &[Loss]) {}
    fn waiting(&mut self, _: &mut dyn Iterator<Item = Waiting<'_>>) {}
}

impl Audience for Nothing {
    fn tapped(&mut self, _members: &[&Member], _late: &Late) {}
}

/// What the writing thread and the reading one share.
#[derive(Debug, Default)]
struct Shared {
    /// The writing thread has ended.
    over: AtomicBool,
    /// News of processes that the tape has not taken yet.
    told: Mutex<Option<Told>>,
}

/// What is tapped.
#[derive(Clone, Debug, Default)]
struct Told {
    names: Vec<(u32, String)>,
    facts: String,
}

/// The ends of a recording that is being made.
pub(super) struct Recording {
    shared: Arc<Shared>,
    /// Receives the number of events written, once all are.
    done: Receiver<u64>,
    written: files::Written,
    targets: Vec<String>,
}

impl Recording {
    /// Makes the files, and starts the thread that writes them.
    ///
    /// # Errors
    ///
    /// A file cannot be created, or exists already.
    pub(super) fn start(
        config: RecordConfig,
        header: Header,
        redaction: Redaction,
        sandbox: bool,
    ) -> Result<(Self, Tape), Failure> {
        let shared = Arc::new(Shared::default());
        let (queue, blocks): (SyncSender<Block>, _) = mpsc::sync_channel(QUEUE_BLOCKS);
        let (ended, done) = mpsc::channel();
        let targets = header.targets.iter().map(|target| target.name.clone()).collect();
        let files = files::Files::create(&config)?;
        say_what_is_kept(&config, &header);
        let written = files.written();
        let tape = Tape::new(queue, Arc::clone(&shared), redaction, &config);
        let over = Arc::clone(&shared);
        thread::Builder::new().name("wstap-writer".into()).spawn(move || {
            let events = match session::only_serve(sandbox) {
                Ok(()) => files.write(header, &blocks, &over.over),
                Err(error) => {
                    tracing::error!("nothing is recorded: {error}");
                    0
                }
            };
            over.over.store(true, std::sync::atomic::Ordering::Release);
            // The receiver is gone if the disk was too slow.
            let _ = ended.send(events);
        })?;
        Ok((Self { shared, done, written, targets }, tape))
    }

    /// Waits until all is written. Files without an event of a session that
    /// `failed` are removed.
    pub(super) fn end(self, failed: bool) {
        match self.done.recv_timeout(PATIENCE) {
            Ok(0) if failed => self.written.discard(),
            Err(mpsc::RecvTimeoutError::Timeout) => tracing::warn!(
                "the recording's disk is too slow: the end of the recording is missing"
            ),
            _ => {}
        }
    }

    /// An audience that records what is tapped, and passes it on to `inner`.
    pub(super) fn audience<'a>(&self, inner: &'a mut dyn Audience) -> Listening<'a> {
        let named = |name: &String| Target { name: name.clone(), ..Target::default() };
        let targets = self.targets.iter().map(named).collect();
        let now = Snapshot { targets, ..Snapshot::default() };
        Listening { inner, shared: Arc::clone(&self.shared), now }
    }
}

/// See [`Recording::audience`].
pub(super) struct Listening<'a> {
    inner: &'a mut dyn Audience,
    shared: Arc<Shared>,
    now: Snapshot,
}

impl Audience for Listening<'_> {
    fn tapped(&mut self, members: &[&Member], late: &Late) {
        monitor::take_up(&mut self.now, members, late);
        let processes = members.iter().map(|member| &member.target.process);
        let names = processes.map(|process| (process.pid, process.comm.clone())).collect();
        let facts = serde_json::to_string(&self.now).unwrap_or_default();
        *self.shared.told.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Told { names, facts });
        self.inner.tapped(members, late);
    }
}

/// What a replay needs to know before the first event.
pub(super) fn header(
    config: &TapConfig,
    targets: Vec<TargetName>,
    wall_offset_ns: i64,
) -> (Header, Redaction) {
    let sources = &config.sources;
    let patterns = config.record.iter().flat_map(|record| &record.redact);
    let file =
        |(name, text): &(String, String)| RuleFile { name: name.clone(), text: text.clone() };
    let header = Header {
        wstap: crate::export::VERSION.into(),
        session: format!("{wall_offset_ns:x}-{:x}", std::process::id()),
        part: 1,
        wall_offset_ns,
        targets,
        settings: Settings {
            window_bytes: config.limits.window_bytes as u64,
            narrows: config.limits.narrows,
            connections: config.limits.connections as u64,
            timeout_ns: config.match_limits.timeout_ns,
            quiet_after_ns: config.match_limits.quiet_after_ns,
        },
        rules: sources.rules.iter().map(file).collect(),
        id_pattern: sources.id_pattern.clone(),
        response_pattern: sources.response_pattern.clone(),
        protocol: sources.protocol.clone(),
        redacted: patterns.clone().map(|pattern| pattern.as_str().to_owned()).collect(),
    };
    let paths = config.protocols.descriptions().flat_map(|it| it.paths.iter());
    let parameters = paths.filter(|path| path.contains('=')).map(|path| path.to_string()).collect();
    let keeps_http2 = config.record.as_ref().is_some_and(|record| record.http2);
    (header, Redaction { names: patterns.cloned().collect(), parameters, keeps_http2 })
}

fn say_what_is_kept(config: &RecordConfig, header: &Header) {
    let Settings { window_bytes, narrows, .. } = header.settings;
    let narrow = if narrows {
        ", of long ones no more than the first 256 bytes while these are enough to match them"
    } else {
        ""
    };
    tracing::info!(
        "recording to {}: of each message at most the first {window_bytes} bytes and the last 512\
         {narrow}; compressed messages whole; secrets in HTTP heads are hidden, what is in messages \
         is not; at most {} MiB",
        config.path.display(),
        config.max_bytes.saturating_mul(config.parts.into()) >> 20
    );
    if config.http2 {
        tracing::warn!(
            "the recording holds the heads of HTTP/2 with every secret in them: treat it as one"
        );
    }
    if config.alone && window_bytes >= 16 << 20 {
        tracing::warn!("the recording holds every payload in full: treat it as a secret");
    }
}
