//! Feeds: age, own times, numbers; and that nothing of what wstap lost is held against them.

use super::*;
use crate::observation::{FeedReading, OwnTime, SequenceStep, Unchecked};

const RULES: &str = r#"
name = "ticks"
[[rule]]
kind = "notification"
has = ["$.n"]
unless = { "$.snapshot" = true }
time = "$.t"
sequence = "$.n"
first = "$.from"
channel = ["$.c", "$.d"]
[[rule]]
kind = "notification"
has = ["$.n"]
when = { "$.snapshot" = true }
sequence = "$.n"
channel = ["$.c", "$.d"]
reset = true
[[rule]]
kind = "notification"
has = ["$.m"]
sequence = "$.m"
previous = "$.p"
channel = "$.c"
[[rule]]
kind = "notification"
has = ["$.tens"]
sequence = "$.tens"
step = 10
channel = "$.c"
[[rule]]
kind = "ping"
when = { "$.op" = "ping" }
[[rule]]
kind = "notification"
heartbeat = true
when = { "$.op" = "alive" }
"#;

/// A connection of the feed, and what its messages said of it.
struct Ticks {
    matching: Matching,
    handle: Handle,
    at_ns: u64,
    said: Vec<Option<FeedReading>>,
    quiet: Vec<bool>,
}

impl Ticks {
    fn new(limits: MatchLimits) -> Self {
        let mut protocols = Protocols::builtin();
        protocols.add_toml("ticks", RULES).unwrap();
        Self::speaking(protocols, "ticks", limits)
    }

    fn speaking(mut protocols: Protocols, name: &str, limits: MatchLimits) -> Self {
        protocols.force(name).unwrap();
        let mut matching = Matching::new(protocols, limits);
        let conn = ConnId { tgid: 1, generation: 1, handle: 1, stream: 0 };
        let hint = Hint { role: Role::Client, ..Hint::default() };
        let handle = matching.open(conn, TargetId(0), hint, 1);
        Self { matching, handle, at_ns: 1, said: Vec::new(), quiet: Vec::new() }
    }

    fn pass(&mut self, text: &str, wholeness: Wholeness) -> Option<FeedReading> {
        let message = message(Direction::Received, text.as_bytes(), MessageType::Text, wholeness);
        self.at_ns += MILLISECOND_NS;
        let stamp = Stamp { at_ns: self.at_ns, tid: 1 };
        let (said, handle) = (&mut self.said, &self.handle);
        said.clear();
        self.matching.message(handle, Role::Client, stamp, &message, &mut |it| match &it.what {
            What::Message { reading, .. } => said.push(reading.feed),
            What::Further { feed, .. } => said.push(Some(*feed)),
            _ => {}
        });
        self.said[0]
    }

    fn step(&mut self, text: &str) -> SequenceStep {
        let said = self.pass(text, Wholeness::Whole).expect("no heartbeat");
        said.sequence.expect("a number")
    }

