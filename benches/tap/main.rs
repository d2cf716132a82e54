//! `make bench`: what the tap costs the tapped process, and how much it can follow.
//!
//! Every figure of the README comes from here. The machine is named and ratios are taken within
//! one run, round by round in turn, because machines are noisy. Needs root.
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![allow(clippy::unwrap_used, reason = "a benchmark may give up")]

mod bpftrace;
mod cost;
mod empty;
mod follow;
mod pingpong;
mod program;
mod sockets;
mod workload;

use std::env;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["pingpong"] => pingpong::run(),
        ["socket"] => sockets::talk(),
        ["sockets"] => sockets::measure(),
        ["server"] => workload::serve(),
        ["client", port, connections] => workload::connect(port, connections),
        ["asker", port, connections] => workload::ask(port, connections),
        // One half alone: `cargo bench --bench tap -- cost`.
        ["cost", ..] => cost::measure(),
        ["follow", ..] => follow::measure(),
        _ => measure(),
    }
}

fn measure() {
    println!("machine: {}", machine());
    cost::measure();
    sockets::measure();
    follow::measure();
}

fn machine() -> String {
    let field = |file: &str, key: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default().to_owned();
        line.split_once(':').map_or(line.clone(), |(_, value)| value.trim().to_owned())
    };
    format!(
        "{} x {} ({}), Linux {}\nmitigations: {}",
        std::thread::available_parallelism().map_or(0, usize::from),
        field("/proc/cpuinfo", "model name"),
        field("/proc/cpuinfo", "vendor_id"),
        std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
        mitigations().join("; ")
    )
}

/// What the kernel does against each flaw of the processor: every trap and every call in the kernel
/// may cost more for it.
fn mitigations() -> Vec<String> {
    let folder = "/sys/devices/system/cpu/vulnerabilities";
    let mut found: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|flaw| {
            let told = std::fs::read_to_string(flaw.path()).ok()?;
            let mitigation = told.trim().strip_prefix("Mitigation: ")?.to_owned();
            Some(format!("{}: {mitigation}", flaw.file_name().to_string_lossy()))
        })
        .collect();
    found.sort();
    found
}
