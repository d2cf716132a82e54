//! The pure core: [`event::Event`]s in, [`observation::Observation`]s out.
//!
//! Nothing here reads a clock, opens a file, starts a thread or knows where events come from.
//! Every buffer has a bound and an observation for when it bites.

pub mod event;
pub mod matching;
pub mod observation;
