//! What was learned, for people and for programs. What people read is a file of rules: all but the
//! rules is in comments.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::learning::{
    Evidence, FeedEvidence, FeedPlaces, Finding, IdPlaces, Learned, Refusal, Suspect, Verdict,
};

/// Whether something was learned that is of use. What wstap recognises by itself is not, unless
/// `all` is wanted.
#[must_use]
pub fn is_of_use(finding: &Finding, all: bool) -> bool {
    matches!(finding.verdict, Verdict::Learned(_)) && (all || known(finding).is_none())
}

/// Writes `finding` as a part of a file of rules.
///
/// # Errors
///
/// It cannot be written.
pub fn write(out: &mut impl Write, finding: &Finding, all: bool) -> io::Result<()> {
    let Finding { path, connections, messages, left_out, .. } = finding;
    let of = if path.is_empty() { "a path that was not seen" } else { path };
    write!(out, "# {connections} connections to {of}, {messages} messages")?;
    match left_out {
        0 => writeln!(out)?,
        more => writeln!(out, " ({more} more were not looked at)")?,
    }
    if let Some(protocol) = known(finding).filter(|_| !all) {
        return writeln!(out, "# wstap recognises {protocol}; --all learns it all the same\n");
    }
    match &finding.verdict {
        Verdict::Learned(learned) => rule(out, learned),
        Verdict::Refused(refusal) => refused(out, refusal),
    }?;
    writeln!(out)
}

fn rule(out: &mut impl Write, learned: &Learned) -> io::Result<()> {
    if let Some(refusal) = &learned.without_ids {
        writeln!(out, "# no ids: {}", refusal.reason)?;
    } else {
        exchanges(out, learned)?;
    }
    for feed in &learned.feeds {
        writeln!(out, "# learned: {}", feed_sentence(feed))?;
    }
    feed_evidence(out, &learned.evidence.feed)?;
    writeln!(out, "[[protocol]]\n{}", learned.toml.trim_end())
}

/// What speaks for the ids.
fn exchanges(out: &mut impl Write, learned: &Learned) -> io::Result<()> {
    for ids in &learned.ids {
        writeln!(out, "# learned: {}", sentence(ids))?;
    }
    let Evidence { requests, answered, errors, open, unanswered, further, orphans, .. } =
        &learned.evidence;
    writeln!(
        out,
        "# evidence: {requests} requests, of which {answered} were answered, {errors} with an error, \
         {open} open at the end"
    )?;
    writeln!(
        out,
        "# counter-examples: {unanswered} requests without an answer, {orphans} answers to nothing"
    )?;
    if *further > 0 {
        writeln!(out, "# further answers to the same requests: {further}")?;
    }
    let [least, median, nine, most] = learned.evidence.times_ns.map(milliseconds);
    writeln!(out, "# times: {least} to {most}, median {median}, 9 in 10 within {nine}")?;
    let methods = learned.evidence.methods.iter().filter(|(name, _)| !name.is_empty());
    let methods: Vec<String> =
        methods.map(|(name, count)| format!("{} {count}", name.escape_debug())).collect();
    if !methods.is_empty() {
        writeln!(out, "# methods: {}", methods.join(", "))?;
    }
    Ok(())
}

/// What speaks for times and numbers, and against them.
fn feed_evidence(out: &mut impl Write, evidence: &FeedEvidence) -> io::Result<()> {
    let FeedEvidence { timed, untimed, lags_ns, numbered, channels, missing, .. } = evidence;
    if *timed > 0 {
        let [least, median, nine, most] = lags_ns.map(signed_milliseconds);
        writeln!(
            out,
            "# evidence: {timed} messages with a time; from it to when they passed {least} to {most}, \
             median {median}, 9 in 10 within {nine}; {untimed} could not be read"
        )?;
    }
    if *numbered > 0 {
        let FeedEvidence { repeated, backward, resets, unchecked, .. } = evidence;
        writeln!(
            out,
            "# evidence: {numbered} messages with a number, in {channels} channels; {missing} numbers \
             missing, {repeated} repeated, {backward} backward, {resets} begun anew, {unchecked} not \
             checked"
        )?;
    }
    Ok(())
}

fn feed_sentence(feed: &FeedPlaces) -> String {
    let FeedPlaces { from, time, number, first, previous, channel } = feed;
    let mut said = Vec::new();
    said.extend(time.as_ref().map(|path| format!("the time in {path}")));
    if let Some(path) = number {
        let more = match (first, previous) {
            (Some(first), _) => format!(" (of the first in {first})"),
            (_, Some(previous)) => format!(" (of the one before in {previous})"),
            _ => String::new(),
        };
        let of = match &**channel {
            [] => String::new(),
            parts => format!(", by {}", parts.join(" and ")),
        };
        said.push(format!("a number in {path}{more}{of}"));
    }
    format!("what the {from} sends on its own has {}", said.join(" and "))
}

