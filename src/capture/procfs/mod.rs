//! What can be read about processes without changing them: `/proc`, mapped files, control groups.

pub mod cgroup;
mod debug;
mod file;
pub mod image;
pub(in crate::capture) mod large_pages;
pub mod planner;
mod plans;
pub mod process;
pub mod selector;
pub mod target;
pub mod tcp;
pub mod translator;

pub(in crate::capture) use file::shared_memory;
