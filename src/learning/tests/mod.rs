//! Conversations with ids and without, and what is learned of them.

mod feeds;
mod without_ids;

use proptest::prelude::*;

use super::*;
use crate::event::{ConnId, Direction, TargetId};
use crate::observation::{Message, MessageReading, MessageType, Open, Role, What};

const MILLISECOND_NS: u64 = 1_000_000;

/// What the wall clock shows when nothing has passed yet, in nanoseconds since 1970.
const BEGAN_NS: i64 = 1_700_000_000_000_000_000;

/// A tapped client, and what it and its servers say.
struct Talk {
    learner: Learner,
    at_ns: u64,
    /// Of a generator that gives the same numbers each time.
    state: u64,
}

impl Talk {
    fn new() -> Self {
        let mut talk =
            Self { learner: Learner::new(LearnLimits::default()), at_ns: 1_000, state: 88_172_645 };
        talk.learner.set_wall_offset_ns(BEGAN_NS);
        (0..4).for_each(|conn| talk.open(conn));
        talk
    }

    fn open(&mut self, conn: u32) {
        let open = Open { path: Some("/socket"), ..Open::default() };
        self.observe(conn, What::Open(open));
    }

    fn observe(&mut self, conn: u32, what: What<'_>) {
        self.learner.observe(&Observation {
            at_ns: self.at_ns,
            tid: 1,
            target: TargetId(0),
            conn: ConnId { tgid: 1, generation: conn, handle: 1, stream: 0 },
            role: Role::Client,
            what,
        });
    }

    fn say(&mut self, conn: u32, direction: Direction, text: &str) {
        self.say_as(conn, direction, MessageType::Text, text.as_bytes());
    }

    fn say_as(
        &mut self,
        conn: u32,
        direction: Direction,
        message_type: MessageType,
        payload: &[u8],
    ) {
        self.at_ns += MILLISECOND_NS;
        let message = Message {
            direction,
            message_type,
            frames: 1,
            wire_length: payload.len() as u64,
            length: Some(payload.len() as u64),
            compressed: false,
            payload,
            tail: b"",
            truncated: false,
            identical: false,
        };
        self.observe(conn, What::Message { message, reading: MessageReading::UNKNOWN });
    }

    fn ask(&mut self, conn: u32, text: &str) {
        self.say(conn, Direction::Sent, text);
    }

    fn tell(&mut self, conn: u32, text: &str) {
        self.say(conn, Direction::Received, text);
    }

    fn random(&mut self, below: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % below
    }

    fn verdict(&self) -> Verdict {
        let mut findings = self.learner.findings();
        assert_eq!(findings.len(), 1, "{findings:#?}");
        findings.remove(0).verdict
    }

    #[track_caller]
    fn learned(&self) -> Learned {
        match self.verdict() {
            Verdict::Learned(learned) => *learned,
            Verdict::Refused(refusal) => panic!("{refusal:#?}"),
        }
    }

    /// Why nothing was learned, in one word where there is one.
    #[track_caller]
    fn refused(&self) -> Option<Doubt> {
        match self.verdict() {
            Verdict::Refused(refusal) => refusal.suspects.first().map(|suspect| suspect.doubt),
            Verdict::Learned(learned) => panic!("{learned:#?}"),
        }
    }
}

