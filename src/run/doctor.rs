//! `wstap doctor`: what this machine lets wstap do, found out by trying.

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use super::Failure;
use crate::capture::tap::{Flavour, Settings, Wakeup, with_tap};
use crate::capture::{Error, kernel, privilege};

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    state: State,
    /// What was found.
    found: String,
    /// The one thing to do about it; empty where nothing needs doing.
    remedy: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// As it should be.
    Ok,
    /// wstap works, but with less.
    Limited,
    /// wstap does not work.
    Fails,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, state: State::Ok, found: found.into(), remedy: String::new() }
    }

    fn limited(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, state: State::Limited, found: found.into(), remedy: remedy.into() }
    }

    fn fails(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, state: State::Fails, found: found.into(), remedy: remedy.into() }
    }
}

/// Prints what works, what does not, and what to do about it.
///
/// # Errors
///
/// Something that wstap cannot do without fails (exit code 3).
pub(super) fn run(json: bool) -> Result<(), Failure> {
    let mut checks = vec![check_kernel(), check_btf(), check_lockdown(), check_capabilities()];
    checks.extend(check_programs());
    let mut out = io::stdout().lock();
    for check in &checks {
        if json {
            writeln!(out, "{}", serde_json::to_string(check)?)?;
        } else {
            print(&mut out, check)?;
        }
    }
    if checks.iter().any(|check| check.state == State::Fails) {
        return Err(Error::Kernel("wstap cannot tap on this machine as it is".into()).into());
    }
    Ok(())
}

fn print(out: &mut impl Write, check: &Check) -> io::Result<()> {
    let state = match check.state {
        State::Ok => "ok",
        State::Limited => "limited",
        State::Fails => "FAILS",
    };
    writeln!(out, "{state:8} {:14} {}", check.name, check.found)?;
    if check.remedy.is_empty() {
        return Ok(());
    }
    writeln!(out, "{:8} {:14} -> {}", "", "", check.remedy)
}

fn check_kernel() -> Check {
    let release = kernel::release();
    match kernel::parse_release(&release) {
        Some(version) if version >= kernel::OLDEST => Check::ok("kernel", release),
        _ => Check::fails(
            "kernel",
            format!("{release}, and {} is the oldest that works", kernel::OLDEST),
            "boot a newer kernel",
        ),
    }
}

fn check_btf() -> Check {
    let path = "/sys/kernel/btf/vmlinux";
    if Path::new(path).exists() {
        return Check::ok("kernel types", path);
    }
    Check::fails(
        "kernel types",
        format!("{path} is missing"),
        "use a kernel built with CONFIG_DEBUG_INFO_BTF=y",
    )
}

fn check_lockdown() -> Check {
    match kernel::lockdown().as_deref() {
        Some("confidentiality") => Check::limited(
            "lockdown",
            "confidentiality: only sleepable programs may read user memory (6.1 and newer)",
            "nothing to do if the programs below load as sleepable",
        ),
        Some(mode) => Check::ok("lockdown", mode),
        None => Check::ok("lockdown", "none"),
    }
}

fn check_capabilities() -> Check {
    let missing = privilege::missing();
    if missing.is_empty() {
        return Check::ok("capabilities", "all that this kernel asks for");
    }
    let needed = privilege::needed();
    let uses: Vec<_> =
        needed.iter().map(|(capability, use_)| format!("{capability}: {use_}")).collect();
    let list = needed
        .iter()
        .map(|(capability, _)| capability.to_string().to_lowercase())
        .collect::<Vec<_>>()
        .join(",");
    Check::fails(
        "capabilities",
        format!("missing {} ({})", missing.join(", "), uses.join("; ")),
        format!("sudo wstap ..., or: sudo setcap {list}+ep $(command -v wstap)"),
    )
}

/// Loads the programs, which is the only way to know.
fn check_programs() -> Vec<Check> {
    let settings = Settings {
        ring_bytes: 64 << 10,
        window_bytes: 4096,
        connections: 16,
        wakeup: Wakeup::Batched,
        watch_execs: false,
    };
    match with_tap(&settings, |tap| Ok(tap.flavour())) {
        Ok(flavour) => vec![
            Check::ok("programs", "load"),
            check_sleepable(flavour),
            check_loop(flavour),
            check_links(flavour),
        ],
        Err(error) => {
            vec![Check::fails("programs", error.to_string(), "see the checks above")]
        }
    }
}

fn check_sleepable(flavour: Flavour) -> Check {
    if flavour.sleepable {
        return Check::ok("paging", "buffers that are paged out are read all the same");
    }
    Check::limited(
        "paging",
        "programs are not sleepable: buffers that are paged out are lost (and counted)",
        "kernel 6.1 or newer",
    )
}

fn check_loop(flavour: Flavour) -> Check {
    if flavour.bounded_loop {
        return Check::ok("large calls", "copied whole, or hopped over frame by frame");
    }
    Check::limited(
        "large calls",
        "no bpf_loop(): of calls beyond 384 KiB the rest is lost (and counted)",
        "kernel 5.17 or newer",
    )
}

fn check_links(flavour: Flavour) -> Check {
    if flavour.multi {
        return Check::ok("links", "uprobe_multi: no CAP_SYS_ADMIN needed");
    }
    Check::limited(
        "links",
        "perf events: CAP_SYS_ADMIN needed to attach",
        "kernel 6.6 or newer has uprobe_multi",
    )
}
