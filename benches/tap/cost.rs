//! The time that a tap adds to each TLS message.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::bpftrace::Bpftrace;
use crate::empty::{Empty, Sites};
use crate::program::{Dialogue, Wstap, peer, this};

/// Rounds of each mode. The modes take turns; the median of each is printed.
const ROUNDS: usize = 5;
/// Most rounds, where those before were disturbed.
const MAX_ROUNDS: usize = 10;
/// What a mode adds is believed if the quartiles of its rounds differ by no more than this part of their
/// median.
const STEADY: f64 = 0.25;
/// The modes of which a ratio is printed, and the floors. Where they were disturbed only these have more rounds.
const COMPARED: [Mode; 4] = [Mode::Empty, Mode::TwoEmpty, Mode::Wstap, Mode::WholeWindow];
/// Messages, as the ping-pong is asked for them.
const MESSAGES: [&str; 4] = ["128", "4096", "16384", "4096 plain"];

/// Who is tapped.
#[derive(Clone, Copy, Debug)]
enum Target {
    Shared,
    Vendored,
    Node,
}

impl Target {
    const ALL: [Self; 3] = [Self::Shared, Self::Vendored, Self::Node];

    fn name(self) -> &'static str {
        match self {
            Self::Shared => "libssl.so as installed (TLS 1.3)",
            Self::Vendored => "vendored OpenSSL in a Rust program (TLS 1.3)",
            Self::Node => "OpenSSL in the node executable (TLS 1.2)",
        }
    }

    /// Starts its ping-pong; `None` if it is not there.
    fn start(self) -> Option<Dialogue> {
        let mut command = match self {
            Self::Shared => this(&["pingpong"]),
            Self::Vendored => peer("vendored/release/vendored-pingpong")?,
            Self::Node => {
                let mut node = peer("peers/node")?;
                node.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/tap/pingpong.js"));
                node
            }
        };
        Some(Dialogue::start(&mut command).0)
    }
}

/// What is attached while a round runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mode {
    None,
    Empty,
    TwoEmpty,
    Wstap,
    WholeWindow,
    Symbol,
    Bpftrace,
}

impl Mode {
    const ALL: [Self; 7] = [
        Self::None,
        Self::Empty,
        Self::TwoEmpty,
        Self::Wstap,
        Self::WholeWindow,
        Self::Symbol,
        Self::Bpftrace,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::None => "no probes: the message itself",
            Self::Empty => "empty probes at wstap's sites",
            Self::TwoEmpty => "empty probes, two for each call",
            Self::Wstap => "wstap",
            Self::WholeWindow => "wstap --window 64k",
            Self::Symbol => "wstap --probe-site=symbol",
            Self::Bpftrace => "bpftrace counting at the symbols",
        }
    }

    /// One round under this mode; `None` if there is no such program.
    fn round(self, target: &mut Dialogue, message: &str) -> Option<f64> {
        let pid = target.pid();
        match self {
            Self::None => Some(ask(target, message)),
            Self::Empty => {
                let _probes = Empty::attach(pid, Sites::Own)?;
                Some(ask(target, message))
            }
            Self::TwoEmpty => {
                let _probes = Empty::attach(pid, Sites::TwoForEachCall)?;
                Some(ask(target, message))
            }
            Self::Wstap => {
                let _tap = Wstap::attach(pid, &[]);
                Some(ask(target, message))
            }
            Self::WholeWindow => {
                let _tap = Wstap::attach(pid, &["--window", "64k"]);
                Some(ask(target, message))
            }
            Self::Symbol => {
                let _tap = Wstap::attach(pid, &["--probe-site", "symbol"]);
                Some(ask(target, message))
            }
            Self::Bpftrace => {
                let _script = Bpftrace::attach(pid)?;
                Some(ask(target, message))
            }
        }
    }
}

/// Nanoseconds of one message.
fn ask(target: &mut Dialogue, message: &str) -> f64 {
    // The first round after a change runs cold.
    target.ask(message);
    target.ask(message).parse().unwrap()
}

/// Prints the tables.
pub(crate) fn measure() {
    println!("\nadded time per message, written and read, ns (medians of {ROUNDS} rounds)");
    for target in Target::ALL {
        println!("\n{}\n", target.name());
        let Some(mut process) = target.start() else {
            println!("skipped: it is not built (make deps-test deps-bench)");
            continue;
        };
        println!(
            "{:>10}  {:34} {:>9}  {:>8} {:>8} {:>8}",
            "bytes", "", "ns", "x floor", "x two", "x symbol"
        );
        for message in MESSAGES {
            print(message, &medians(&mut process, message));
        }
        program_time(&mut process);
    }
}

/// What a message takes without probes, what each mode adds, and which of them added about the same in
/// most rounds.
struct Medians {
    alone: f64,
    added: BTreeMap<Mode, f64>,
    steady: BTreeSet<Mode>,
}

