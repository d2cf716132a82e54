//! Which processes are tapped, from where to where, and what that needs.

/// Other namespaces, overlays, control groups.
/// Processes that are not tapped, and programs that read the code that they run.
mod bystanders;

mod containers;

/// Programs that switch stacks inside a call, or never return from one.
mod fibers;

/// What happens to targets and probes when either side ends.
mod harm;

/// Neighbours and targets that make it hard for whoever looks into them.
mod hostile;

/// Processes that run before their probes are in place.
mod late;

/// Libraries that are deleted, replaced or several; other loaders; pids that are given again.
mod lifetimes;

/// What wstap needs, what it says when that is missing, and what it gives up.
pub(crate) mod privileges;

/// Selectors, and what happens to processes: fork, exec, exit, late libraries.
mod selection;

/// A command that wstap starts: it is never left stopped.
mod started;

/// What `ps` and `doctor` say of this machine.
mod survey;
