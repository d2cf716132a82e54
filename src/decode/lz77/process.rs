//! The streams of zlib and the directions that wait in one process, and how long zlib is looked at.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use super::overlap::may_be;
use super::pairs;
use super::request::WindowRequest;
use super::sample::Sample;
use super::stream::{Call, Stream};
use super::vote::{Key, Vote};
use super::waiting::Waiting;
use super::walk::{self, Proof, Walk};
use crate::event::Direction;
use crate::event::zlib::{ZlibCall, ZlibLook};
use crate::observation::WindowResult;

/// Bytes of windows and calls that are kept, over all processes: so many that 400 directions of one
/// process can be looked for at once.
const STREAM_BYTES: usize = 24 << 20;

/// Streams that are kept of one process.
const STREAMS_MAX: usize = 4096;

/// Bytes of messages that are kept, over all processes.
const SAMPLES_BYTES: usize = 8 << 20;

/// Directions whose windows are proven and that have not said anything since.
const READY_MAX: usize = 256;

/// Directions with the same messages that one stream is tried against. Where there are more, the order of
/// what happens must tell.
const ALIKE_MAX: usize = 8;

/// Calls without a proof after which zlib is left alone for a while: so many that each of some
/// hundred busy connections has had its own, and so few that a program which compresses other things
/// hardly feels it.
const CALLS_MAX: u32 = 4096;

/// The same where none of the calls was on a stream that may be a connection's.
const STRANGE_CALLS_MAX: u32 = 256;

/// Messages of a direction that one proof takes at least.
const MESSAGES: usize = 3;

/// How long it is left alone the first time. Each time after it is twice as long, up to 2^6 times.
const REST_NS: u64 = 10_000_000_000;
const DOUBLINGS_MAX: u32 = 6;

/// One process.
#[derive(Debug, Default)]
pub(super) struct Process {
    pub(super) waiting: FxHashMap<u64, Waiting>,
    streams: FxHashMap<Key, Stream>,
    /// The capture side looks at its zlib.
    pub(super) is_asked: bool,
    /// Calls since the last proof.
    calls: u32,
    /// Those of them that can be no connection's.
    strange: u32,
    /// Those of them whose state is not laid out as zlib's.
    unknown: u32,
    /// How often zlib was left alone.
    rests: u32,
    rests_until_ns: u64,
    saw_calls: bool,
    saw_unknown: bool,
    /// Windows of more streams than there are here are not kept.
    is_full: bool,
    /// Calls that were missed up to now, whatever the process.
    missed: u32,
}

impl Process {
    /// Whether the capture side should begin to look, or stop.
    pub(super) fn decide(&mut self, tgid: u32, now_ns: u64) -> Option<WindowRequest> {
        let is_tired = self.calls >= CALLS_MAX
            || (self.strange >= STRANGE_CALLS_MAX && self.strange == self.calls);
        if is_tired {
            let pause = REST_NS << self.rests.min(DOUBLINGS_MAX);
            self.rests += 1;
            self.rests_until_ns = now_ns.saturating_add(pause);
            (self.calls, self.strange, self.unknown) = (0, 0, 0);
        }
        let is_wanted = now_ns >= self.rests_until_ns && self.someone_waits();
        if is_wanted == self.is_asked {
            return None;
        }
        self.is_asked = is_wanted;
        if !is_wanted {
            // What passes until the next look is not seen.
            self.streams.clear();
            for waiting in self.waiting.values_mut().filter(|it| it.ready.is_none()) {
                waiting.hole();
            }
        }
        Some(WindowRequest { tgid, is_wanted })
    }

    /// A direction begins to wait. What could be told without it may have been wrong.
    pub(super) fn join(&mut self, serial: u64, waiting: Waiting) {
        self.waiting.insert(serial, waiting);
        self.forget_votes();
        self.begin_anew();
    }

    /// A direction has no messages of before: windows of now are of more use than old ones.
    pub(super) fn begin_anew(&mut self) {
        self.streams.values_mut().for_each(|it| it.needs_window = true);
    }

    /// Any stream may be that of a direction again.
    pub(super) fn free_streams(&mut self) {
        self.streams.retain(|_, stream| !stream.is_taken);
    }

    /// A direction has waited for long, with few others. A stream that was taken for another direction may
    /// be its own: both were in the same state then, so that made no difference to the other one.
    pub(super) fn reconsider(&mut self, serial: u64) {
        let Some(waiting) = self.waiting.get(&serial) else { return };
        if !waiting.is_to_be_reconsidered()
            || self.waiting_in(waiting.direction).count() > ALIKE_MAX
        {
            return;
        }
        self.free_streams();
        self.forget_votes();
    }

