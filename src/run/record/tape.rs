//! The reading thread's part of a recording: it copies what the decoder is given, in the same order.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::Duration;

use super::{PATIENCE, Shared, Told};
use crate::capture::clock::monotonic_ns;
use crate::capture::procfs::process::Process;
use crate::config::RecordConfig;
use crate::event::{ConnId, Event, Loss};
use crate::views::recording::{Block, Encoder, Record, Redaction, Redactor};

/// The open block is written after this time at the latest, so that little is lost if wstap is killed.
const FLUSH_NS: u64 = 1_000_000_000;

/// Records what the decoder is given.
pub(in crate::run) struct Tape {
    encoder: Encoder,
    redactor: Redactor,
    queue: SyncSender<Block>,
    shared: Arc<Shared>,
    /// Processes whose names are in the recording already.
    named: HashSet<u32>,
    told: Told,
    losses: Vec<Loss>,
    /// Events that were dropped, and captured bytes in them.
    missed: (u64, u64),
    began_ns: Option<u64>,
    flushed_ns: u64,
    duration_ns: u64,
    alone: bool,
}

impl Tape {
    pub(super) fn new(
        queue: SyncSender<Block>,
        shared: Arc<Shared>,
        redaction: Redaction,
        config: &RecordConfig,
    ) -> Self {
        let duration = config.duration.map(|it| u64::try_from(it.as_nanos()).unwrap_or(u64::MAX));
        Self {
            encoder: Encoder::default(),
            redactor: Redactor::new(redaction),
            queue,
            shared,
            named: HashSet::new(),
            told: Told::default(),
            losses: Vec::new(),
            missed: (0, 0),
            began_ns: None,
            flushed_ns: 0,
            duration_ns: duration.unwrap_or(u64::MAX),
            alone: config.alone,
        }
    }

    /// Whether the session should end, because nothing more can be recorded.
    pub(in crate::run) fn ends_session(&self) -> bool {
        self.alone && self.is_over()
    }

    fn is_over(&self) -> bool {
        self.shared.over.load(Ordering::Relaxed)
    }

    /// To be called before the decoder gets `event`.
    pub(in crate::run) fn event(&mut self, event: &Event<'_>) {
        if self.is_over() {
            return;
        }
        self.name(event.conn.tgid);
        let event = self.redactor.event(*event);
        self.encoder.push(&Record::Event(event));
        if self.encoder.is_full() {
            self.hand_on();
        }
    }

    /// To be called when the decoder has found HTTP/2 on a connection.
    pub(in crate::run) fn has_streams(&mut self, conn: ConnId) {
        self.redactor.has_streams(conn);
    }

    /// To be called when the decoder has found frames on a connection.
    pub(in crate::run) fn has_frames(&mut self, conn: ConnId) {
        self.redactor.has_frames(conn);
    }

    /// To be called before the decoder learns that a process has ended.
    pub(in crate::run) fn exited(&mut self, tgid: u32, at_ns: u64) {
        self.redactor.exited(tgid);
        self.push(&Record::Exited { tgid, at_ns });
        self.named.remove(&tgid);
    }

    /// To be called before the decoder gets the time.
    pub(in crate::run) fn tick(&mut self, at_ns: u64) {
        self.take_up();
        self.push(&Record::Tick { at_ns });
        let began_ns = *self.began_ns.get_or_insert(at_ns);
        if at_ns.saturating_sub(began_ns) >= self.duration_ns && !self.is_over() {
            self.end(at_ns, "it had lasted as long as was asked for");
        } else if at_ns.saturating_sub(self.flushed_ns) >= FLUSH_NS {
            self.flushed_ns = at_ns;
            self.hand_on();
        }
    }

    /// Records the losses of the kernel side so far.
    pub(in crate::run) fn losses(&mut self, losses: &[Loss]) {
        if self.losses == losses {
            return;
        }
        self.losses = losses.to_vec();
        for &Loss { reason, records, bytes } in losses {
            self.push(&Record::Lost { reason, records, bytes });
        }
    }

    /// To be called before the decoder learns that nothing more comes.
    pub(in crate::run) fn finish(&mut self, at_ns: u64) {
        self.take_up();
        self.end(at_ns, "wstap was stopped, or its targets had ended");
    }

    fn end(&mut self, at_ns: u64, why: &str) {
        if self.is_over() {
            return;
        }
        self.push(&Record::Finish { at_ns });
        self.push(&Record::End { why });
        let Some(mut block) = self.encoder.take() else { return };
        let began_ns = monotonic_ns();
        while let Err(TrySendError::Full(back)) = self.queue.try_send(block) {
            if monotonic_ns() - began_ns > PATIENCE.as_nanos() as u64 {
                break;
            }
            block = back;
            thread::sleep(Duration::from_millis(10));
        }
        self.shared.over.store(true, Ordering::Release);
    }

    fn push(&mut self, record: &Record<'_>) {
        if !self.is_over() {
            self.encoder.push(record);
        }
    }

    /// Records the name of a process. If it was not reported yet, `/proc` is asked, as in `messages`.
    fn name(&mut self, pid: u32) {
        if self.named.insert(pid) {
            let comm = Process::read(pid).map_or_else(|_| String::new(), |process| process.comm);
            self.encoder.push(&Record::Process { pid, comm: &comm });
        }
    }

    /// Records the news that came since the last time.
    fn take_up(&mut self) {
        let told = self.shared.told.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(told) = told {
            self.told = told;
            self.tell();
        }
    }

    fn tell(&mut self) {
        for (pid, comm) in &self.told.names {
            self.named.insert(*pid);
            self.encoder.push(&Record::Process { pid: *pid, comm });
        }
        self.encoder.push(&Record::Facts(&self.told.facts));
    }

    /// Gives the open block to the writing thread, or drops it if that thread does not keep up.
    fn hand_on(&mut self) {
        let Some(block) = self.encoder.take() else { return };
        let Err(TrySendError::Full(block)) = self.queue.try_send(block) else { return };
        if self.missed == (0, 0) {
            tracing::warn!("the disk does not keep up with the recording: events are left out");
        }
        self.missed.0 += block.events;
        self.missed.1 += block.captured;
        let (events, bytes) = self.missed;
        self.encoder.push(&Record::Missed { events, bytes });
        // Names and losses of the dropped block are recorded again.
        self.named.clear();
        self.losses.clear();
        self.tell();
    }
}
