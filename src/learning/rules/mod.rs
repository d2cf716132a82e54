//! Says in the rule language which messages ask, which answer, and what is asked for.

mod conditions;
mod errors;
mod methods;
pub(in crate::learning) mod toml;