    fn n(&mut self, n: i64) -> SequenceStep {
        self.step(&format!(r#"{{"n":{n},"c":"a"}}"#))
    }

    fn lose(&mut self, direction: Direction) {
        self.matching.gap(&self.handle, direction, self.at_ns, &mut |_| {});
    }

    fn tick(&mut self) {
        let quiet = &mut self.quiet;
        self.matching.tick(self.at_ns, &mut |it| match it.what {
            What::Quiet(is_quiet) => quiet.push(is_quiet),
            _ => panic!("{it:?}"),
        });
    }
}

fn ticks() -> Ticks {
    Ticks::new(MatchLimits::default())
}

#[test]
fn holes_repeats_and_late_numbers_are_told_apart() {
    use SequenceStep::*;
    let mut ticks = ticks();
    for (n, step) in [
        (7, Begun),
        (8, InOrder),
        (12, Missing(3)),
        (12, Repeated),
        (10, Backward),
        (13, InOrder),
        (14, InOrder),
        (1, Reset),
        (2, InOrder),
        (1_000_002, Missing(999_999)),
        (5, Reset),
        (6, InOrder),
        (4_000_000_000_000, Reset),
        (4_000_000_000_001, InOrder),
    ] {
        assert_eq!(ticks.n(n), step, "{n}");
    }
}

#[test]
fn numbers_behind_the_last_one_that_go_on_for_long_have_begun_anew() {
    use SequenceStep::*;
    let mut ticks = ticks();
    ticks.n(900);
    let steps: Vec<_> = (500..540).map(|n| ticks.n(n)).collect();
    assert!(steps[..16].iter().all(|step| *step == Backward), "{steps:?}");
    assert_eq!(steps[16], Reset);
    assert!(steps[17..].iter().all(|step| *step == InOrder), "{steps:?}");
}

#[test]
fn each_channel_has_numbers_of_its_own() {
    use SequenceStep::*;
    let mut ticks = ticks();
    let mut step = |text| ticks.step(text);
    assert_eq!(step(r#"{"n":1,"c":"a"}"#), Begun);
    assert_eq!(step(r#"{"n":50,"c":"b"}"#), Begun);
    assert_eq!(step(r#"{"n":2,"c":"a"}"#), InOrder);
    assert_eq!(step(r#"{"n":51,"c":"b"}"#), InOrder);
    // Parts of a name do not run into each other.
    assert_eq!(step(r#"{"n":9,"c":1,"d":23}"#), Begun);
    assert_eq!(step(r#"{"n":9,"c":12,"d":3}"#), Begun);
    assert_eq!(step(r#"{"n":9}"#), Begun);
}

#[test]
fn a_message_may_cover_several_numbers_or_only_name_the_one_before() {
    use SequenceStep::*;
    let mut ticks = ticks();
    let mut step = |text| ticks.step(text);
    assert_eq!(step(r#"{"n":160,"from":157}"#), Begun);
    assert_eq!(step(r#"{"n":165,"from":161}"#), InOrder);
    assert_eq!(step(r#"{"n":170,"from":168}"#), Missing(2));
    assert_eq!(step(r#"{"n":172,"from":169}"#), InOrder);
    assert_eq!(step(r#"{"n":3,"from":5}"#), Unchecked(self::Unchecked::Unreadable));
    assert_eq!(step(r#"{"c":"m","m":"1000","p":"-1"}"#), Begun);
    assert_eq!(step(r#"{"c":"m","m":1017,"p":1000}"#), InOrder);
    assert_eq!(step(r#"{"c":"m","m":1017,"p":1017}"#), InOrder);
    assert_eq!(step(r#"{"c":"m","m":1050,"p":1031}"#), Missing(1));
    assert_eq!(step(r#"{"c":"m","m":3,"p":1050}"#), InOrder);
    assert_eq!(step(r#"{"c":"m","m":900,"p":-1}"#), Reset);
    assert_eq!(step(r#"{"c":"tens","tens":30}"#), Begun);
    assert_eq!(step(r#"{"c":"tens","tens":40}"#), InOrder);
    assert_eq!(step(r#"{"c":"tens","tens":70}"#), Missing(2));
}

#[test]
fn a_snapshot_begins_anew_wherever_its_number_is() {
    use SequenceStep::*;
    let mut ticks = ticks();
    assert_eq!(ticks.step(r#"{"n":80,"c":"a","snapshot":true}"#), Begun);
    assert_eq!(ticks.n(81), InOrder);
    assert_eq!(ticks.step(r#"{"n":90,"c":"a","snapshot":true}"#), Reset);
    assert_eq!(ticks.n(91), InOrder);
}

#[test]
fn after_a_loss_of_ours_every_channel_begins_anew_and_says_so() {
    use SequenceStep::*;
    let after_gap = Unchecked(self::Unchecked::AfterGap);
    let mut ticks = ticks();
    let b = |n| format!(r#"{{"n":{n},"c":"b"}}"#);
    ticks.n(1);
    ticks.step(&b(1));
    ticks.lose(Direction::Sent);
    assert_eq!(ticks.n(2), InOrder, "nothing of this direction was lost");
    ticks.lose(Direction::Received);
    assert_eq!([ticks.n(40), ticks.n(42)], [after_gap, Missing(1)]);
    assert_eq!([ticks.step(&b(2)), ticks.step(&b(3))], [after_gap, InOrder]);
    assert_eq!(ticks.step(&b(3)), Repeated);
}

#[test]
fn a_message_that_cannot_be_read_in_full_may_have_had_a_number() {
    use SequenceStep::*;
    let after_gap = Unchecked(self::Unchecked::AfterGap);
    for (text, said) in [
        (r#"{"c":"a","n":12"#, Some(Unchecked(self::Unchecked::Unreadable))),
        (r#"{"c":"a","x":"#, None),
        ("", None),
    ] {
        let mut ticks = ticks();
        ticks.n(1);
        let feed = ticks.pass(text, Wholeness::Cut).expect("no heartbeat");
        assert_eq!(feed.sequence, said.filter(|_| feed.sequence.is_some()), "{text}");
        assert_eq!([ticks.n(5), ticks.n(6)], [after_gap, InOrder], "{text}");
    }
    let mut ticks = ticks();
    ticks.n(1);
    let no_number = ticks.step(r#"{"n":"x","c":"a"}"#);
    assert_eq!(no_number, Unchecked(self::Unchecked::Unreadable));
    assert_eq!(ticks.n(5), after_gap);
}

#[test]
fn channels_beyond_the_bound_are_said_not_to_be_followed() {
    use SequenceStep::*;
    let limits = MatchLimits { channels_per_connection: 2, ..MatchLimits::default() };
    let mut ticks = Ticks::new(limits);
    for (channel, steps) in [
        ("a", [Begun, InOrder]),
        ("b", [Begun, InOrder]),
        ("c", [Unchecked(self::Unchecked::TooManyChannels); 2]),
        ("a", [Missing(6), InOrder]),
    ] {
        let n = if channel == "a" && steps[0] != Begun { 9 } else { 1 };
        let text = |n: i32| format!(r#"{{"n":{n},"c":"{channel}"}}"#);
        assert_eq!([ticks.step(&text(n)), ticks.step(&text(n + 1))], steps, "{channel}");
    }
    let long = format!(r#"{{"n":1,"c":"{}"}}"#, "x".repeat(300));
    assert_eq!(ticks.step(&long), Unchecked(self::Unchecked::Unreadable));
}

#[test]
fn the_time_since_the_message_before_begins_anew_after_a_loss() {
    let mut ticks = ticks();
    let since = |ticks: &mut Ticks, text| ticks.pass(text, Wholeness::Whole).map(|it| it.since_ns);
    assert_eq!(since(&mut ticks, r#"{"n":1}"#), Some(None));
    assert_eq!(since(&mut ticks, r#"{"n":2}"#), Some(Some(MILLISECOND_NS)));
    assert_eq!(since(&mut ticks, r#"{"unknown":2}"#), Some(Some(MILLISECOND_NS)));
    ticks.lose(Direction::Received);
    assert_eq!(since(&mut ticks, r#"{"n":3}"#), Some(None));
}

#[test]
fn heartbeats_are_no_sign_of_data() {
    let mut ticks = ticks();
    ticks.pass(r#"{"n":1}"#, Wholeness::Whole);
    for heartbeat in [r#"{"op":"ping"}"#, r#"{"op":"alive"}"#, "ping", "PONG\n", "", "2", "{}"] {
        assert_eq!(ticks.pass(heartbeat, Wholeness::Whole), None, "{heartbeat:?}");
    }
    let data = ticks.pass(r#"{"n":2}"#, Wholeness::Whole).expect("data");
    assert_eq!(data.since_ns, Some(8 * MILLISECOND_NS));
    for data in ["pinging", "hello", "17"] {
        assert!(ticks.pass(data, Wholeness::Whole).is_some(), "{data}");
    }
}

/// Before the protocol is recognised, and where it never is.
#[test]
fn heartbeats_that_no_rule_reads_are_told_by_their_looks() {
    let mut tap = Tap::new(Protocols::builtin());
    tap.open(tap.hint());
    let mut said = Vec::new();
    for text in [
        r#"{"event":"heartbeat","no":1}"#,
        r#"{"px":1.5,"no":1}"#,
        r#"{"op":"ping"}"#,
        r#"[17,"hb"]"#,
        r#"{"px":1.5,"no":2}"#,
    ] {
        tap.at.at_ns += MILLISECOND_NS;
        tap.text(Direction::Received, text, &mut |it| {
            let What::Message { reading, .. } = &it.what else { return };
            said.push(reading.feed.map(|feed| feed.since_ns));
        });
    }
    assert_eq!(said, [None, Some(None), None, None, Some(Some(3 * MILLISECOND_NS))]);
}

#[test]
fn a_method_that_is_called_ping_is_a_heartbeat_in_every_protocol() {
    for (protocol, beat, data) in [
        (
            "jsonrpc",
            r#"{"jsonrpc":"2.0","method":"ping","id":1}"#,
            r#"{"jsonrpc":"2.0","method":"pinger","id":1}"#,
        ),
        ("phoenix", r#"[null,"1","phoenix","heartbeat",{}]"#, r#"[null,"1","phoenix","beat",{}]"#),
        ("graphql-ws", r#"{"type":"ka"}"#, r#"{"type":"data","id":"1","payload":{}}"#),
        ("signalr", "{\"type\":6}\u{1e}", "{\"type\":7}\u{1e}"),
        ("kucoin", r#"{"id":"1","type":"pong"}"#, r#"{"id":"1","type":"ack"}"#),
    ] {
        let mut ticks = Ticks::speaking(Protocols::builtin(), protocol, MatchLimits::default());
        assert_eq!(ticks.pass(beat, Wholeness::Whole), None, "{protocol}");
        assert!(ticks.pass(data, Wholeness::Whole).is_some(), "{protocol}");
    }
}

#[test]
fn a_message_says_when_it_was_made() {
    let mut ticks = ticks();
    let mut time = |text| ticks.pass(text, Wholeness::Whole).expect("data").time;
    assert_eq!(time(r#"{"n":1,"t":1777636800123}"#), OwnTime::At(1_777_636_800_123_000_000));
    assert_eq!(
        time(r#"{"n":2,"t":"2026-05-01T12:00:00Z"}"#),
        OwnTime::At(1_777_636_800_000_000_000)
    );
    assert_eq!(time(r#"{"n":3}"#), OwnTime::Unstated);
    assert_eq!(time(r#"{"n":4,"t":null}"#), OwnTime::Unstated);
    assert_eq!(time(r#"{"n":5,"t":17}"#), OwnTime::Unreadable);
    assert_eq!(time(r#"{"n":6,"t":{}}"#), OwnTime::Unreadable);
}

#[test]
fn every_message_of_a_batch_has_its_say() {
    let mut protocols = Protocols::builtin();
    let rules = r#"
        name = "batch"
        split = "array"
        rule = [{ kind = "notification", has = ["$.n"], sequence = "$.n", time = "$.t" }]"#;
    protocols.add_toml("batch", rules).unwrap();
    let mut ticks = Ticks::speaking(protocols, "batch", MatchLimits::default());
    ticks.pass(r#"[{"n":1},{"n":2,"t":1777636800},{"n":5}]"#, Wholeness::Whole);
    let steps: Vec<_> = ticks.said.iter().map(|feed| feed.unwrap().sequence.unwrap()).collect();
    assert_eq!(steps, [SequenceStep::Begun, SequenceStep::InOrder, SequenceStep::Missing(2)]);
    assert_eq!(ticks.said[1].unwrap().time, OwnTime::At(1_777_636_800_000_000_000));
}

#[test]
fn a_connection_is_quiet_until_data_passes_or_it_ends() {
    let limits = MatchLimits { quiet_after_ns: 5 * MILLISECOND_NS, ..MatchLimits::default() };
    let mut ticks = Ticks::new(limits);
    ticks.pass(r#"{"n":1}"#, Wholeness::Whole);
    ticks.tick();
    for _ in 0..6 {
        ticks.pass(r#"{"op":"ping"}"#, Wholeness::Whole);
    }
    ticks.tick();
    ticks.tick();
    ticks.pass(r#"{"n":2}"#, Wholeness::Whole);
    ticks.tick();
    ticks.at_ns += SECOND_NS;
    ticks.tick();
    let Ticks { mut matching, handle, at_ns, mut quiet, .. } = ticks;
    matching.close(handle, at_ns, &mut |it| {
        if let What::Quiet(is_quiet) = it.what {
            quiet.push(is_quiet);
        }
    });
    assert_eq!(quiet, [true, false, true, false]);
    assert!(matching.interpreter.correlator.is_at_rest());
}

#[test]
fn a_rule_that_makes_no_sense_is_refused() {
    let error = |rule: &str| {
        let text = format!(
            "name = \"x\"\nrule = [{{ kind = \"notification\", has = [\"$.a\"], {rule} }}]"
        );
        let error = Protocols::builtin().add_toml("x", &text).unwrap_err().to_string();
        error.strip_prefix("x: x.rule[0].").unwrap_or(&error).to_owned()
    };
    assert_eq!(error(r#"first = "$.b""#), "first: it belongs to a sequence, and the rule has none");
    assert_eq!(error("reset = true"), "reset: it belongs to a sequence, and the rule has none");
    assert_eq!(error(r#"sequence = "$.n", step = 0"#), "step: a step is 1 or more");
    assert_eq!(
        error(r#"sequence = "$.n", channel = ["$.b", "$.c", "$.d", "$.e"]"#),
        "channel: at most 3 paths"
    );
    assert_eq!(error(r#"time = "t""#), "time: a path begins with $");
    assert!(error(r#"time = { path = "$.t", unit = "days" }"#).contains("unit"));
    assert!(error(r#"time = "$.t", heartbeat = true"#).starts_with("heartbeat: "));
}
