//! What was learned, for people and for programs. What people read is a file of rules: all but the
//! rules is in comments.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::learning::{Evidence, Finding, IdPlaces, Learned, Refusal, Suspect, Verdict};

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
    writeln!(out, "[[protocol]]\n{}", learned.toml.trim_end())
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
            } = &learned.evidence;
            object["verdict"] = json!("learned");
            object["name"] = json!(learned.name);
            object["toml"] = json!(learned.toml);
            object["ids"] = learned.ids.iter().map(places).collect();
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
            object["reason"] = json!(refusal.reason);
            let suspect = |it: &Suspect| {
                let mut object = places(&it.places);
                object["values"] = json!(it.values);
                object["doubt"] = json!(it.doubt.to_string());
                object
            };
            object["suspects"] = refusal.suspects.iter().map(suspect).collect();
        }
    }
    object
}

fn places(ids: &IdPlaces) -> Value {
    json!({ "from": ids.from, "asked": ids.asked, "answered": ids.answered })
}
