//! From a sample to a protocol: ids first, then the feeds beside them, each tried before it is believed.

use super::feeds::{self, Proposal};
use super::finding::{FeedPlaces, Finding, Learned, Refusal, Verdict};
use super::ids::{Search, unreadable};
use super::proof;
use super::rules::file;
use crate::learning::messages::classes::Classes;
use crate::learning::messages::places::{PlaceId, Table};
use crate::learning::messages::sample::Group;
use crate::learning::search::doubts::Doubt;
use crate::learning::search::pairs;
use crate::learning::search::trace::Trace;

/// Most pairs of places that a refusal speaks of.
const MAX_SUSPECTS: usize = 3;

/// What is learned of `group`; its name is added to `names`.
pub(super) fn finding(group: &Group, names: &mut Vec<String>) -> Finding {
    let recognised = group.recognised.iter().max_by_key(|&(name, count)| (count, name));
    Finding {
        path: group.path.clone(),
        connections: group.connections.len(),
        messages: group.messages,
        left_out: group.left_out,
        recognised: recognised.map(|(name, count)| (name.clone(), *count)),
        verdict: verdict(group, names),
    }
}

fn verdict(group: &Group, names: &mut Vec<String>) -> Verdict {
    let table = Table::new(group);
    let classes = Classes::new(&table);
    let candidates = pairs::candidates(&table);
    let search = Search { table: &table, classes: &classes, candidates: &candidates };
    let draft = Draft { group, name: name(&group.path, names), search };
    let verdict = match draft.ids() {
        Ok((traces, learned)) => Verdict::Learned(Box::new(draft.with_feeds(&traces, learned))),
        Err(refusal) => match draft.feeds() {
            Some(learned) => {
                Verdict::Learned(Box::new(Learned { without_ids: Some(refusal), ..learned }))
            }
            None => Verdict::Refused(refusal),
        },
    };
    if let Verdict::Learned(learned) = &verdict {
        names.push(learned.name.clone());
    }
    verdict
}

/// What is to become a protocol.
struct Draft<'a> {
    group: &'a Group,
    name: String,
    search: Search<'a>,
}

impl Draft<'_> {
    /// The pairs of places that have ids, and the rules that they make; or why there are none.
    fn ids(&self) -> Result<(Vec<Trace>, Learned), Refusal> {
        let search = &self.search;
        if let Some(reason) = unreadable(search.table) {
            return Err(Refusal { reason, suspects: Vec::new() });
        }
        let mut suspects = Vec::new();
        let mut traces = search.traces(&mut suspects);
        // What a later pair explains is worth less than the rule that it may spoil.
        while !traces.is_empty() {
            let learned = self.learned(&traces, &[]);
            if let Some(learned) = learned.filter(|it| it.evidence.is_convincing()) {
                return Ok((traces, learned));
            }
            let trace = traces.pop();
            suspects
                .extend(trace.map(|it| search.suspect(it.pair, it.answered(), Doubt::Unsteady)));
        }
        suspects.sort_by_key(|suspect| std::cmp::Reverse(suspect.values));
        suspects.truncate(MAX_SUSPECTS);
        let reason = match suspects.first() {
            Some(suspect) => suspect.doubt.to_string(),
            None => "no value of one direction comes back in the other".to_owned(),
        };
        Err(Refusal { reason, suspects })
    }

    /// What was learned, and the feeds beside it, unless they would change what is known of requests.
    fn with_feeds(&self, traces: &[Trace], learned: Learned) -> Learned {
        let both = self.convincing(traces);
        both.filter(|it| it.evidence.has_the_exchanges_of(&learned.evidence)).unwrap_or(learned)
    }

    /// The feeds alone.
    fn feeds(&self) -> Option<Learned> {
        self.convincing(&[]).filter(|it| it.evidence.requests == 0)
    }

    /// The feeds beside what the traces explain: with their numbers, else with their times only.
    fn convincing(&self, traces: &[Trace]) -> Option<Learned> {
        let mut proposals = feeds::proposals(self.search.table, self.search.classes, traces);
        for _ in 0..2 {
            if proposals.is_empty() {
                return None;
            }
            let learned = self.learned(traces, &proposals);
            if let Some(learned) = learned.filter(|it| it.evidence.feed.is_convincing()) {
                return Some(learned);
            }
            proposals.retain(|it| it.time.is_some());
            proposals.iter_mut().for_each(|it| it.numbers = None);
        }
        None
    }

    /// The rules that these make, and what the engine makes of them.
    fn learned(&self, traces: &[Trace], proposals: &[Proposal]) -> Option<Learned> {
        let Search { table, classes, .. } = self.search;
        // A path that all servers have would make the protocol likely everywhere.
        let path = &self.group.path;
        let paths: Vec<&str> = path.split('*').take(1).filter(|path| path.len() > 3).collect();
        let name = self.name.clone();
        let toml = file::protocol(&name, &paths, table, classes, traces, proposals)?;
        let evidence = proof::of(&name, &toml, self.group)?;
        let ids = traces.iter().map(|trace| self.search.places(trace.pair)).collect();
        let feeds = proposals.iter().map(|it| FeedPlaces::of(table, it)).collect();
        Some(Learned { name, toml, ids, feeds, evidence, without_ids: None })
    }
}

impl FeedPlaces {
    fn of(table: &Table, proposal: &Proposal) -> Self {
        let path = |place: PlaceId| table.place(place).path.clone();
        let numbers = proposal.numbers.as_ref();
        Self {
            from: proposal.side.as_str(),
            time: proposal.time.map(path),
            number: numbers.map(|it| path(it.number)),
            first: numbers.and_then(|it| it.first).map(path),
            previous: numbers.and_then(|it| it.previous).map(path),
            channel: numbers.iter().flat_map(|it| it.channel.iter().copied().map(path)).collect(),
        }
    }
}

/// A name that no rule has yet.
fn name(path: &str, names: &[String]) -> String {
    let word: String = path
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("-")
        .to_ascii_lowercase();
    let word = if word.is_empty() { String::new() } else { format!("-{word}") };
    let base: String = format!("learned{word}").chars().take(28).collect();
    let is_free = |name: &String| !names.contains(name);
    let numbered = (2..).map(|number| format!("{base}-{number}"));
    std::iter::once(base.clone()).chain(numbered).find(is_free).unwrap_or(base)
}