fn refused(out: &mut impl Write, refusal: &Refusal) -> io::Result<()> {
    writeln!(out, "# no rule: {}", refusal.reason)?;
    for Suspect { places, values, doubt } in &refusal.suspects {
        let IdPlaces { from, asked, answered } = places;
        writeln!(
            out,
            "#   {values} values of {asked} from the {from} came back in {answered}: {doubt}"
        )?;
    }
    Ok(())
}

fn sentence(ids: &IdPlaces) -> String {
    let IdPlaces { from, asked, answered } = ids;
    format!("the {from} asks with an id in {asked}, and the answer repeats it in {answered}")
}

/// The protocol that wstap recognises by itself, where it could read most messages.
fn known(finding: &Finding) -> Option<&str> {
    let (name, count) = finding.recognised.as_ref()?;
    (count.saturating_mul(2) > finding.messages as u64).then_some(&**name)
}

fn signed_milliseconds(ns: i64) -> String {
    format!("{:.3} ms", ns as f64 / 1e6)
}

fn milliseconds(ns: u64) -> String {
    format!("{:.3} ms", ns as f64 / 1e6)
}

/// The same as one JSON object.
#[must_use]
pub fn json(finding: &Finding) -> Value {
    let mut object = json!({
        "v": 1,
        "path": finding.path,
        "connections": finding.connections,
        "messages": finding.messages,
        "messages_left_out": finding.left_out,
        "recognised": finding.recognised.as_ref().map(|(name, _)| name),
    });
    match &finding.verdict {
        Verdict::Learned(learned) => {
            let Evidence {
                requests,
                answered,
                errors,
                open,
                unanswered,
                further,
                orphans,
                methods,
                times_ns,
                feed,
            } = &learned.evidence;
            // Of feeds alone a program that wants ids has no use.
            let has_ids = learned.without_ids.is_none();
            object["verdict"] = json!(if has_ids { "learned" } else { "feed" });
            learned.without_ids.iter().for_each(|refusal| refusal_of(&mut object, refusal));
            object["name"] = json!(learned.name);
            object["toml"] = json!(learned.toml);
            object["ids"] = learned.ids.iter().map(places).collect();
            object["feeds"] = learned.feeds.iter().map(feed_places).collect();
            object["feed_evidence"] = feed_numbers(feed);
            object["evidence"] = json!({
                "requests": requests, "answered": answered, "errors": errors, "open": open,
                "unanswered": unanswered, "further": further, "orphans": orphans,
                "methods": methods,
                "shortest_ns": times_ns[0], "median_ns": times_ns[1], "p90_ns": times_ns[2],
                "longest_ns": times_ns[3],
            });
        }
        Verdict::Refused(refusal) => {
            object["verdict"] = json!("refused");
            refusal_of(&mut object, refusal);
        }
    }
    object
}

fn refusal_of(object: &mut Value, refusal: &Refusal) {
    object["reason"] = json!(refusal.reason);
    let suspect = |it: &Suspect| {
        let mut object = places(&it.places);
        object["values"] = json!(it.values);
        object["doubt"] = json!(it.doubt.to_string());
        object
    };
    object["suspects"] = refusal.suspects.iter().map(suspect).collect();
}

fn feed_places(feed: &FeedPlaces) -> Value {
    let FeedPlaces { from, time, number, first, previous, channel } = feed;
    json!({
        "from": from, "time": time, "sequence": number, "first": first, "previous": previous,
        "channel": channel,
    })
}

fn feed_numbers(evidence: &FeedEvidence) -> Value {
    let FeedEvidence {
        timed,
        untimed,
        lags_ns,
        numbered,
        channels,
        missing,
        holes,
        repeated,
        backward,
        resets,
        unchecked,
    } = evidence;
    json!({
        "timed": timed, "untimed": untimed,
        "least_lag_ns": lags_ns[0], "median_lag_ns": lags_ns[1], "p90_lag_ns": lags_ns[2],
        "most_lag_ns": lags_ns[3],
        "numbered": numbered, "channels": channels, "missing": missing, "holes": holes,
        "repeated": repeated, "backward": backward, "resets": resets, "unchecked": unchecked,
    })
}

fn places(ids: &IdPlaces) -> Value {
    json!({ "from": ids.from, "asked": ids.asked, "answered": ids.answered })
}
