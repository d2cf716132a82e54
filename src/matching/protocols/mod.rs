//! The protocols that connections may speak: the built-in ones, and the user's own.
//!
//! A built-in protocol is a file in a folder of `protocols/`, in the same language as the user's
//! and with its own examples. The folders are kinds of use: `rpc`, `channels` (rooms and topics),
//! `chat`, `devices` and `markets`. Adding a protocol is adding a file and its line in
//! [`BUILTIN`].

mod attempt;

use std::collections::BTreeMap;
use std::io::Read as _;

use flate2::read::GzDecoder;
use thiserror::Error;

use super::rules::{
    Compiled, Doubt, Framing, JsonRules, Kind, Protocol, RuleError, RuleSet, Syntax,
    check_examples, compile_file,
};
use super::rules::{PatternError, PatternRule};
use crate::event::TargetId;

/// The files of these names, gzipped by `build.rs`.
macro_rules! gzipped {
    ($($name:literal,)+) => {
        &[$(($name, include_bytes!(concat!(env!("OUT_DIR"), "/protocols/", $name, ".gz")) as &[u8])),+]
    };
}

/// File name and gzipped text of each built-in protocol. Where one message fits several, the first wins,
/// so the special stand before the general.
const BUILTIN: &[(&str, &[u8])] = gzipped![
    "graphql-transport-ws.toml",
    "graphql-ws.toml",
    "appsync.toml",
    "socketio.toml",
    "centrifugo.toml",
    "pusher.toml",
    "signalr.toml",
    "phoenix.toml",
    "stomp.toml",
    "mqtt.toml",
    "amqp.toml",
    "wamp2.toml",
    "slack.toml",
    "nostr.toml",
    "openai-realtime.toml",
    "xmpp.toml",
    "sip.toml",
    "protoo.toml",
    "livekit.toml",
    "rosbridge.toml",
    "firebase.toml",
    "gremlin.toml",
    "homeassistant.toml",
    "obs.toml",
    "jupyter.toml",
    "janus.toml",
    "ddp.toml",
    "actioncable.toml",
    "kraken.toml",
    "bybit.toml",
    "okx.toml",
    "kucoin.toml",
    "gateio.toml",
    "bitfinex.toml",
    "bitmex.toml",
    "xrpl.toml",
    "deribit.toml",
    "binance.toml",
    "discord.toml",
    "ocpp.toml",
    "mcp.toml",
    "playwright.toml",
    "webdriver-bidi.toml",
    "surrealdb.toml",
    "jsonrpc.toml",
];

/// File name and text of each built-in protocol, in the order of [`BUILTIN`].
///
/// # Panics
/// Never: the files are part of the program, and a test reads them.
pub(super) fn builtin_files() -> impl Iterator<Item = (&'static str, String)> {
    BUILTIN.iter().map(|&(file, gzipped)| {
        let mut text = String::new();
        GzDecoder::new(gzipped).read_to_string(&mut text).expect("what build.rs wrote");
        (file, text)
    })
}

/// The value of the label `protocol` for what was learned while wstap runs, so that nobody takes it for
/// rules that somebody wrote.
pub const LEARNED_NAME: &str = "learned";

/// Most protocols that are learned in one run.
const LEARNED_PLACES: usize = 8;

/// Index into the list of protocols.
pub(super) type ProtocolIndex = u16;

/// Name of the protocol that the user's own patterns make, unless they name it.
pub const ID_PATTERN_NAME: &str = "custom";

/// The compiled protocols, in order of precedence.
#[derive(Debug)]
pub struct Protocols {
    protocols: Vec<Protocol>,
    forced: Option<ProtocolIndex>,
    forced_for: BTreeMap<TargetId, Box<str>>,
    /// Places that are kept for protocols that are learned later.
    reserved: Vec<ProtocolIndex>,
    /// Names of protocols that files brought, and the files.
    files: Vec<(Box<str>, String)>,
    doubts: Vec<RuleError>,
}

/// How connections of a protocol are recognised.
#[derive(Clone, Copy, Debug)]
pub struct Description<'a> {
    /// The value of the label `protocol`.
    pub name: &'a str,
    /// Subprotocol tokens in the 101 that stand for it.
    pub subprotocols: &'a [Box<str>],
    /// Pieces of the request target that make it likely.
    pub paths: &'a [Box<str>],
    /// What its messages look like; empty where the rules do not say.
    pub about: &'a str,
}

