//! What was learned of the connections of one group.

use super::proof::{self, Evidence};
use super::rules::file;
use crate::learning::messages::classes::Classes;
use crate::learning::messages::places::{Row, Side, Table};
use crate::learning::messages::sample::Group;
use crate::learning::search::doubts::{self, Doubt, LEAST_ANSWERED};
use crate::learning::search::pairs::{self, Pair};
use crate::learning::search::splits::{Split, splits};
use crate::learning::search::trace::Trace;

/// Most pairs of places that the rules of one protocol are made of.
const MAX_PAIRS: usize = 4;

/// Most pairs that a refusal speaks of.
const MAX_SUSPECTS: usize = 3;

/// What was learned of connections that were opened alike.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The request target that they have in common, without what differs; empty where it was not seen.
    pub path: String,
    /// How many there were.
    pub connections: usize,
    /// Messages in the sample.
    pub messages: usize,
    /// Messages that the sample had no room for.
    pub left_out: u64,
    /// The protocol of wstap's own that could read most of them, and how many.
    pub recognised: Option<(String, u64)>,
    /// The rule, or why there is none.
    pub verdict: Verdict,
}

/// A rule, or why there is none.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// There is one.
    Learned(Learned),
    /// There is none.
    Refused(Refusal),
}

/// A rule, and what speaks for it.
#[derive(Clone, Debug)]
pub struct Learned {
    /// Its name.
    pub name: String,
    /// The protocol in the rule language.
    pub toml: String,
    /// Where ids stand.
    pub ids: Vec<IdPlaces>,
    /// What it makes of the sample.
    pub evidence: Evidence,
}

/// Where an id stands in requests and in their answers.
#[derive(Clone, Debug)]
pub struct IdPlaces {
    /// `client` or `server`: who asks.
    pub from: &'static str,
    /// Its path in the request.
    pub asked: String,
    /// Its path in the answer.
    pub answered: String,
}

/// Why there is no rule.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// A sentence.
    pub reason: String,
    /// Values that come back and are no ids, those that come back most first.
    pub suspects: Vec<Suspect>,
}

/// A pair of places whose values come back, and why they are no ids.
#[derive(Clone, Debug)]
pub struct Suspect {
    /// The places.
    pub places: IdPlaces,
    /// How many values came back.
    pub values: usize,
    /// Why they are no ids.
    pub doubt: Doubt,
}

/// What is learned of `group`; its name is added to `names`.
pub(super) fn of(group: &Group, names: &mut Vec<String>) -> Finding {
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
    if let Some(reason) = unreadable(&table) {
        return Verdict::Refused(Refusal { reason, suspects: Vec::new() });
    }
    let classes = Classes::new(&table);
    let candidates = pairs::candidates(&table);
    let search = Search { table: &table, classes: &classes, candidates: &candidates };
    let mut suspects = Vec::new();
    let mut traces = search.traces(&mut suspects);
    // What a later pair explains is worth less than the rule that it may spoil.
    while !traces.is_empty() {
        if let Some(learned) = search.learned(group, &traces, names) {
            return Verdict::Learned(learned);
        }
        let trace = traces.pop();
        suspects.extend(trace.map(|it| search.suspect(it.pair, it.answered(), Doubt::Unsteady)));
    }
    suspects.sort_by_key(|suspect| std::cmp::Reverse(suspect.values));
    suspects.truncate(MAX_SUSPECTS);
    let reason = match suspects.first() {
        Some(suspect) => suspect.doubt.to_string(),
        None => "no value of one direction comes back in the other".to_owned(),
    };
    Verdict::Refused(Refusal { reason, suspects })
}

/// Why nothing can be learned whatever the messages say.
fn unreadable(table: &Table) -> Option<String> {
    let count = |is: &dyn Fn(&Row) -> bool| table.rows.iter().filter(|row| is(row)).count();
    for side in Side::ALL {
        let passed = count(&|row| row.side == side);
        if passed < LEAST_ANSWERED {
            return Some(format!(
                "the {} has sent {passed} messages so far: at least {LEAST_ANSWERED} each way are \
                 needed, better some hundred",
                side.as_str()
            ));
        }
    }
    let (read, all) = (count(&|row| row.is_read), table.rows.len());
    (read * 2 < all).then(|| {
        format!(
            "{} of {all} messages are neither JSON nor text: what is binary is not learned",
            all - read
        )
    })
}

struct Search<'a> {
    table: &'a Table,
    classes: &'a Classes,
    candidates: &'a [(Pair, usize)],
}

