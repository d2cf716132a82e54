//! What a rule says of feeds, compiled.

use super::source::{RuleSource, TimeSource};
use super::{Compiler, Mistake};
use crate::matching::rules::feed::time::TimeUnit;
use crate::matching::rules::feed::{CHANNEL_PARTS, FeedRule, SequenceRule};
use crate::matching::rules::json::slots::{Slot, Slots};
use crate::matching::rules::json::wanted::Need;

/// What may not stand together in one rule.
pub(super) fn check(rule: &RuleSource) -> Result<(), Mistake> {
    let mistake = |key: &str, reason: &str| Err(Mistake::new(key, reason));
    if rule.sequence.is_none() {
        for (key, is_given) in [
            ("first", rule.first.is_some()),
            ("previous", rule.previous.is_some()),
            ("channel", !rule.channel.as_slice().is_empty()),
            ("step", rule.step.is_some()),
            ("reset", rule.reset),
        ] {
            if is_given {
                return mistake(key, "it belongs to a sequence, and the rule has none");
            }
        }
    }
    if rule.previous.is_some() && rule.step.is_some() {
        return mistake("step", "a number that names the one before it has no step");
    }
    if rule.step == Some(0) {
        return mistake("step", "a step is 1 or more");
    }
    if rule.channel.as_slice().len() > CHANNEL_PARTS {
        return Err(Mistake::new("channel", format!("at most {CHANNEL_PARTS} paths")));
    }
    let has_feed = rule.time.is_some() || rule.sequence.is_some();
    if has_feed && rule.pattern.is_some() {
        return mistake("pattern", "time and sequence are found by paths only");
    }
    if has_feed && rule.heartbeat {
        return mistake(
            "heartbeat",
            "a heartbeat is no part of a feed, so it has no time or sequence",
        );
    }
    Ok(())
}

/// Asks for what the rule wants to know.
pub(super) fn compile(
    compiler: &mut Compiler,
    rule: &RuleSource,
    wants: &mut Slots,
) -> Result<Option<Box<FeedRule>>, Mistake> {
    let mut slot = |key: &str, path: &str| {
        let slot = compiler.slot(key, path, Need::Value)?;
        *wants |= slot.into();
        Ok(slot)
    };
    let time = match &rule.time {
        None => None,
        Some(TimeSource::Path(path)) => Some((slot("time", path)?, None)),
        Some(TimeSource::WithUnit { path, unit }) => Some((slot("time", path)?, Some(*unit))),
    };
    let mut optional =
        |key: &str, path: &Option<String>| path.as_ref().map(|path| slot(key, path)).transpose();
    let number = optional("sequence", &rule.sequence)?;
    let first = optional("first", &rule.first)?;
    let previous = optional("previous", &rule.previous)?;
    let channel: Vec<Slot> = rule
        .channel
        .as_slice()
        .iter()
        .map(|path| slot("channel", path))
        .collect::<Result<_, _>>()?;
    let sequence = number.map(|number| SequenceRule {
        number,
        first,
        previous,
        channel,
        step: rule.step.unwrap_or(1),
        resets: rule.reset,
    });
    Ok(feed(time, sequence))
}

fn feed(
    time: Option<(Slot, Option<TimeUnit>)>,
    sequence: Option<SequenceRule>,
) -> Option<Box<FeedRule>> {
    let says_something = time.is_some() || sequence.is_some();
    says_something.then(|| Box::new(FeedRule { time, sequence }))
}
