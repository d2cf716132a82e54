//! Kinds of requests, numbered.

use rustc_hash::FxHashMap;
use serde::Serialize;

use crate::event::TargetId;
use crate::observation::{Exchange, Origin};

/// Kinds that are told apart; all others share the last number. The decoder bounds them, too, by
/// target.
const KINDS_MAX: usize = 4_096;

/// A number for each kind of request.
#[derive(Clone, Debug)]
pub(super) struct Methods {
    targets: Vec<String>,
    kinds: Vec<Kind>,
    numbers: FxHashMap<(u16, Origin), ByProtocol>,
}

type ByProtocol = FxHashMap<Box<str>, ByMethod>;
/// To a place in `Methods::kinds`.
type ByMethod = FxHashMap<Box<str>, u16>;

/// The key of a kind of request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Kind {
    pub(super) target: String,
    pub(super) origin: &'static str,
    pub(super) protocol: String,
    pub(super) method: String,
}

impl Methods {
    pub(super) fn new(targets: &[impl AsRef<str>]) -> Self {
        let targets = targets.iter().map(|name| name.as_ref().to_owned()).collect();
        Self { targets, kinds: Vec::new(), numbers: FxHashMap::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.kinds.len()
    }

    pub(super) fn kind(&self, number: u16) -> Option<&Kind> {
        self.kinds.get(usize::from(number))
    }

    /// The number of the kind that an exchange is of.
    pub(super) fn number(&mut self, target: TargetId, exchange: &Exchange<'_>) -> u16 {
        let Exchange { origin, protocol, method, .. } = *exchange;
        let known = self.numbers.get(&(target.0, origin));
        let known = known.and_then(|it| it.get(protocol)).and_then(|it| it.get(method));
        if let Some(&number) = known {
            return number;
        }
        if self.kinds.len() >= KINDS_MAX {
            return KINDS_MAX as u16 - 1;
        }
        let number = self.kinds.len() as u16;
        self.kinds.push(Kind {
            target: self.targets.get(usize::from(target.0)).cloned().unwrap_or_default(),
            origin: origin.as_str(),
            protocol: protocol.to_owned(),
            method: method.to_owned(),
        });
        let by_protocol = self.numbers.entry((target.0, origin)).or_default();
        by_protocol.entry(protocol.into()).or_default().insert(method.into(), number);
        number
    }
}