/// Regular expressions for the ids of a protocol that has no rules.
///
/// The dialect is that of the `regex` crate without Unicode classes; `.` matches every byte, and
/// the first 4 KiB of a message are searched. Each pattern has a group named `id`, and may have
/// one named `method` and one named `scope`.
#[derive(Clone, Copy, Debug)]
pub struct IdPatterns<'a> {
    /// The value of the label `protocol`; see [`ID_PATTERN_NAME`].
    pub name: &'a str,
    /// Matches requests. Where it is the only pattern it matches answers as well: a message is
    /// then the answer to a request of the other side with the same id, else a request itself.
    pub request: &'a str,
    /// Matches answers.
    pub response: Option<&'a str>,
    /// Matches answers that report an error; tried before `response`.
    pub error: Option<&'a str>,
}

/// A name that no protocol has.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("no protocol is named {name}; there are {known}")]
pub struct UnknownProtocol {
    name: String,
    known: String,
}

impl Protocols {
    /// The built-in protocols.
    ///
    /// # Panics
    /// Never: the files are part of the program, and a test compiles them.
    #[must_use]
    pub fn builtin() -> Self {
        let compile = |(file, text): (&str, String)| {
            compile_file(file, &text).expect("built-in protocols are tested")
        };
        let compiled = builtin_files().flat_map(compile);
        Self {
            protocols: compiled.map(|compiled| compiled.protocol).collect(),
            forced: None,
            forced_for: BTreeMap::new(),
            reserved: Vec::new(),
            files: Vec::new(),
            doubts: Vec::new(),
        }
    }

    /// Adds the protocols of a TOML file, before all others. One with the name of another takes
    /// its place. `file` is only used to name it in errors.
    ///
    /// # Errors
    /// A [`RuleError`] with the file, the key and the reason, also if one of the file's examples
    /// is read otherwise than it says; nothing is added then.
    pub fn add_toml(&mut self, file: &str, text: &str) -> Result<(), RuleError> {
        let mut compiled = compile_file(file, text)?;
        for protocol in &mut compiled {
            check_examples(file, protocol)?;
        }
        for Compiled { mut protocol, advice, .. } in compiled.into_iter().rev() {
            let doubts = advice.map(|advice| protocol.watch(advice)).unwrap_or_default();
            self.doubts
                .extend(doubts.into_iter().map(|doubt| in_file(file, &protocol.name, doubt)));
            self.files.push((protocol.name.clone(), file.to_owned()));
            self.add(protocol);
        }
        Ok(())
    }

    /// What is probably wrong with the rules of files that were [added](Self::add_toml), as they were
    /// loaded: each with the file, the key and the reason.
    #[must_use]
    pub fn doubts(&self) -> &[RuleError] {
        &self.doubts
    }

    /// Looks no longer at what rules from files find: it costs something for each message.
    pub(super) fn unwatch(&mut self) {
        self.protocols.iter_mut().for_each(Protocol::unwatch);
    }

    /// What is probably wrong with the rules of files by the messages that were read since.
    #[must_use]
    pub fn doubts_by_messages(&self) -> Vec<RuleError> {
        let of_file = |(name, file): &(Box<str>, String)| {
            let protocol = self.protocols.iter().find(|protocol| protocol.name == *name)?;
            Some(protocol.doubts().into_iter().map(|doubt| in_file(file, name, doubt)).collect())
        };
        self.files.iter().filter_map(of_file).flat_map(|doubts: Vec<_>| doubts).collect()
    }

    /// Makes every connection speak the protocol of this name, whatever its content looks like.
    ///
    /// # Errors
    /// [`UnknownProtocol`] if there is none.
    pub fn force(&mut self, name: &str) -> Result<(), UnknownProtocol> {
        self.forced = Some(self.named(name)?);
        Ok(())
    }

    /// Makes every connection of one target speak the protocol of this name.
    ///
    /// # Errors
    /// [`UnknownProtocol`] if there is none.
    pub fn force_for(&mut self, target: TargetId, name: &str) -> Result<(), UnknownProtocol> {
        self.named(name)?;
        self.forced_for.insert(target, name.into());
        Ok(())
    }

