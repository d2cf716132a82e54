//! Where to put a probe so that it costs the traced process least.
//!
//! The kernel replaces the probed instruction and, after the probe ran, either emulates it or
//! single-steps a copy, which is many times slower ([`emulated`]). Compilers often begin exported
//! functions with an instruction of the slow kind. This module looks for an equivalent site, in
//! this order:
//!
//! 1. an internal function to which all exported ones of a direction hand their arguments
//!    ([`wrapper`]): one pair of probes serves them all;
//! 2. an emulated instruction of the exported function's prologue ([`prologue`]);
//! 3. the symbol, which is always right;
//! 4. where the kernel takes no probe on the first instruction, a later one, even if it is slow.
//!
//! Where a call returns is looked for in [`mod@returns`].
//!
//! Everything is proven on the code itself by following what it does to registers and stack
//! ([`value`], [`frame`], [`state`], [`walk`]). Anything that cannot be followed is not followed: slow is fine, wrong is
//! not.

mod body;
mod emulated;
mod frame;
mod pointer;
mod prologue;
mod read;
mod returns;
mod state;
mod value;
mod walk;
mod wrapper;
mod write;

pub(crate) use self::body::{body, jumps_out, returns};
pub(crate) use self::emulated::Emulation;
pub(crate) use self::pointer::{count_argument, counts_in_frame};
pub(crate) use self::prologue::{
    TransferSite, later_release_site, later_transfer_site, release_site, takes_probe_at,
    transfer_site,
};
pub(crate) use self::read::{ReadSite, read_sites};
pub(crate) use self::returns::{
    ReturnSite, Unknown as UnknownReturns, after_call, own as own_returns,
    through as returns_through,
};
pub(crate) use self::value::Method;
pub(crate) use self::walk::decode;
pub(crate) use self::wrapper::{Callee, Form, Reach, callees, reach};
pub(crate) use self::write::{handed_on, writer};

use crate::plan::ArgIndex;

/// Machine code by address.
pub(crate) trait Text {
    /// The mapped code from `address` on; `None` where there is none.
    fn bytes(&self, address: u64) -> Option<&[u8]>;

    /// An address that the function holding `address` does not reach, if one is known.
    fn function_end(&self, address: u64) -> Option<u64>;

    /// Where the function that holds `address` begins, if that is known.
    fn function_start(&self, address: u64) -> Option<u64>;

    /// The function that a call or jump to `target` runs: `target` itself, unless that only jumps
    /// on through a word which the loader fills in.
    fn callee(&self, target: u64) -> u64;

    /// Counts one instruction that is looked at; `false` when there have been too many.
    fn step(&self) -> bool;
}

/// Which arguments of a function mean what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Roles {
    pub(crate) handle: ArgIndex,
    pub(crate) buffer: ArgIndex,
    pub(crate) length: ArgIndex,
    /// Address of the count, where the function has such an argument.
    pub(crate) count: Option<ArgIndex>,
}

/// Code of one function for the tests, at address 0x1000.
#[cfg(test)]
struct Code(Vec<u8>);

#[cfg(test)]
impl Code {
    const ENTRY: u64 = 0x1000;
}

#[cfg(test)]
impl Text for Code {
    fn bytes(&self, address: u64) -> Option<&[u8]> {
        let at = usize::try_from(address.checked_sub(Self::ENTRY)?).ok()?;
        self.0.get(at..).filter(|rest| !rest.is_empty())
    }

    fn function_end(&self, _: u64) -> Option<u64> {
        Some(Self::ENTRY + self.0.len() as u64)
    }

    fn function_start(&self, _: u64) -> Option<u64> {
        Some(Self::ENTRY)
    }

    fn callee(&self, target: u64) -> u64 {
        target
    }

    fn step(&self) -> bool {
        true
    }
}
