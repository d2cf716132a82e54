//! What the rules say of one application message.

use std::borrow::Cow;

use super::feed::FeedFields;
use super::kind::Kind;

/// Longest id that is matched; a message with a longer one is read, but concerns no request.
pub(in crate::matching) const MAX_ID_BYTES: usize = 512;

/// What one application message is.
#[derive(Clone, Debug)]
pub(in crate::matching) struct Reading<'a> {
    pub(in crate::matching) traits: RuleTraits,
    /// What names the request; `None` for kinds that concern none, and where it is too long.
    pub(in crate::matching) name: Option<RequestName<'a>>,
    /// The method as it stands in the message, unescaped.
    pub(in crate::matching) method: Option<Cow<'a, [u8]>>,
    /// What it says of its feed; `None` where no rule says where.
    pub(in crate::matching) feed: Option<&'a FeedFields<'a>>,
}

impl Reading<'_> {
    /// It concerns a request, and does not say which in a way that can be matched.
    pub(in crate::matching) fn is_nameless(&self) -> bool {
        let stands_alone = matches!(self.traits.kind, Kind::Notification | Kind::Ping | Kind::Pong);
        self.name.is_none() && !stands_alone
    }
}

/// What a rule says of every message that it holds for.
#[derive(Clone, Copy, Debug)]
pub(in crate::matching) struct RuleTraits {
    pub(in crate::matching) kind: Kind,
    /// After this answer, more may follow.
    pub(in crate::matching) more: More,
    /// What this answer counts as if it has no request.
    pub(in crate::matching) unasked: Unasked,
    /// Whether this message alone proves the protocol.
    pub(in crate::matching) proof: Proof,
    /// It only says that its sender is there.
    pub(in crate::matching) is_heartbeat: bool,
}

impl RuleTraits {
    /// The plain message of a kind.
    pub(in crate::matching) fn plain(kind: Kind) -> Self {
        Self {
            kind,
            more: More::Last,
            unasked: Unasked::Orphan,
            proof: Proof::Likely,
            is_heartbeat: matches!(kind, Kind::Ping | Kind::Pong),
        }
    }
}

/// What a request and its answers have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::matching) enum RequestName<'a> {
    /// An id, unique within a scope (which may be empty). Both are raw tokens.
    Id { id: &'a [u8], scope: &'a [u8] },
    /// Nothing but their order, in the queue of this number.
    Queue(u8),
}

/// Whether further answers may follow one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::matching) enum More {
    Last,
    Follows,
}

/// What an answer is that no request was seen for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::matching) enum Unasked {
    /// Something was missed, or the peer is confused.
    Orphan,
    /// The protocol sends such answers on its own.
    Expected,
}

/// How much a message says about which protocol is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::matching) enum Proof {
    /// Nothing: messages of this shape are common.
    None,
    /// Another protocol could have said the same.
    Likely,
    /// No other protocol has this shape.
    Certain,
}

/// How much of a message it took to read it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::matching) struct Extent {
    /// Bytes from its start that settled what was read: whatever follows them changes nothing.
    /// `None` where the whole message was looked at.
    pub(in crate::matching) settled_by: Option<usize>,
    /// The message was cut, and what is missing of it may have said more.
    pub(in crate::matching) missed: bool,
}
