//! Who is tapped: finds the processes that are meant, follows what becomes of them, and keeps their
//! probes.
//!
//! The kernel reports forks, execs, late libraries and exits as they happen. A report can be lost,
//! and a process may come to match without any: it renames itself, or it is moved into a control
//! group. So every process is also inspected again every few seconds.
//!
//! ```text
//!   supervise (hears reports, does what is due)
//!     -> membership (who comes and who goes)   -> inspect (what is there to tap in a process)
//!   member   what is known of one process   members  all of them   memory  what some of them share
//!   probes   what is placed in each, and what will be
//!   plain    TCP sockets                        command  the command that wstap starts itself
//!   windows  zlib, while connections wait for what it remembers
//!   agenda   when to inspect whom               news     what the kernel counts and does not report
//!   homes    where each process runs, for others
//! ```

mod agenda;
pub mod command;
mod foresight;
pub mod homes;
mod inspect;
mod member;
mod members;
mod membership;
mod news;
pub mod plain;
mod probes;
mod supervise;
mod windows;

pub use member::{Late, Member};
pub use supervise::Supervisor;