    fn forget_votes(&mut self) {
        self.waiting.values_mut().for_each(|it| it.vote = Vote::default());
        self.streams.values_mut().for_each(|it| it.vote = Vote::default());
    }

    /// Those that wait among the connections' directions of this kind.
    fn waiting_in(&self, direction: Direction) -> impl Iterator<Item = (u64, &Waiting)> {
        let all = self.waiting.iter().map(|(serial, it)| (*serial, it));
        all.filter(move |(_, it)| it.direction == direction && it.ready.is_none())
    }

    fn someone_waits(&self) -> bool {
        self.waiting.values().any(|it| it.ready.is_none())
    }

    /// Why a direction has waited in vain.
    pub(super) fn why_not(&self) -> WindowResult {
        match (self.saw_calls, self.saw_unknown) {
            (true, _) => WindowResult::NoMatch,
            (false, true) => WindowResult::UnknownLayout,
            (false, false) => WindowResult::NoCall,
        }
    }

    /// zlib was called.
    pub(super) fn call(&mut self, call: &ZlibCall<'_>, sharers: usize, limit: u64) {
        self.calls = self.calls.saturating_add(1);
        self.miss(call.missed);
        let look = match &call.what {
            ZlibLook::Raw(look) => look,
            ZlibLook::Other => {
                self.strange = self.strange.saturating_add(1);
                return;
            }
            ZlibLook::UnknownLayout => {
                self.strange = self.strange.saturating_add(1);
                self.unknown = self.unknown.saturating_add(1);
                self.saw_unknown = true;
                return;
            }
        };
        self.saw_calls = true;
        self.make_room(sharers, call.at_ns);
        let key = (call.stream, call.direction);
        let stream = self.streams.entry(key).or_default();
        if stream.is_taken {
            return;
        }
        let seen = Call::new(look, call);
        let has_window = seen.digest.is_some();
        match call.direction {
            Direction::Sent => stream.outstanding = Some(call.tid),
            Direction::Received => self.vote_for_call(key, &seen, call.tid),
        }
        if let Some(stream) = self.streams.get_mut(&key) {
            stream.call(seen, self.is_full);
        }
        // Every proof needs a second window.
        if has_window {
            self.try_stream(key, limit);
        }
    }

    /// So many calls were missed up to now. What seemed to be the only one may not have been so.
    fn miss(&mut self, missed: u32) {
        if self.missed != missed {
            self.missed = missed;
            self.forget_votes();
        }
    }

    /// A message is about to be inflated: if only one direction can be meant, that is it.
    fn vote_for_call(&mut self, key: Key, call: &Call, tid: u32) {
        let is_meant = |payload: &[u8]| pairs::begins_with(call, payload);
        let meant: Vec<_> = self
            .waiting
            .iter()
            .filter(|(_, it)| it.direction == Direction::Received)
            .filter_map(|(serial, it)| {
                let message = it.outstanding(is_meant)?;
                Some((*serial, message, it.samples.get(message)?.tid == tid))
            })
            .collect();
        let Some((serial, message)) = only_candidate(&meant) else { return };
        self.cast(key, serial);
        if let Some(waiting) = self.waiting.get_mut(&serial) {
            waiting.has_done(message);
        }
    }

    /// A message was written: if only one stream can have deflated it, that is it.
    pub(super) fn vote_for_message(&mut self, serial: u64, tid: u32) {
        if self.waiting.get(&serial).is_none_or(|it| it.direction == Direction::Received) {
            return;
        }
        let meant: Vec<_> = self
            .streams
            .iter()
            .filter(|(_, it)| !it.is_taken)
            .filter_map(|(key, it)| Some((*key, (), it.outstanding? == tid)))
            .collect();
        let Some((key, ())) = only_candidate(&meant) else { return };
        self.cast(key, serial);
        if let Some(stream) = self.streams.get_mut(&key) {
            stream.outstanding = None;
        }
    }

    fn cast(&mut self, key: Key, serial: u64) {
        if let Some(stream) = self.streams.get_mut(&key) {
            stream.vote.cast(serial);
        }
        if let Some(waiting) = self.waiting.get_mut(&serial) {
            waiting.vote.cast(key);
        }
    }

    /// The stream that a direction seems to go through, where nothing speaks against it.
    fn chosen(&self, serial: u64) -> Option<Key> {
        let key = self.waiting.get(&serial)?.vote.choice()?;
        let is_mutual = self.streams.get(&key)?.vote.choice() == Some(serial);
        is_mutual.then_some(key)
    }

