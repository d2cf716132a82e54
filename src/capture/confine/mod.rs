//! What wstap needs to be allowed, how it gives that up again, and the limits that it sets itself.

pub mod limits;
pub mod privilege;
pub mod sandbox;