/// Requests of which each pair is answered the other way round; every eighth is an error.
fn rpc(talk: &mut Talk, rounds: u64) {
    for round in 0..rounds {
        for conn in 0..2 {
            let (first, second) = (2 * round + 1, 2 * round + 2);
            talk.ask(conn, &format!(r#"{{"id":{first},"method":"get","params":{{"key":"a"}}}}"#));
            talk.ask(conn, &format!(r#"{{"id":{second},"method":"put","params":{{"key":"b"}}}}"#));
            talk.tell(conn, r#"{"event":"tick","id":null,"price":101.5}"#);
            if round % 4 == 0 {
                talk.tell(conn, &format!(r#"{{"id":{second},"error":{{"code":5}}}}"#));
            } else {
                talk.tell(conn, &format!(r#"{{"id":{second},"result":true}}"#));
            }
            talk.tell(conn, &format!(r#"{{"id":{first},"result":{{"value":{round}}}}}"#));
        }
    }
}

#[test]
fn an_id_its_methods_and_errors_are_learned() {
    let mut talk = Talk::new();
    rpc(&mut talk, 40);
    let learned = talk.learned();
    assert_eq!(learned.evidence.requests, 160);
    assert_eq!((learned.evidence.answered, learned.evidence.errors), (140, 20));
    assert_eq!((learned.evidence.orphans, learned.evidence.unanswered), (0, 0));
    assert_eq!(learned.evidence.methods["put"], 80);
    assert!(learned.toml.contains(r#"id = "$.id", method = "$.method""#), "{}", learned.toml);
    assert!(learned.toml.contains(r#"paths = ["/socket"]"#), "{}", learned.toml);
}

/// Whatever the field is called that says it, and however deep it lies.
#[test]
fn answers_that_say_in_a_word_that_they_are_errors_are_told_apart() {
    let mut talk = Talk::new();
    for round in 0..60 {
        let (first, second) = (2 * round + 1, 2 * round + 2);
        for number in [first, second] {
            talk.ask(0, &format!(r#"{{"t":"d","d":{{"r":{number},"a":"p","b":{{"p":"/x"}}}}}}"#));
        }
        let word = if round % 4 == 0 { "permission_denied" } else { "ok" };
        for (number, word) in [(second, word), (first, "ok")] {
            talk.tell(0, &format!(r#"{{"t":"d","d":{{"r":{number},"b":{{"s":"{word}"}}}}}}"#));
        }
    }
    let learned = talk.learned();
    let evidence = &learned.evidence;
    assert_eq!((evidence.answered, evidence.errors), (105, 15), "{}", learned.toml);
    let said = r#"when = { "$.d.b.s" = "permission_denied" }"#;
    assert!(learned.toml.contains(said), "{}", learned.toml);
}

/// Requests with a word that says what is asked for: each asks for something of another shape, or all for the
/// same.
fn asked_by(shaped: bool, write: &dyn Fn(u64, &str, &str) -> String) -> Talk {
    let mut talk = Talk::new();
    for round in 0..60 {
        for number in [2 * round + 1, 2 * round + 2] {
            let word = ["fetch", "store", "drop"][talk.random(3) as usize];
            let params = match word {
                "fetch" if shaped => r#""key":"k1""#.to_owned(),
                "store" if shaped => format!(r#""key":"k2","body":{}"#, talk.random(1 << 30)),
                "drop" if shaped => r#""force":true"#.to_owned(),
                _ => format!(r#""x":{}"#, talk.random(1 << 30)),
            };
            talk.ask(0, &write(number, word, &params));
        }
        talk.tell(0, &format!(r#"{{"re":{},"ok":true}}"#, 2 * round + 2));
        talk.tell(0, &format!(r#"{{"re":{},"ok":true}}"#, 2 * round + 1));
    }
    talk
}

#[test]
fn a_method_is_known_by_how_it_behaves_whatever_it_is_called() {
    for name in ["verb", "cmd", "t", "fn", "was", "Kind", "what_to_do"] {
        for shaped in [true, false] {
            let talk = asked_by(shaped, &|number, word, params| {
                format!(r#"{{"re":{number},"lang":"en","{name}":"{word}",{params}}}"#)
            });
            let learned = talk.learned();
            let said = format!("method = \"$.{name}\"");
            assert!(learned.toml.contains(&said), "{name} {shaped}: {}", learned.toml);
            assert_eq!(learned.evidence.methods.len(), 3, "{:?}", learned.evidence.methods);
        }
    }
    for shaped in [true, false] {
        let talk = asked_by(shaped, &|number, word, params| {
            format!(r#"{{"re":{number},"header":{{"kind":"{word}","v":"1"}},{params}}}"#)
        });
        let learned = talk.learned();
        assert!(learned.toml.contains("method = \"$.header.kind\""), "{}", learned.toml);
    }
}

#[test]
fn a_word_that_says_what_is_asked_about_is_no_method() {
    let mut talk = Talk::new();
    for round in 0..60 {
        for number in [2 * round + 1, 2 * round + 2] {
            let symbol = ["BTC", "ETH", "XRP"][talk.random(3) as usize];
            talk.ask(0, &format!(r#"{{"re":{number},"op":"buy","symbol":"{symbol}"}}"#));
        }
        talk.tell(0, &format!(r#"{{"re":{},"ok":true}}"#, 2 * round + 2));
        talk.tell(0, &format!(r#"{{"re":{},"ok":true}}"#, 2 * round + 1));
    }
    let learned = talk.learned();
    assert_eq!(learned.evidence.methods.keys().collect::<Vec<_>>(), ["buy"]);
}

/// Both sides count from 0, and each answers the other out of order.
#[test]
fn what_both_sides_ask_with_the_same_numbers_is_told_apart() {
    let mut talk = Talk::new();
    for round in 0..60 {
        let (first, second) = (2 * round, 2 * round + 1);
        talk.ask(0, &format!(r#"[2,{first},"Heartbeat",{{}}]"#));
        talk.tell(0, &format!(r#"[2,{first},"Reset",{{}}]"#));
        talk.ask(0, &format!(r#"[2,{second},"Meter",{{}}]"#));
        talk.tell(0, &format!(r#"[2,{second},"Get",{{}}]"#));
        talk.tell(0, &format!("[3,{second},{{}}]"));
        talk.tell(0, &format!("[3,{first},{{}}]"));
        talk.ask(0, &format!("[3,{second},{{}}]"));
        talk.ask(0, &format!("[3,{first},{{}}]"));
    }
    let learned = talk.learned();
    assert_eq!((learned.evidence.requests, learned.evidence.answered), (240, 240));
}

#[test]
fn what_both_sides_ask_is_told_apart() {
    let mut talk = Talk::new();
    for round in 0..60 {
        let (ours, theirs) = (2 * round, 2 * round + 1);
        let [asked, also] = [ours, theirs].map(|id| 5_000 + id);
        talk.ask(0, &format!(r#"[2,{ours},"Heartbeat",{{}}]"#));
        talk.tell(0, &format!(r#"[2,{asked},"Reset",{{}}]"#));
        talk.ask(0, &format!(r#"[2,{theirs},"Meter",{{}}]"#));
        talk.tell(0, &format!(r#"[2,{also},"Get",{{}}]"#));
        talk.tell(0, &format!("[3,{theirs},{{}}]"));
        talk.tell(0, &format!("[3,{ours},{{}}]"));
        talk.ask(0, &format!("[3,{also},{{}}]"));
        talk.ask(0, &format!("[3,{asked},{{}}]"));
    }
    let learned = talk.learned();
    assert_eq!((learned.evidence.requests, learned.evidence.answered), (240, 240));
}

#[test]
fn several_answers_to_a_request_are_a_stream() {
    let mut talk = Talk::new();
    for round in 0..60_u64 {
        let id = talk.random(1 << 60);
        talk.ask(0, &format!(r#"{{"type":"subscribe","id":"{id:x}","query":"q"}}"#));
        for item in 0..1 + round % 3 {
            talk.tell(0, &format!(r#"{{"type":"next","id":"{id:x}","item":{item}}}"#));
        }
        talk.tell(0, &format!(r#"{{"type":"complete","id":"{id:x}"}}"#));
    }
    let learned = talk.learned();
    assert_eq!((learned.evidence.answered, learned.evidence.orphans), (60, 0));
    assert!(learned.toml.contains("more = true"), "{}", learned.toml);
    assert!(learned.toml.contains("kind = \"end\""), "{}", learned.toml);
}

/// `text` in MessagePack, all short.
fn packed(value: &serde_json::Value) -> Vec<u8> {
    use serde_json::Value;
    let each = |values: &mut dyn Iterator<Item = &Value>| values.flat_map(packed).collect();
    match value {
        Value::String(text) => [&[0xa0 | text.len() as u8], text.as_bytes()].concat(),
        Value::Number(number) => [&[0xcf], &number.as_u64().unwrap().to_be_bytes()[..]].concat(),
        Value::Bool(truth) => vec![0xc2 + u8::from(*truth)],
        Value::Array(all) => [vec![0x90 | all.len() as u8], each(&mut all.iter())].concat(),
        Value::Object(members) => {
            let pair = |(key, value): (&String, &Value)| {
                [packed(&Value::from(key.as_str())), packed(value)].concat()
            };
            [vec![0x80 | members.len() as u8], members.iter().flat_map(pair).collect()].concat()
        }
        Value::Null => vec![0xc0],
    }
}

#[test]
fn what_is_written_in_a_binary_encoding_is_learned_as_in_json() {
    let mut talk = Talk::new();
    for n in 0..120 {
        let conn = (n % 4) as u32;
        let (id, method) = (talk.random(1 << 40), ["place", "cancel"][n % 2]);
        let answer = if n % 10 == 9 { "error" } else { "result" };
        let asked = packed(&serde_json::json!({ "id": id, "method": method, "params": [n] }));
        let told = packed(&serde_json::json!({ "id": id, answer: { "n": n } }));
        talk.say_as(conn, Direction::Sent, MessageType::Binary, &asked);
        talk.say_as(conn, Direction::Received, MessageType::Binary, &told);
    }
    let learned = talk.learned();
    assert!(learned.toml.contains("unwrap = \"msgpack\""), "{}", learned.toml);
    let evidence = &learned.evidence;
    assert_eq!((evidence.requests, evidence.answered, evidence.errors), (120, 108, 12));
    assert_eq!(evidence.methods.keys().collect::<Vec<_>>(), ["cancel", "place"]);
}

#[test]
fn the_rule_is_one_that_wstap_takes() {
    let mut talk = Talk::new();
    rpc(&mut talk, 20);
    let learned = talk.learned();
    let mut protocols = crate::matching::Protocols::builtin();
    protocols.add_toml("learned.toml", &learned.toml).unwrap();
    protocols.force(&learned.name).unwrap();
}

/// A request, its answer, and the answer to the one before that comes later.
fn texts(write: impl Fn(u64) -> (String, String)) -> Learned {
    let mut talk = Talk::new();
    for round in 0..60 {
        let [first, second] = [2 * round, 2 * round + 1].map(&write);
        talk.ask(0, &first.0);
        talk.ask(0, &second.0);
        talk.tell(0, &second.1);
        talk.tell(0, &first.1);
    }
    talk.learned()
}

#[test]
fn ids_in_header_lines_are_learned() {
    let learned = texts(|id| {
        let ask = format!("SEND\ndestination:/a\nreceipt:r-{id}\n\nhello\0");
        (ask, format!("RECEIPT\nreceipt-id:r-{id}\n\n\0"))
    });
    assert_eq!((learned.evidence.requests, learned.evidence.answered), (120, 120));
    assert_eq!(learned.evidence.methods["SEND"], 120);
}

#[test]
fn ids_in_front_of_a_bracket_are_learned() {
    for space in ["", "/rooms,"] {
        let ask = |id| format!(r#"42{space}{id}["echo",1]"#);
        let learned = texts(|id| (ask(id), format!("43{space}{id}[1]")));
        assert_eq!((learned.evidence.requests, learned.evidence.answered), (120, 120));
        assert_eq!(learned.evidence.methods["echo"], 120);
    }
}

#[test]
fn ids_in_attributes_are_learned() {
    let learned = texts(|id| {
        let ask = format!(r#"<iq type="get" id="q{id}"><ping/></iq>"#);
        (ask, format!("<iq type='result' id='q{id}'/>"))
    });
    assert_eq!((learned.evidence.requests, learned.evidence.answered), (120, 120));
}

/// Every third answer is an error.
#[test]
fn errors_of_texts_are_told_by_a_code_or_an_attribute() {
    let is_wrong = |id: u64| id.is_multiple_of(3);
    let sip = texts(|id| {
        let code = if is_wrong(id) { "404 Not Found" } else { "200 OK" };
        let ask = format!("MESSAGE sip:a@b SIP/2.0\r\nCall-ID: c{id}\r\n\r\n");
        (ask, format!("SIP/2.0 {code}\r\nVia: x\r\nCall-ID: c{id}\r\n\r\n"))
    });
    let xmpp = |is_first: bool| {
        texts(move |id| {
            let how = if is_wrong(id) { "type='error'" } else { "type='result'" };
            let id = format!("id='q{id}'");
            let answer = if is_first { format!("{how} {id}") } else { format!("{id} {how}") };
            (format!("<iq type='get' {id}/>"), format!("<iq {answer}/>"))
        })
    };
    for learned in [sip, xmpp(true), xmpp(false)] {
        let evidence = &learned.evidence;
        assert_eq!((evidence.requests, evidence.answered, evidence.errors), (120, 80, 40));
    }
}

#[test]
fn ids_among_words_are_learned() {
    let learned = texts(|id| (format!("GET key-{id} now"), format!("VALUE of key-{id} 17")));
    assert_eq!((learned.evidence.requests, learned.evidence.answered), (120, 120));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever passes, it ends, and what is learned can be loaded.
    #[test]
    fn nothing_that_passes_makes_it_panic(
        messages in prop::collection::vec((0..3_u32, any::<bool>(), message()), 0..120),
    ) {
        let mut talk = Talk::new();
        for (conn, is_sent, text) in messages {
            let direction = if is_sent { Direction::Sent } else { Direction::Received };
            talk.say(conn, direction, &text);
        }
        for finding in talk.learner.findings() {
            if let Verdict::Learned(learned) = finding.verdict {
                let mut protocols = crate::matching::Protocols::builtin();
                prop_assert!(protocols.add_toml("learned", &learned.toml).is_ok());
            }
        }
    }
}

fn message() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,40}",
        (0..40_u32, "[a-z\\.\\[\"\\\\]{0,3}").prop_map(|(id, key)| {
            serde_json::json!({ "id": id, key: [id, { "a": null }] }).to_string()
        }),
        (0..40_u32).prop_map(|id| format!("{{\"id\":{id},\"x\":[[[[[")),
        (0..40_u32).prop_map(|id| format!("[{id},\"a\",{{\"b\":true}}]\n{{\"id\":{id}}}\u{1e}")),
    ]
}

#[test]
fn a_sample_is_bounded() {
    let mut talk = Talk::new();
    talk.learner = Learner::new(LearnLimits {
        messages: 100,
        groups: 2,
        message_bytes: 64,
        bytes: 2_000,
        connections: 3,
    });
    for conn in 0..10 {
        talk.open(conn);
        (0..100).for_each(|id| talk.ask(conn, &format!(r#"{{"id":{id},"x":"{id:0>100}"}}"#)));
    }
    assert!(talk.learner.is_full());
    assert_eq!(talk.learner.strangers(), 700);
    let finding = talk.learner.findings().remove(0);
    assert_eq!((finding.messages as u64 + finding.left_out, finding.connections), (300, 3));
    assert!(finding.messages <= 2_000 / 64 + 1, "{}", finding.messages);
}
