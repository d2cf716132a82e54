//! ELF bytes in, probe plan out.
//!
//! [`plan()`] reads one ELF image (an executable or a shared library). It says which TLS libraries
//! are compiled into the image, and where to put probes so that every plaintext byte that passes
//! their read and write functions is seen exactly once.
//!
//! ```text
//!   bytes -> Image -> functions --------------------> sites ------------> Plan
//!            (elf)    search: symbol names             (placement, site)   (planner)
//!                     error_messages: message texts
//!                     golang: Go's own table
//!                     rustls: Rust's mangled names
//!                     user_offsets: the user says
//! ```
//!
//! The caller maps the file. This crate opens nothing, knows no process and no BPF, and treats the
//! bytes as hostile: whatever they are, [`plan()`] returns, after work that is bounded ([`Work`]).
#![forbid(unsafe_code)]

mod debuglink;
mod elf;
mod error_messages;
mod golang;
mod placement;
mod plan;
mod planner;
mod rtld;
mod rustls;
mod search;
mod site;
mod stacks;
mod unsupported;
mod user_offsets;
mod version;
mod work;
mod zlib;

pub use debuglink::{DebugLink, debug_link};
pub use elf::Error;
pub use plan::{
    Action, ArgIndex, BuildId, CallResult, Companion, Direction, Distance, Handles, Identity,
    Library, Linkage, Options, Plan, Probe, Read, SitePreference, Stack, SymbolSource, Technique,
    Transfer, TransferReturn, Verdict, Zlib, ZlibProbe,
};
pub use planner::{Evidence, plan, plan_counted, plan_with};
pub use user_offsets::{UserOffset, known_functions};
pub use work::{Limit, Work};