/// Runs rounds until what is compared is steady, and no more than [`MAX_ROUNDS`].
fn medians(process: &mut Dialogue, message: &str) -> Medians {
    let mut rounds: BTreeMap<Mode, Vec<f64>> = BTreeMap::new();
    for round in 1..=MAX_ROUNDS {
        let is_due =
            |mode: &Mode| round <= ROUNDS || *mode == Mode::None || COMPARED.contains(mode);
        for mode in Mode::ALL.into_iter().filter(is_due) {
            rounds.entry(mode).or_default().extend(mode.round(process, message));
        }
        if round >= ROUNDS && COMPARED.iter().all(|&mode| is_steady(&rounds, mode)) {
            break;
        }
    }
    let steady = COMPARED.into_iter().filter(|&mode| is_steady(&rounds, mode)).collect();
    let added = rounds.keys().filter_map(|&mode| Some((mode, median(added(&rounds, mode))?)));
    let added = added.collect();
    Medians { alone: median(rounds[&Mode::None].clone()).unwrap(), added, steady }
}

/// What a mode added in each round, beside the message alone of the same round.
fn added(rounds: &BTreeMap<Mode, Vec<f64>>, mode: Mode) -> Vec<f64> {
    let pairs = rounds[&mode].iter().zip(&rounds[&Mode::None]);
    pairs.map(|(with, without)| with - without).collect()
}

/// Whether a mode added about the same in most rounds.
fn is_steady(rounds: &BTreeMap<Mode, Vec<f64>>, mode: Mode) -> bool {
    let mut added = added(rounds, mode);
    // One that is not to be had disturbs nothing.
    if added.is_empty() {
        return true;
    }
    added.sort_by(f64::total_cmp);
    let quartile = |part: usize| added[added.len() * part / 4];
    let middle = quartile(2);
    middle > 0.0 && quartile(3) - quartile(1) <= STEADY * middle
}

pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn print(message: &str, medians: &Medians) {
    for mode in Mode::ALL {
        let Some(&added) = medians.added.get(&mode) else {
            println!("{message:>10}  {:34} skipped: not to be had", mode.name());
            continue;
        };
        let ns = if mode == Mode::None { medians.alone } else { added };
        print!("{message:>10}  {:34} {ns:>9.0}", mode.name());
        if matches!(mode, Mode::Wstap | Mode::WholeWindow) {
            print_ratios(mode, ns, medians);
        }
        println!();
    }
}

/// In multiples of the floors, and of wstap at the symbols. No ratio is printed with what was disturbed.
fn print_ratios(mode: Mode, ns: f64, medians: &Medians) {
    let ratio = |floor: Mode| {
        let is_steady = [floor, mode].iter().all(|it| medians.steady.contains(it));
        match medians.added.get(&floor) {
            Some(added) if is_steady => format!("{:.2}", ns / added),
            Some(_) => "disturbed".into(),
            None => "-".into(),
        }
    };
    let symbol = ns / medians.added[&Mode::Symbol];
    print!("  {:>8} {:>8} {symbol:>8.3}", ratio(Mode::Empty), ratio(Mode::TwoEmpty));
}

/// The kernel's own measurement of the programs, with 128 bytes captured, and of empty ones: the
/// measurement itself takes a part of that.
fn program_time(target: &mut Dialogue) {
    let tap = Wstap::attach(target.pid(), &[]);
    let each = program_times(target, tap.pid());
    drop(tap);
    println!(
        "\nBPF program time at 128 bytes (bpf_stats): {:.0} ns = {} (entry + return)",
        each.iter().sum::<f64>(),
        each.iter().map(|ns| format!("{ns:.0}")).collect::<Vec<_>>().join(" + ")
    );
    let Some(_probes) = Empty::attach(target.pid(), Sites::Own) else { return };
    let empty = program_times(target, std::process::id());
    println!("of an empty program: {:.0} ns", median(empty).unwrap_or(f64::NAN));
}

/// What each program of process `pid` takes for one run, in nanoseconds.
fn program_times(target: &mut Dialogue, pid: u32) -> Vec<f64> {
    let switch = "/proc/sys/kernel/bpf_stats_enabled";
    let before = fs::read_to_string(switch).unwrap();
    ask(target, "128");
    fs::write(switch, "1").unwrap();
    ask(target, "128");
    let stats = program_stats(pid);
    fs::write(switch, before.trim()).unwrap();
    stats.iter().map(|(runs, ns)| *ns as f64 / *runs as f64).collect()
}

/// Runs and nanoseconds of the programs of process `pid` that run with every call: entry, then
/// return.
fn program_stats(pid: u32) -> Vec<(u64, u64)> {
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
    // All others run rarely; entry was loaded first.
    let busiest = stats.values().map(|(runs, _)| *runs).max().unwrap_or(0);
    stats.into_values().filter(|(runs, _)| *runs * 2 > busiest).collect()
}