    fn named(&self, name: &str) -> Result<ProtocolIndex, UnknownProtocol> {
        self.by(|protocol| *protocol.name == *name).ok_or_else(|| {
            let known: Vec<&str> = self.names().collect();
            UnknownProtocol { name: name.to_owned(), known: known.join(", ") }
        })
    }

    /// Makes every connection speak a protocol whose ids are found by the user's patterns.
    ///
    /// # Errors
    /// A [`PatternError`] if a pattern cannot be used.
    pub fn force_id_patterns(&mut self, patterns: IdPatterns<'_>) -> Result<(), PatternError> {
        let lone = patterns.response.is_none() && patterns.error.is_none();
        let ask = if lone { Kind::Either } else { Kind::Request };
        let mut rules = Vec::new();
        for (pattern, kind) in [
            (patterns.error, Kind::Error),
            (patterns.response, Kind::Response),
            (Some(patterns.request), ask),
        ] {
            let Some(pattern) = pattern else { continue };
            rules.push(PatternRule::for_ids(pattern, kind)?);
        }
        let rules = RuleSet {
            framing: Framing::default(),
            json: JsonRules::default(),
            patterns: rules,
            queues: Vec::new(),
            watch: None,
        };
        self.add(Protocol {
            name: patterns.name.into(),
            about: Box::default(),
            subprotocols: Vec::new(),
            paths: Vec::new(),
            syntax: Syntax::Rules(Box::new(rules)),
        });
        self.forced = Some(0);
        Ok(())
    }

    /// Keeps places, behind all others, for protocols that are learned later. Until then nothing is
    /// read by them.
    pub fn reserve_learned(&mut self) {
        for _ in 0..LEARNED_PLACES {
            let Ok(index) = ProtocolIndex::try_from(self.protocols.len()) else { return };
            self.reserved.push(index);
            self.protocols.push(Protocol {
                name: LEARNED_NAME.into(),
                about: Box::default(),
                subprotocols: Vec::new(),
                paths: Vec::new(),
                syntax: Syntax::Rules(Box::default()),
            });
        }
    }

    /// Takes a learned protocol into a place that was kept for one. Returns whether there was one left.
    ///
    /// # Errors
    /// A [`RuleError`] if the text is no protocol.
    pub(super) fn learn(&mut self, toml: &str) -> Result<bool, RuleError> {
        let compiled = compile_file(LEARNED_NAME, toml)?;
        let Some(compiled) = compiled.into_iter().next() else { return Ok(false) };
        let Some(index) = self.reserved.pop() else { return Ok(false) };
        if let Some(place) = self.get_mut(index) {
            *place = Protocol { name: LEARNED_NAME.into(), ..compiled.protocol };
        }
        Ok(true)
    }

    /// The names, which are all values that the label `protocol` can have besides `unknown`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.protocols.iter().map(|protocol| &*protocol.name)
    }

    /// How each protocol is recognised, in order of precedence.
    pub fn descriptions(&self) -> impl Iterator<Item = Description<'_>> {
        self.protocols.iter().map(|protocol| Description {
            name: &protocol.name,
            subprotocols: &protocol.subprotocols,
            paths: &protocol.paths,
            about: &protocol.about,
        })
    }

    /// The protocol that connections of `target` speak by decree.
    pub(super) fn forced(&self, target: TargetId) -> Option<ProtocolIndex> {
        let own = self.forced_for.get(&target).and_then(|name| self.named(name).ok());
        own.or(self.forced)
    }

    /// The protocol that an accepted subprotocol stands for.
    pub(super) fn by_subprotocol(&self, token: &str) -> Option<ProtocolIndex> {
        self.by(|protocol| protocol.subprotocols.iter().any(|known| **known == *token))
    }

    /// The protocol that a request target hints at.
    pub(super) fn by_path(&self, path: &str) -> Option<ProtocolIndex> {
        self.by(|protocol| protocol.paths.iter().any(|piece| path.contains(&**piece)))
    }

    pub(super) fn get_mut(&mut self, index: ProtocolIndex) -> Option<&mut Protocol> {
        self.protocols.get_mut(usize::from(index))
    }

    pub(super) fn all_mut(&mut self) -> &mut [Protocol] {
        &mut self.protocols
    }

    fn by(&self, is_it: impl Fn(&Protocol) -> bool) -> Option<ProtocolIndex> {
        self.protocols.iter().position(is_it).and_then(|index| index.try_into().ok())
    }

    /// Adds a protocol before all others. The one that was forced stays forced.
    fn add(&mut self, protocol: Protocol) {
        let forced = self.forced.and_then(|index| self.protocols.get(usize::from(index)));
        let forced = forced.map(|protocol| protocol.name.clone());
        self.protocols.retain(|known| known.name != protocol.name);
        self.protocols.insert(0, protocol);
        self.forced = forced.and_then(|name| self.by(|protocol| protocol.name == name));
    }
}

