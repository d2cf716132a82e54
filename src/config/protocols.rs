//! What the user says about message protocols, as text: a recording takes it along, so that a
//! replay reads the same.

use std::path::PathBuf;

use super::UsageError;
use crate::matching::{ID_PATTERN_NAME, IdPatterns, Protocols};

/// The name that asks for a protocol to be learned.
const AUTO: &str = "auto";

/// Rules, patterns and a chosen protocol, not yet checked.
#[derive(Clone, Debug, Default)]
pub struct ProtocolSources {
    /// Names and texts of files of rules.
    pub rules: Vec<(String, String)>,
    /// A pattern for the ids of requests.
    pub id_pattern: Option<String>,
    /// The same for responses.
    pub response_pattern: Option<String>,
    /// The protocol that every connection speaks.
    pub protocol: Option<String>,
}

impl ProtocolSources {
    /// Reads the files of rules.
    pub(super) fn read_rules(&mut self, files: &[PathBuf]) -> Result<(), UsageError> {
        for path in files {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(path)
                .map_err(|error| UsageError(format!("rules: {name}: {error}")))?;
            self.rules.push((name, text));
        }
        Ok(())
    }

    /// What no rule reads is to be learned.
    #[must_use]
    pub fn learns(&self) -> bool {
        self.protocol.as_deref() == Some(AUTO)
    }

    /// Refuses to learn beside any other job than monitoring.
    pub(super) fn refuse_to_learn(&self) -> Result<(), UsageError> {
        if !self.learns() {
            return Ok(());
        }
        let why = "protocol: auto learns beside the monitoring only, and not while that is recorded; \
                   `wstap learn` prints a rule that --rules takes everywhere";
        Err(UsageError(why.into()))
    }

    /// The built-in protocols, before them the user's rules, then whatever is forced.
    ///
    /// # Errors
    ///
    /// A rule or a pattern makes no sense, or there is no protocol of that name.
    pub fn compile(&self) -> Result<Protocols, UsageError> {
        let mut protocols = Protocols::builtin();
        for (name, text) in &self.rules {
            protocols.add_toml(name, text).map_err(|error| UsageError(error.to_string()))?;
        }
        if let Some(request) = &self.id_pattern {
            let patterns = IdPatterns {
                name: ID_PATTERN_NAME,
                request,
                response: self.response_pattern.as_deref(),
                error: None,
            };
            protocols
                .force_id_patterns(patterns)
                .map_err(|error| UsageError(format!("id-pattern: {error}")))?;
        }
        if self.learns() {
            protocols.reserve_learned();
        } else if let Some(name) = &self.protocol {
            protocols.force(name).map_err(|error| UsageError(format!("protocol: {error}")))?;
        }
        Ok(protocols)
    }
}
