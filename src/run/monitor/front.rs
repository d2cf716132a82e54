//! Opens the sockets for HTTP, in two steps around the start of a command that is to be tapped: it must
//! not inherit what systemd has handed over.

use crate::config::{UsageError, WebSettings};
use crate::export::{Address, Front, WebConfig};
use crate::run::Failure;

/// What is known before the command is started.
#[derive(Debug)]
pub(super) enum Prepared {
    /// The sockets came from systemd.
    Inherited(Front),
    /// They are yet to be opened.
    Addresses(Vec<Address>, WebConfig),
}

impl Prepared {
    /// Reads the web configuration, and takes what systemd hands over.
    pub(super) fn new(settings: &WebSettings) -> Result<Self, Failure> {
        let web = match &settings.config {
            Some(path) => WebConfig::read(path).map_err(UsageError)?,
            None => WebConfig::default(),
        };
        if settings.addresses.is_empty() {
            return Front::inherited(web).map(Self::Inherited).map_err(Failure::Runtime);
        }
        Ok(Self::Addresses(settings.addresses.clone(), web))
    }

    /// Listens. This is before anything is attached: a port in use must not cost the target a probe.
    pub(super) fn open(self) -> Result<Front, Failure> {
        match self {
            Self::Inherited(front) => Ok(front),
            Self::Addresses(addresses, web) => {
                Front::open(&addresses, web).map_err(Failure::Runtime)
            }
        }
    }
}