/// A doubt about the rules of the protocol `name`, with where they stand.
fn in_file(file: &str, name: &str, doubt: Doubt) -> RuleError {
    let Doubt { key, reason } = doubt;
    RuleError::Rule { file: file.to_owned(), key: format!("{name}.{key}"), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_builtin_protocol_reads_its_own_examples() {
        for (file, text) in builtin_files() {
            for mut compiled in compile_file(file, &text).unwrap() {
                check_examples(file, &mut compiled).unwrap_or_else(|error| panic!("{error}"));
            }
        }
    }

    #[test]
    fn every_builtin_protocol_is_named_after_its_file() {
        let files: Vec<_> =
            BUILTIN.iter().map(|&(file, _)| file.trim_end_matches(".toml")).collect();
        assert_eq!(Protocols::builtin().names().collect::<Vec<_>>(), files);
    }

    #[test]
    fn every_builtin_protocol_says_what_its_messages_look_like() {
        for protocol in Protocols::builtin().descriptions() {
            assert!(!protocol.about.is_empty(), "{}", protocol.name);
        }
    }

    #[test]
    fn a_users_protocol_goes_first_and_may_replace_a_builtin_one() {
        let mut protocols = Protocols::builtin();
        let count = protocols.names().count();
        protocols.force("ocpp").unwrap();
        let rule = "rule = [{ kind = \"request\", id = \"$.id\" }]";
        protocols.add_toml("mine", &format!("name = \"mine\"\n{rule}")).unwrap();
        protocols.add_toml("mine", &format!("name = \"jsonrpc\"\n{rule}")).unwrap();
        assert_eq!(protocols.names().take(2).collect::<Vec<_>>(), ["jsonrpc", "mine"]);
        assert_eq!(protocols.names().count(), count + 1);
        let forced = protocols.forced(TargetId(3)).unwrap();
        assert_eq!(protocols.names().nth(forced.into()), Some("ocpp"));
        protocols.force_for(TargetId(3), "mine").unwrap();
        let forced = [3, 4].map(|target| protocols.forced(TargetId(target)).unwrap());
        let names = forced.map(|index| protocols.names().nth(index.into()));
        assert_eq!(names, [Some("mine"), Some("ocpp")]);
    }

    #[test]
    fn an_example_that_is_read_otherwise_refuses_the_file() {
        let text = r#"
            name = "mine"
            rule = [{ kind = "request", id = "$.id" }]
            [[example]]
            text = '{"id":7}'
            is = [{ kind = "request", id = "8" }]"#;
        let mut protocols = Protocols::builtin();
        let error = protocols.add_toml("mine.toml", text).unwrap_err().to_string();
        assert_eq!(error, "mine.toml: mine.example[0]: expected request id=8, read request id=7");
        assert!(protocols.names().all(|name| name != "mine"));
    }

    #[test]
    fn forcing_an_unknown_name_lists_the_known_ones() {
        let error = Protocols::builtin().force("nope").unwrap_err().to_string();
        assert!(error.starts_with("no protocol is named nope; there are "), "{error}");
        assert!(error.contains("jsonrpc"), "{error}");
    }

    #[test]
    fn what_is_learned_takes_the_places_that_were_kept() {
        let mut protocols = Protocols::builtin();
        let rule = "name = \"mine\"\nrule = [{ kind = \"request\", id = \"$.id\" }]";
        assert!(!protocols.learn(rule).unwrap());
        protocols.reserve_learned();
        let count = protocols.names().count();
        for _ in 0..LEARNED_PLACES {
            assert!(protocols.learn(rule).unwrap());
        }
        assert!(!protocols.learn(rule).unwrap());
        assert!(protocols.learn("name = 1").is_err());
        assert_eq!(protocols.names().count(), count);
        assert_eq!(protocols.names().filter(|name| *name == LEARNED_NAME).count(), LEARNED_PLACES);
    }
}
