//! The tap itself: the loaded BPF programs, and what is read from them.
//!
//! A [`Tap`] lives on the stack of the thread that attaches. Another thread reads its [`Ring`], so
//! that no record waits while probes are being placed. Probes are gone when their [`Attachment`] is
//! dropped, or when the process ends, in whatever way: the kernel owns them.

pub mod hint;
pub mod lifecycle;
pub(in crate::capture) mod links;
mod load;
mod programs;
mod ring;
mod settings;
mod shared;
mod skeleton;
pub mod socket;
mod tap;
mod tapped;
mod wire;

pub use lifecycle::Admission;
pub use links::Attachment;
pub use load::{libbpf_version, with_best, with_tap};
pub use ring::{Reader, Ring, Waker};
pub use settings::{FLAVOURS, Flavour, Settings, Wakeup};
pub use tap::{Alarm, Losses, Tap};
pub use wire::Record;
