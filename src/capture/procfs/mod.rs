//! What the machine says of processes without being changed: `/proc`, mapped files, control groups.

pub mod cgroup;
mod debug;
pub mod image;
mod plans;
pub mod process;
pub mod selector;
pub mod target;
pub(in crate::capture) mod tcp;
