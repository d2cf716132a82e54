//! Merges several recordings into one order of time.
//!
//! The files of one session are played one after another through one decoder; sessions have a
//! decoder each, because their connections have nothing to do with each other.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use super::{Output, Place};
use crate::config::ProtocolSources;
use crate::decode::decoder::{Decoder, Limits};
use crate::event::{BYTES_LOST, CALLS_LEFT_OUT, CONNECTION_END, Loss, TargetId};
use crate::matching::{MatchLimits, Matching};
use crate::observation::Observation;
use crate::run::Failure;
use crate::views::recording::{Ending, Header, Reader, Record, RuleFile};

/// Largest values that the command line takes: a recording cannot ask for more memory than a tap.
const WINDOW_MAX: u64 = 16 << 20;
const CONNECTIONS_MAX: u64 = 32_768;

/// The recordings that are being played.
pub(super) struct Timeline {
    sessions: Vec<Session>,
}

struct Session {
    header: Header,
    first_target: u16,
    decoder: Decoder,
    /// The files that are not played yet; the first is being played.
    parts: VecDeque<Part>,
    /// Names of processes by pid.
    names: HashMap<u32, String>,
    missed: (u64, u64),
    /// Sentences that say what the recordings lack.
    missing: Vec<String>,
}

struct Part {
    path: PathBuf,
    number: u64,
    reader: Reader<BufReader<File>>,
}

impl Timeline {
    /// Opens the files, and makes a decoder for each session.
    pub(super) fn open(paths: &[PathBuf]) -> Result<Self, Failure> {
        let mut by_session: BTreeMap<String, Vec<Part>> = BTreeMap::new();
        for path in paths {
            let part = open(path)?;
            by_session.entry(part.reader.header().session.clone()).or_default().push(part);
        }
        let mut sessions = Vec::new();
        let mut first_target: u16 = 0;
        for parts in by_session.into_values() {
            let session = Session::new(parts, first_target)?;
            let targets = u16::try_from(session.header.targets.len()).unwrap_or(u16::MAX);
            first_target = first_target.saturating_add(targets);
            sessions.push(session);
        }
        Ok(Self { sessions })
    }

    /// The names of all targets.
    pub(super) fn targets(&self) -> Vec<String> {
        let targets = self.sessions.iter().flat_map(|session| &session.header.targets);
        targets.map(|target| target.name.clone()).collect()
    }

    /// The time of the next record, in nanoseconds since 1970, or `Some(None)` where it has none
    /// that is known; `None` at the end.
    pub(super) fn next_ns(&mut self) -> Result<Option<Option<i128>>, Failure> {
        Ok(self.first()?.map(|(wall_ns, _)| wall_ns))
    }

    /// Plays the next record.
    pub(super) fn play(&mut self, output: &mut dyn Output) -> Result<(), Failure> {
        let Some((_, index)) = self.first()? else { return Ok(()) };
        self.sessions[index].play(index, output)?;
        Ok(())
    }

    /// Says what the recordings lack.
    pub(super) fn say_what_is_missing(&self) {
        for session in &self.sessions {
            session.missing.iter().for_each(|sentence| tracing::warn!("{sentence}"));
            if let (events @ 1.., bytes) = session.missed {
                tracing::warn!(
                    "the recording did not keep up: {events} events with {bytes} captured bytes \
                     are missing, and show as gaps"
                );
            }
        }
    }

    /// The next record's time and session. What has no time comes first.
    fn first(&mut self) -> io::Result<Option<(Option<i128>, usize)>> {
        let mut first: Option<(Option<i128>, usize)> = None;
        for (index, session) in self.sessions.iter_mut().enumerate() {
            let Some(wall_ns) = session.next_ns()? else { continue };
            if first.is_none_or(|(first_ns, _)| wall_ns < first_ns) {
                first = Some((wall_ns, index));
            }
        }
        Ok(first)
    }
}

fn open(path: &Path) -> Result<Part, Failure> {
    let complain =
        |error: &dyn std::fmt::Display| Failure::Runtime(format!("{}: {error}", path.display()));
    let file = File::open(path).map_err(|error| complain(&error))?;
    let reader = Reader::new(BufReader::new(file)).map_err(|error| complain(&error))?;
    Ok(Part { path: path.to_owned(), number: reader.header().part, reader })
}

impl Session {
    fn new(mut parts: Vec<Part>, first_target: u16) -> Result<Self, Failure> {
        parts.sort_by_key(|part| part.number);
        let mut missing = Vec::new();
        let mut expected = 1;
        for part in &parts {
            if part.number != expected {
                missing.push(format!(
                    "{}: it is file {} of a recording, and the one before it is not there: what \
                     began in it shows as gaps",
                    part.path.display(),
                    part.number
                ));
            }
            expected = part.number.saturating_add(1);
        }
        // There is a file wherever there is a session.
        let header = parts.first().map(|part| part.reader.header().clone()).unwrap_or_default();
        let decoder = decoder(&header)?;
        let (names, parts) = (HashMap::new(), parts.into());
        Ok(Self { header, first_target, decoder, parts, names, missed: (0, 0), missing })
    }

