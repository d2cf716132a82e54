//! What wstap needs to be allowed, and how it gives that up again.

pub mod privilege;
pub mod sandbox;
