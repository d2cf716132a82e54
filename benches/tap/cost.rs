//! The time that a tap adds to each TLS call.

use std::collections::BTreeMap;
use std::fs;

use wstap_symbols::{Options, SitePreference};

use crate::empty::Empty;
use crate::program::{Dialogue, Wstap, this};

/// Rounds of each mode; the modes take turns, and the median of each is told.
const ROUNDS: usize = 7;
const SIZES: [usize; 3] = [128, 4 << 10, 16 << 10];

/// What is attached while a round runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mode {
    None,
    Empty,
    Wstap,
    Symbol,
}

impl Mode {
    const ALL: [Self; 4] = [Self::None, Self::Empty, Self::Wstap, Self::Symbol];

    fn name(self) -> &'static str {
        match self {
            Self::None => "no probes",
            Self::Empty => "empty probes at wstap's sites",
            Self::Wstap => "wstap",
            Self::Symbol => "wstap --probe-site=symbol",
        }
    }

    /// One round under this mode: nanoseconds of a write and of a read.
    fn round(self, target: &mut Dialogue, size: usize) -> [f64; 2] {
        let pid = target.pid();
        match self {
            Self::None => ask(target, size),
            Self::Empty => {
                let _probes = Empty::attach(pid, Options { site: SitePreference::Cheapest });
                ask(target, size)
            }
            Self::Wstap => {
                let _tap = Wstap::attach(pid, &[]);
                ask(target, size)
            }
            Self::Symbol => {
                let _tap = Wstap::attach(pid, &["--probe-site", "symbol"]);
                ask(target, size)
            }
        }
    }
}

fn ask(target: &mut Dialogue, size: usize) -> [f64; 2] {
    // The first round after a change runs cold.
    target.ask(&size.to_string());
    let answer = target.ask(&size.to_string());
    let mut numbers = answer.split(' ').map(|number| number.parse().unwrap());
    [numbers.next().unwrap(), numbers.next().unwrap()]
}

/// Prints the table.
pub(crate) fn measure() {
    let (mut target, _) = Dialogue::start(&mut this(&["pingpong"]));
    println!("\nadded time per TLS call, ns (TLS 1.3 over memory, medians of {ROUNDS} rounds)\n");
    println!(
        "{:>6}  {:30} {:>9} {:>9}  {:>8} {:>8}",
        "bytes", "attached", "write", "read", "x floor", "x symbol"
    );
    for size in SIZES {
        let mut rounds: BTreeMap<Mode, Vec<[f64; 2]>> = BTreeMap::new();
        for _ in 0..ROUNDS {
            for mode in Mode::ALL {
                rounds.entry(mode).or_default().push(mode.round(&mut target, size));
            }
        }
        let medians: BTreeMap<Mode, [f64; 2]> = rounds
            .iter()
            .map(|(mode, values)| (*mode, [0, 1].map(|i| median(values, i))))
            .collect();
        print(size, &medians);
    }
    program_time(&mut target);
}

fn median(values: &[[f64; 2]], index: usize) -> f64 {
    let mut values: Vec<f64> = values.iter().map(|value| value[index]).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn print(size: usize, medians: &BTreeMap<Mode, [f64; 2]>) {
    let added = |mode: Mode| [0, 1].map(|i| medians[&mode][i] - medians[&Mode::None][i]);
    let both = |mode: Mode| added(mode).iter().sum::<f64>();
    for mode in Mode::ALL {
        let [write, read] = if mode == Mode::None { medians[&mode] } else { added(mode) };
        print!("{size:>6}  {:30} {write:>9.0} {read:>9.0}", mode.name());
        if mode == Mode::Wstap {
            let floor = both(mode) / both(Mode::Empty);
            print!("  {floor:>8.2} {:>8.3}", both(mode) / both(Mode::Symbol));
        }
        println!();
    }
}

/// The kernel's own measurement of the programs, with 128 bytes captured.
fn program_time(target: &mut Dialogue) {
    let switch = "/proc/sys/kernel/bpf_stats_enabled";
    let before = fs::read_to_string(switch).unwrap();
    let tap = Wstap::attach(target.pid(), &[]);
    ask(target, 128);
    fs::write(switch, "1").unwrap();
    ask(target, 128);
    let stats = program_stats(tap.pid());
    fs::write(switch, before.trim()).unwrap();
    println!("\nBPF program time at 128 bytes (bpf_stats)\n");
    let mut pair = 0.0;
    for (name, runs, ns) in stats {
        let each = ns as f64 / runs as f64;
        println!("  {name:12} {runs:>8} runs {each:>6.0} ns each");
        pair += each;
    }
    println!("  entry + return {pair:>23.0} ns");
}

/// Name, runs and nanoseconds of each program that process `pid` holds and that has run.
fn program_stats(pid: u32) -> Vec<(String, u64, u64)> {
    let mut stats = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap().flatten() {
        let info = fs::read_to_string(entry.path()).unwrap_or_default();
        let field = |key: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
            line.and_then(|value| value.trim().parse::<u64>().ok())
        };
        let (Some(id), Some(runs), Some(ns)) =
            (field("prog_id"), field("run_cnt"), field("run_time_ns"))
        else {
            continue;
        };
        stats.insert(id, (runs, ns));
    }
    // Entry and return run with every call, all others rarely; entry was loaded first.
    let busiest = stats.values().map(|(runs, _)| *runs).max().unwrap_or(0);
    let busy = stats.into_values().filter(|(runs, _)| *runs * 2 > busiest);
    ["entry", "return"]
        .map(String::from)
        .into_iter()
        .zip(busy)
        .map(|(n, (r, t))| (n, r, t))
        .collect()
}