    fn next_ns(&mut self) -> io::Result<Option<Option<i128>>> {
        while let Some(part) = self.parts.front_mut() {
            if let Some(at_ns) = part.reader.next_ns()? {
                let wall = |at_ns| i128::from(at_ns) + i128::from(self.header.wall_offset_ns);
                return Ok(Some((at_ns > 0).then(|| wall(at_ns))));
            }
            let sentence = ending(&part.path, part.reader.ending());
            self.missing.extend(sentence);
            self.parts.pop_front();
        }
        Ok(None)
    }

    fn play(&mut self, index: usize, output: &mut dyn Output) -> io::Result<()> {
        let Some(part) = self.parts.front_mut() else { return Ok(()) };
        let Some(record) = part.reader.record()? else { return Ok(()) };
        let (names, decoder) = (&mut self.names, &mut self.decoder);
        let wall_offset_ns = self.header.wall_offset_ns;
        let first_target = self.first_target;
        let shows_end = output.shows_end();
        let mut show = |observation: &Observation<'_>| {
            let comm = names.get(&observation.conn.tgid).map_or("", String::as_str);
            if first_target == 0 {
                return output.observe(comm, wall_offset_ns, observation);
            }
            let target = TargetId(observation.target.0.saturating_add(first_target));
            output.observe(comm, wall_offset_ns, &Observation { target, ..observation.clone() });
        };
        match record {
            Record::Event(event) => decoder.event(&event, &mut show),
            Record::Tick { at_ns } => {
                decoder.tick(at_ns, &mut show);
                // A replay has no kernel side to steer.
                decoder.kernel_hints().for_each(drop);
                decoder.findings().for_each(drop);
                let place = Place { first_target, wall_offset_ns };
                output.waiting(place, &mut decoder.waiting());
                output.tick(place, at_ns);
                output.publish(i128::from(at_ns) + i128::from(wall_offset_ns));
            }
            Record::Exited { tgid, at_ns } => decoder.exited(tgid, at_ns, &mut show),
            Record::Finish { at_ns } if shows_end => decoder.finish(at_ns, &mut show),
            Record::Finish { .. } | Record::End { .. } => {}
            Record::Process { pid, comm } => {
                names.insert(pid, comm.to_owned());
            }
            Record::Facts(json) => match serde_json::from_str(json) {
                Ok(facts) => output.facts(first_target, facts),
                Err(error) => tracing::warn!("what was tapped cannot be read: {error}"),
            },
            Record::Lost { reason, records, bytes } => {
                if reason == CONNECTION_END {
                    decoder.ends_lost(records);
                }
                output.lost(index, Loss { reason: known(reason), records, bytes });
            }
            Record::Missed { events, bytes } => self.missed = (events, bytes),
        }
        Ok(())
    }
}

/// A decoder with the settings of the one that ran when it was recorded.
fn decoder(header: &Header) -> Result<Decoder, Failure> {
    let rule = |RuleFile { name, text }: &RuleFile| (name.clone(), text.clone());
    let sources = ProtocolSources {
        rules: header.rules.iter().map(rule).collect(),
        id_pattern: header.id_pattern.clone(),
        response_pattern: header.response_pattern.clone(),
        protocol: header.protocol.clone(),
    };
    let wrong = |error: &dyn std::fmt::Display| {
        Failure::Runtime(format!("the rules in the recording cannot be used: {error}"))
    };
    let mut protocols = sources.compile().map_err(|error| wrong(&error))?;
    for (id, target) in (0..).map(TargetId).zip(&header.targets) {
        let Some(name) = &target.protocol else { continue };
        protocols.force_for(id, name).map_err(|error| wrong(&error))?;
    }
    let settings = header.settings;
    let limits = Limits {
        window_bytes: settings.window_bytes.min(WINDOW_MAX) as usize,
        narrows: settings.narrows,
        connections: settings.connections.min(CONNECTIONS_MAX) as usize,
        // A recording holds none.
        finds_windows: false,
        ..Limits::default()
    };
    let match_limits = MatchLimits {
        timeout_ns: settings.timeout_ns.min(1 << 62),
        quiet_after_ns: settings.quiet_after_ns,
        ..MatchLimits::default()
    };
    Ok(Decoder::new(limits, Matching::new(protocols, match_limits)))
}

/// A sentence on an end that is not the recording's own.
fn ending(path: &Path, ending: &Ending) -> Option<String> {
    let path = path.display();
    match ending {
        Ending::Whole(_) | Ending::Open => None,
        Ending::NoEnd => Some(format!(
            "{path}: it has no end: wstap was killed, or is still writing; all that is there was \
             replayed"
        )),
        Ending::Cut { bytes } => Some(format!(
            "{path}: it is cut: the {bytes} bytes behind the last whole block were left out"
        )),
        Ending::Damaged { offset } => {
            Some(format!("{path}: it is damaged at byte {offset}; what follows was left out"))
        }
    }
}

/// The reason as a label that lives as long as the program. A version that does not know it calls
/// it `other`.
fn known(reason: &str) -> &'static str {
    let mut reasons = BYTES_LOST.into_iter().chain(CALLS_LEFT_OUT).chain([CONNECTION_END]);
    reasons.find(|known| *known == reason).unwrap_or("other")
}
