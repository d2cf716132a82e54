//! `wstap --version`: which wstap this is, and with `-v` what it was built from and runs on.

use std::io::Write;

use wstap_symbols::Stack;

use super::Failure;
use crate::capture::bpf::{self, Settings};
use crate::capture::{Error, kernel};
use crate::export::{REVISION, VERSION};
use crate::terminal::Page;

/// Prints one line, or with `more` also libbpf, the TLS stacks and the kernel.
///
/// # Errors
///
/// Standard output cannot be written.
pub(super) fn print(more: bool) -> Result<(), Failure> {
    let mut out = Page::new(true);
    writeln!(out, "wstap {VERSION} ({REVISION})")?;
    if more {
        let stacks: Vec<_> = Stack::TAPPED.iter().map(|stack| stack.name()).collect();
        writeln!(out, "libbpf  {}", bpf::libbpf_version())?;
        writeln!(out, "stacks  {}", stacks.join(", "))?;
        writeln!(out, "kernel  {}", kernel::release())?;
        writeln!(out, "has     {}", kernel_features())?;
        writeln!(out, "`wstap doctor` says what this kernel lets wstap do")?;
    }
    Ok(out.show()?)
}

/// What the kernel has that wstap makes use of. Only loading the programs shows it, which takes privileges.
fn kernel_features() -> String {
    let mut features = Vec::new();
    if kernel::missing_types().is_none() {
        features.push("BTF");
    }
    match bpf::with_tap(&Settings::TRIAL, |tap| Ok(tap.flavour())) {
        Ok(flavour) => features.extend(flavour.features()),
        Err(Error::Privilege(_)) => features.push("(more is known to root only)"),
        Err(_) => features.push("(the programs do not load)"),
    }
    features.join(", ")
}