impl Search<'_> {
    /// The pairs that are believed, the best first; the others become suspects.
    fn traces(&self, suspects: &mut Vec<Suspect>) -> Vec<Trace> {
        let mut taken = vec![false; self.table.rows.len()];
        let mut traces: Vec<Trace> = Vec::new();
        while traces.len() < MAX_PAIRS {
            let mut best: Option<(usize, Trace)> = None;
            for &(pair, hits) in self.candidates {
                match self.trace(pair, &taken) {
                    Err(doubt) if traces.is_empty() && hits > 0 => {
                        suspects.push(self.suspect(pair, hits, doubt));
                    }
                    Err(_) => {}
                    Ok(trace) => {
                        let score = self.score(&trace);
                        if best.as_ref().is_none_or(|(known, _)| *known < score) {
                            best = Some((score, trace));
                        }
                    }
                }
            }
            let Some((_, trace)) = best else { break };
            if self.is_content(&trace, &taken) {
                let suspect = self.suspect(trace.pair, trace.answered(), Doubt::Contents);
                suspects.insert(0, suspect);
                break;
            }
            self.take(&trace, &mut taken);
            traces.push(trace);
        }
        traces
    }

    /// What became of the pair's values, or why they are not believed.
    fn trace(&self, pair: Pair, taken: &[bool]) -> Result<Trace, Doubt> {
        let Self { table, classes, .. } = *self;
        let trace = |split| {
            let trace = Trace::new(table, classes, pair, split, taken);
            doubts::doubt(table, &trace).map_or(Ok(trace), Err)
        };
        let doubt = match trace(Split::None) {
            Err(doubt) if pair.asked == pair.answered && doubt.may_be_mixed() => doubt,
            result => return result,
        };
        let traces = splits(classes, pair).into_iter().filter_map(|split| trace(split).ok());
        // Where both sides ask, what seems to be a further answer may be a question.
        let traces = traces.filter(|trace| trace.further() * 20 <= trace.answered());
        traces.max_by_key(|trace| self.score(trace)).ok_or(doubt)
    }

    /// Not the id alone comes back, and nothing says that it is one: whole messages are passed on.
    fn is_content(&self, trace: &Trace, taken: &[bool]) -> bool {
        let place = self.table.place(trace.pair.asked);
        let is_long = |value: &String| value.len() >= 16;
        let texts = &place.values[trace.pair.side as usize];
        let is_index = place.name.is_empty() && place.depth == 1;
        if is_id_name(&place.name) || is_index || texts.values().all(is_long) {
            return false;
        }
        let others = self.candidates.iter().filter(|(pair, _)| {
            pair.side == trace.pair.side
                && pair.asked != trace.pair.asked
                && pair.answered != trace.pair.answered
        });
        let mut others = others.filter_map(|(pair, _)| self.trace(*pair, taken).ok());
        others.any(|other| other.answered() * 5 >= trace.answered() * 4)
    }

    /// More answers are better; so are names that ids have, and the same name on both sides.
    fn score(&self, trace: &Trace) -> usize {
        let [asked, answered] =
            [trace.pair.asked, trace.pair.answered].map(|place| self.table.place(place));
        let mut percent = 100;
        if asked.name == answered.name {
            percent += 10;
        }
        percent += [asked, answered].iter().filter(|it| is_id_name(&it.name)).count() * 5;
        percent -= (asked.depth + answered.depth).min(6);
        let least = trace.answered().min(trace.exchanges.len());
        least * percent
    }

    fn take(&self, trace: &Trace, taken: &mut [bool]) {
        let Trace { pair, requests, answers, .. } = trace;
        for (index, row) in self.table.rows.iter().enumerate() {
            let Some(class) = self.classes.of_row[index] else { continue };
            let (place, is_one) = match row.side == pair.side {
                true => (pair.asked, requests.contains_key(&class)),
                false => (pair.answered, answers.contains_key(&class)),
            };
            taken[index] |= is_one && row.field(place).is_some();
        }
    }

    /// The rule that the traces make, if the engine is convinced of it.
    fn learned(&self, group: &Group, traces: &[Trace], names: &mut Vec<String>) -> Option<Learned> {
        let name = name(&group.path, names);
        // A path that all servers have would make the protocol likely everywhere.
        let paths: Vec<&str> =
            group.path.split('*').take(1).filter(|path| path.len() > 3).collect();
        let toml = file::protocol(&name, &paths, self.table, self.classes, traces)?;
        let evidence = proof::of(&name, &toml, group).filter(Evidence::is_convincing)?;
        names.push(name.clone());
        let ids = traces.iter().map(|trace| self.places(trace.pair)).collect();
        Some(Learned { name, toml, ids, evidence })
    }

    fn places(&self, pair: Pair) -> IdPlaces {
        IdPlaces {
            from: pair.side.as_str(),
            asked: self.table.place(pair.asked).path.clone(),
            answered: self.table.place(pair.answered).path.clone(),
        }
    }

    fn suspect(&self, pair: Pair, values: usize, doubt: Doubt) -> Suspect {
        Suspect { places: self.places(pair), values, doubt }
    }
}

fn is_id_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let known = ["ref", "seq", "tag", "nonce", "token", "transaction", "cid", "rid", "ticket"];
    name.ends_with("id") || known.contains(&name.as_str())
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
