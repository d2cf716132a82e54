//! Which pairs of places have ids, among all whose values come back.

use super::finding::{IdPlaces, Suspect};
use crate::learning::messages::classes::Classes;
use crate::learning::messages::places::{Row, Side, Table};
use crate::learning::search::doubts::{self, Doubt, LEAST_ANSWERED};
use crate::learning::search::pairs::Pair;
use crate::learning::search::splits::{Split, splits};
use crate::learning::search::trace::Trace;

/// Most pairs of places that the rules of one protocol are made of.
const MAX_PAIRS: usize = 4;

/// Why no ids can be learned whatever the messages say.
pub(super) fn unreadable(table: &Table) -> Option<String> {
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

/// The search in one group.
pub(super) struct Search<'a> {
    pub(super) table: &'a Table,
    pub(super) classes: &'a Classes,
    /// Pairs of places whose values come back, and how many do.
    pub(super) candidates: &'a [(Pair, usize)],
}

impl Search<'_> {
    /// The pairs that are believed, the best first; the others become suspects.
    pub(super) fn traces(&self, suspects: &mut Vec<Suspect>) -> Vec<Trace> {
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

    pub(super) fn places(&self, pair: Pair) -> IdPlaces {
        IdPlaces {
            from: pair.side.as_str(),
            asked: self.table.place(pair.asked).path.clone(),
            answered: self.table.place(pair.answered).path.clone(),
        }
    }

    pub(super) fn suspect(&self, pair: Pair, values: usize, doubt: Doubt) -> Suspect {
        Suspect { places: self.places(pair), values, doubt }
    }
}

fn is_id_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let known = ["ref", "seq", "tag", "nonce", "token", "transaction", "cid", "rid", "ticket"];
    name.ends_with("id") || known.contains(&name.as_str())
}
