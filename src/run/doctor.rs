//! `wstap doctor`: tries what wstap needs on this machine, and says what works and what to do about
//! the rest.

use std::io::{self, Write};
use std::{fs, thread};

use serde::Serialize;

use super::Failure;
use super::refused::{Cause, Refused};
use crate::capture::bpf::{Flavour, Settings, Tap, with_tap};
use crate::capture::confine::privilege;
use crate::capture::confine::sandbox::{self, Task};
use crate::capture::{Error, kernel};
use crate::config::DEFAULT_CONNECTIONS;
use crate::terminal::Page;

/// The result of one check.
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
/// A check of something that wstap cannot do without has failed (exit code 3).
pub(super) fn run(json: bool) -> Result<(), Failure> {
    let mut checks = vec![check_kernel(), check_btf(), check_lockdown(), check_capabilities()];
    checks.extend(check_programs());
    checks.extend([check_processes(), check_files(), check_deleted_files(), check_sandbox()]);
    checks.push(check_connections());
    let mut out = Page::new(!json);
    for check in &checks {
        if json {
            writeln!(out, "{}", serde_json::to_string(check)?)?;
        } else {
            print(&mut out, check)?;
        }
    }
    out.show()?;
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

/// An old release is only a warning: distributions backport, and the later checks try what works.
fn check_kernel() -> Check {
    let release = kernel::release();
    match kernel::parse_release(&release) {
        Some(version) if version >= kernel::OLDEST => Check::ok("kernel", release),
        _ => Check::limited(
            "kernel",
            format!("{release}: below {} only kernels with backports work", kernel::OLDEST),
            "nothing to do if the programs below load; else boot a newer kernel",
        ),
    }
}

fn check_btf() -> Check {
    match kernel::missing_types() {
        None => Check::ok("kernel types", kernel::TYPES),
        Some((found, remedy)) => Check::fails("kernel types", found, remedy),
    }
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

/// Loads the BPF programs: nothing less shows whether the kernel's verifier accepts them.
fn check_programs() -> Vec<Check> {
    match with_tap(&Settings::TRIAL, |tap| Ok((tap.flavour(), try_all(tap)))) {
        Ok((flavour, tried)) => {
            let mut checks = vec![
                Check::ok("programs", "load"),
                check_sleepable(flavour),
                check_loop(flavour),
                check_links(flavour),
            ];
            checks.extend(tried);
            checks
        }
        // The check of the types has said what to do.
        Err(Error::Kernel(_)) if kernel::missing_types().is_some() => {
            vec![Check::fails("programs", "do not load without the kernel types", "")]
        }
        Err(error) => {
            vec![Check::fails("programs", error.to_string(), "see the checks above")]
        }
    }
}

/// Attaches for a moment: to wstap itself, and to the kernel's tracepoints.
fn try_all(tap: &Tap<'_>) -> [Check; 3] {
    let check = |name, outcome: Result<(), Error>, found| match outcome {
        Ok(()) => Check::ok(name, found),
        Err(error) => Check::fails(name, error.to_string(), "see the capabilities above"),
    };
    [
        check("attaching", tap.try_attach(), "a probe in wstap itself was placed and removed"),
        check(
            "processes",
            tap.watch_processes().map(drop),
            "the kernel reports forks, execs and exits as they happen",
        ),
        check_sockets(tap),
    ]
}

fn check_sockets(tap: &Tap<'_>) -> Check {
    match tap.attach_sockets() {
        Ok(_) => Check::ok("plain ws://", "TCP sockets can be tapped"),
        Err(error) => Check::limited(
            "plain ws://",
            error.to_string(),
            "kernel 6.3 or newer, not locked down to confidentiality",
        ),
    }
}

/// Tries to look into every process, as `wstap ps` does.
fn check_processes() -> Check {
    let name = "others";
    if kernel::sees_all_processes() == Some(false) {
        return Check::fails(
            name,
            "/proc shows the processes of a container only",
            "docker run --pid=host; in Kubernetes hostPID: true",
        );
    }
    let refused = match Refused::find() {
        Ok(refused) => refused,
        Err(error) => return Check::fails(name, format!("/proc: {error}"), "mount /proc"),
    };
    match refused.cause() {
        None => Check::ok(name, "processes of other users can be looked into"),
        Some(Cause::Capability) => {
            Check::limited(name, refused.sentence(Cause::Capability), "add CAP_SYS_PTRACE")
        }
        Some(cause) => Check::limited(name, refused.sentence(cause), cause.remedy()),
    }
}

/// A bound that nothing on the machine sets. docs/cost.md has the measured memory.
fn check_connections() -> Check {
    let found = format!(
        "at most {DEFAULT_CONNECTIONS} are followed at the same time, others are counted in \
         wstap_lost_bytes_total; --connections N sets another bound, at 0.3 KiB of kernel memory for \
         each place and 2 to 3 KiB of wstap's own for each connection that is open"
    );
    Check::ok("connections", found)
}

fn check_files() -> Check {
    // The kernel gives this folder mode 0500 for every process, so it tests the capability.
    match fs::read_dir("/proc/1/map_files") {
        Ok(_) => Check::ok("files", "files that only their owner may read can be opened"),
        Err(error) => Check::limited(
            "files",
            format!("libraries and programs must be readable for everyone: {error}"),
            "add CAP_DAC_READ_SEARCH",
        ),
    }
}

fn check_deleted_files() -> Check {
    match privilege::missing_welcome() {
        None => Check::ok("deleted files", "found through /proc/PID/map_files"),
        Some((capability, what_for)) => Check::limited(
            "deleted files",
            format!("cannot {what_for}"),
            format!("add {capability}"),
        ),
    }
}

/// Enters the sandbox on a thread of its own, because a thread cannot leave it again.
fn check_sandbox() -> Check {
    let entered = thread::spawn(|| sandbox::enter(Task::Serve)).join();
    match entered {
        Ok(Ok(())) => Check::ok("sandbox", "seccomp, and what this kernel has of Landlock"),
        Ok(Err(error)) => Check::limited("sandbox", error.to_string(), "run with --no-sandbox"),
        Err(_) => Check::limited("sandbox", "entering it panicked", "run with --no-sandbox"),
    }
}

fn check_sleepable(flavour: Flavour) -> Check {
    if flavour.sleepable {
        return Check::ok("paging", "buffers that are paged out are read as well");
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
        "no bpf_loop(): what a call passes beyond 384 KiB is lost (and counted), and HTTP/2 that \
         may carry WebSockets is copied whole",
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
