//! Says in the rule language which messages ask, which answer, and what is asked for.

mod conditions;
mod errors;
mod feeds;
pub(in crate::learning) mod file;
mod methods;
mod paths;
mod patterns;
mod quoting;
mod rule;