    /// Keeps what is kept of this process within `1 / sharers` of what may be kept.
    fn make_room(&mut self, sharers: usize, now_ns: u64) {
        if !self.calls.is_multiple_of(64) {
            return;
        }
        let is_full = |streams: &FxHashMap<Key, Stream>| {
            streams.values().map(Stream::bytes).sum::<usize>() > STREAM_BYTES / sharers
        };
        self.is_full = is_full(&self.streams);
        if self.is_full {
            // Those that are in use go on, and make room once they are proven.
            self.streams.retain(|_, it| it.is_taken || it.is_in_use(now_ns));
            self.is_full = is_full(&self.streams);
        }
        if self.streams.len() > STREAMS_MAX {
            self.streams.clear();
        }
        let samples: usize = self.waiting.values().map(Waiting::bytes).sum();
        if samples > SAMPLES_BYTES / sharers {
            for waiting in self.waiting.values_mut() {
                waiting.hole();
            }
            self.free_streams();
        }
    }

    /// Tries one stream against the directions that wait: the one that it seems to belong to, or, where
    /// it is one of few, each.
    fn try_stream(&mut self, key: Key, limit: u64) {
        let Some(stream) = self.streams.get(&key) else { return };
        if let Some(serial) = stream.vote.choice()
            && self.chosen(serial) == Some(key)
        {
            return self.try_direction(serial, limit);
        }
        let may_be = |it: &Waiting| {
            walk::is_promising(stream, &it.samples, key.1) && explains(stream, it, self.missed)
        };
        let alike = self.waiting_in(key.1).filter(|(_, it)| may_be(it));
        let mut alike: Vec<u64> = alike.map(|(serial, _)| serial).collect();
        if alike.len() > ALIKE_MAX {
            return;
        }
        alike.sort_unstable();
        alike.into_iter().for_each(|serial| self.try_direction(serial, limit));
    }

    /// A message was written: streams that seemed to be its own may have gone on otherwise.
    pub(super) fn try_message(&mut self, serial: u64, limit: u64) {
        let Some(waiting) = self.waiting.get(&serial) else { return };
        if waiting.direction == Direction::Sent && waiting.samples.len() > MESSAGES {
            self.try_direction(serial, limit);
        }
    }

    /// Tries one direction against all streams, and then those to which its own was in the way.
    fn try_direction(&mut self, serial: u64, limit: u64) {
        let mut due = vec![serial];
        while let Some(serial) = due.pop() {
            let Some(key) = self.find_stream(serial, limit) else { continue };
            let held = self.waiting.iter().filter(|(_, it)| it.held_by.contains(&key));
            due.extend(held.map(|(serial, _)| *serial));
        }
    }

    /// Gives a direction its stream, if that can be proven.
    fn find_stream(&mut self, serial: u64, limit: u64) -> Option<Key> {
        let ready = self.waiting.values().filter(|it| it.ready.is_some()).count();
        if self.waiting.get(&serial)?.ready.is_some() || ready >= READY_MAX {
            return None;
        }
        let found = self.chosen_proof(serial).map_or_else(|| self.only_proof(serial, limit), Ok);
        let waiting = self.waiting.get_mut(&serial)?;
        let (key, walk) = match found {
            Ok(proof) => proof,
            Err(held_by) => {
                waiting.held_by = held_by;
                return None;
            }
        };
        waiting.held_by = Vec::new();
        waiting.prove(walk.inflater, walk.messages.end, limit);
        if let Some(stream) = self.streams.get_mut(&key) {
            *stream = Stream { is_taken: true, ..Stream::default() };
        }
        (self.calls, self.strange, self.rests) = (0, 0, 0);
        Some(key)
    }

    /// The stream that the direction seems to go through, if it explains its messages, and if each other
    /// stream that may be the direction's seems to be another one's. Where one is left over, some
    /// stream here is that of a connection that does not wait, and it may be the chosen one.
    fn chosen_proof(&self, serial: u64) -> Option<(Key, Walk)> {
        let key = self.chosen(serial)?;
        let (stream, waiting) = (self.streams.get(&key)?, self.waiting.get(&serial)?);
        let (samples, direction) = (&waiting.samples, waiting.direction);
        let Proof::Sound(walk) = walk::prove(stream, samples, direction, self.missed) else {
            return None;
        };
        let is_left_over = |(other, it): (&Key, &Stream)| {
            *other != key
                && other.1 == direction
                && !it.is_taken
                && !self.is_chosen(*other, it)
                && may_be(it, samples, direction, self.missed)
        };
        let is_doubtful = self.streams.iter().any(is_left_over);
        (!is_doubtful).then_some((key, walk))
    }

