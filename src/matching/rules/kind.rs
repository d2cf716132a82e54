//! What a message may be, and who may send it.

use serde::Deserialize;

/// What a message is to a request.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(in crate::matching) enum Kind {
    /// Asks; its answer repeats its id.
    Request,
    /// Answers.
    Response,
    /// Answers, with an error.
    Error,
    /// Says that no more answers follow; an answer itself only if there was none.
    End,
    /// Concerns a request, but is not its answer: an acknowledgement, a status, an event.
    Progress,
    /// Withdraws a request of the same side.
    Cancel,
    /// Stands alone.
    Notification,
    /// The application's own heartbeat, without an id.
    Ping,
    /// Answers a `Ping`.
    Pong,
    /// Answers if something with its id was asked, else asks.
    #[serde(skip)]
    Either,
}

/// Which end of the connection may send a message.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(in crate::matching) enum From {
    /// The end that sent the upgrade request.
    Client,
    /// The end that answered it.
    Server,
    /// Either.
    #[default]
    Any,
}

/// Which end sent a message, as far as it is known.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(in crate::matching) enum Sender {
    Client,
    Server,
    Unknown,
}

impl From {
    /// Whether a message of `sender` may come from here. One whose sender is not known passes
    /// only where it does not matter.
    pub(super) fn admits(self, sender: Sender) -> bool {
        match self {
            Self::Any => true,
            Self::Client => sender == Sender::Client,
            Self::Server => sender == Sender::Server,
        }
    }
}