    /// Whether a direction seems to go through the stream.
    fn is_chosen(&self, key: Key, stream: &Stream) -> bool {
        stream.vote.choice().is_some_and(|serial| self.chosen(serial) == Some(key))
    }

    /// The only stream that explains the messages of the direction; or one of several, if all that do
    /// are in the same state. There must be none of which too little is known to say: another
    /// direction's stream may explain them as well.
    ///
    /// # Errors
    ///
    /// The streams that are in the way, as far as that is known.
    fn only_proof(&self, serial: u64, limit: u64) -> Result<(Key, Walk), Vec<Key>> {
        let Some(waiting) = self.waiting.get(&serial) else { return Err(Vec::new()) };
        let (samples, direction) = (&waiting.samples, waiting.direction);
        let free = || self.streams.iter().filter(|(key, it)| key.1 == direction && !it.is_taken);
        let (mut proofs, mut others) = (Vec::new(), Vec::new());
        for (key, stream) in free() {
            match walk::prove(stream, samples, direction, self.missed) {
                Proof::None => others.push((key, stream)),
                Proof::Doubtful => return Err(vec![*key]),
                Proof::Sound(walk) => proofs.push((*key, walk)),
            }
        }
        let several = proofs.iter().map(|(key, _)| *key).collect();
        let Some((key, walk)) = only_one(proofs, samples, limit) else { return Err(several) };
        if walk.missed != self.missed {
            // They may have been on a stream of which nothing was seen.
            return Err(Vec::new());
        }
        let may_be = |(_, it): &&(&Key, &Stream)| may_be(it, samples, direction, self.missed);
        if let Some((other, _)) = others.iter().find(may_be) {
            return Err(vec![**other]);
        }
        let is_against = || {
            let stream = self.streams.get(&key);
            waiting.vote.is_against(key) || stream.is_none_or(|it| it.vote.is_against(serial))
        };
        let is_doubtful = (!walk.is_certain && is_against()) || self.has_rivals(key, serial);
        if is_doubtful { Err(Vec::new()) } else { Ok((key, walk)) }
    }

    /// Whether the stream explains the messages of another direction as well, so that one of both may
    /// belong to a stream that is not seen. Where there are enough streams in the same state, it
    /// makes no difference.
    fn has_rivals(&self, key: Key, serial: u64) -> bool {
        let Some(stream) = self.streams.get(&key) else { return true };
        let others = self.waiting_in(key.1).filter(|(other, _)| *other != serial);
        let rivals: Vec<&Waiting> =
            others.map(|(_, it)| it).filter(|it| explains(stream, it, self.missed)).collect();
        let Some(one) = rivals.first() else { return false };
        let free = self.streams.iter().filter(|(other, it)| other.1 == key.1 && !it.is_taken);
        let streams = free.filter(|(_, it)| explains(it, one, self.missed)).count();
        streams <= rivals.len()
    }
}

/// Whether the stream may be that of the direction.
fn explains(stream: &Stream, waiting: &Waiting, missed: u32) -> bool {
    let proof = walk::prove(stream, &waiting.samples, waiting.direction, missed);
    matches!(proof, Proof::Doubtful | Proof::Sound(_))
}

/// One of the proofs, if all lead to the same plaintext behind them.
fn only_one(
    mut proofs: Vec<(Key, Walk)>,
    samples: &VecDeque<Sample>,
    limit: u64,
) -> Option<(Key, Walk)> {
    let end = proofs.iter().map(|(_, walk)| walk.messages.end).max()?;
    let one = proofs.iter().position(|(_, walk)| walk.messages.end == end)?;
    let (key, walk) = proofs.swap_remove(one);
    let agrees = |(_, mut other): (Key, Walk)| {
        let mut behind = samples.range(other.messages.end..end);
        let same_size = other.window_size == walk.window_size;
        behind.all(|it| pairs::pass(&mut other.inflater, &it.payload, limit).is_ok())
            && same_size
            && walk.inflater.has_same_history(&other.inflater, walk.window_size)
    };
    proofs.into_iter().all(agrees).then_some((key, walk))
}

/// The only one of the candidates; of several, the only one whose thread is the right one.
fn only_candidate<K: Copy, M: Copy>(candidates: &[(K, M, bool)]) -> Option<(K, M)> {
    if let [(one, what, _)] = candidates {
        return Some((*one, *what));
    }
    let mut same = candidates.iter().filter(|(.., is_same_thread)| *is_same_thread);
    let (one, what, _) = same.next()?;
    same.next().is_none().then_some((*one, *what))
}
