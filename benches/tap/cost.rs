//! The time that a tap adds to each TLS message.

use std::any::Any;
use std::collections::BTreeMap;
use std::fs;

use crate::bpftrace::Bpftrace;
use crate::empty::{Empty, Sites};
use crate::program::{Dialogue, Wstap, on_one_processor, peer, this};

/// Undisturbed rounds of each mode of which a ratio is printed.
const ROUNDS: usize = 12;
/// The same of the others: they are ten times as dear, so less is asked of them.
const FEW_ROUNDS: usize = 4;
/// Rounds each time that a mode is attached. The modes take turns.
const ROUNDS_AT_ONCE: usize = 3;
/// Most turns, so that there are enough rounds that were not disturbed.
const TURNS: usize = 7;
/// A round was disturbed if the message alone took so many times as long behind it as before it, or the other
/// way round.
const DISTURBED: f64 = 1.1;
/// What a mode adds is believed if the quartiles of its rounds differ by no more than this part of their
/// median.
const STEADY: f64 = 0.25;
/// The modes of which a ratio is printed, and the floors.
const COMPARED: [Mode; 4] = [Mode::Empty, Mode::TwoEmpty, Mode::Wstap, Mode::WholeWindow];
/// Messages, as the ping-pong is asked for them.
const MESSAGES: [&str; 4] = ["128", "4096", "16384", "4096 plain"];
/// Messages for which the time of the programs is asked: the first is a frame without payload.
const TIMED_BY_KERNEL: [&str; 3] = ["6", "128", "4096"];

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

    /// What it is asked for. What a message takes in Node.js moves by more than what is added, so two must do.
    fn messages(self) -> &'static [&'static str] {
        match self {
            Self::Node => &MESSAGES[..2],
            _ => &MESSAGES,
        }
    }

    /// Starts its ping-pong; `None` if it is not there.
    fn start(self) -> Option<Dialogue> {
        let command = match self {
            Self::Shared => this(&["pingpong"]),
            Self::Vendored => peer("vendored/release/vendored-pingpong")?,
            Self::Node => {
                let mut node = peer("peers/node")?;
                node.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/tap/pingpong.js"));
                node
            }
        };
        Some(Dialogue::start(&mut on_one_processor(&command)).0)
    }
}

/// Two processes that do the same on the same processor, of which one is tapped. The other one tells at any time
/// how fast that processor is just then.
struct Twins {
    tapped: Dialogue,
    alone: Dialogue,
}

impl Twins {
    fn start(target: Target) -> Option<Self> {
        Some(Self { tapped: target.start()?, alone: target.start()? })
    }
}

/// What is attached while a round runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mode {
    Empty,
    TwoEmpty,
    Wstap,
    WholeWindow,
    Symbol,
    Bpftrace,
}

impl Mode {
    const ALL: [Self; 6] =
        [Self::Empty, Self::TwoEmpty, Self::Wstap, Self::WholeWindow, Self::Symbol, Self::Bpftrace];

    fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty probes at wstap's sites",
            Self::TwoEmpty => "empty probes, two for each call",
            Self::Wstap => "wstap",
            Self::WholeWindow => "wstap --window 64k",
            Self::Symbol => "wstap --probe-site=symbol",
            Self::Bpftrace => "bpftrace counting at the symbols",
        }
    }

    /// Undisturbed rounds that are to be had.
    fn rounds(self) -> usize {
        if COMPARED.contains(&self) { ROUNDS } else { FEW_ROUNDS }
    }

    /// Whether its probes are in every process that has the file, whoever is asked about.
    fn is_in_all_processes(self) -> bool {
        self == Self::Bpftrace
    }

    /// Attaches it to process `pid`, until the result is dropped; `None` if there is no such program.
    fn attach(self, pid: u32) -> Option<Box<dyn Any>> {
        let wstap = |arguments: &[&str]| Box::new(Wstap::attach(pid, arguments));
        Some(match self {
            Self::Empty => Box::new(Empty::attach(pid, Sites::Own)?),
            Self::TwoEmpty => Box::new(Empty::attach(pid, Sites::TwoForEachCall)?),
            Self::Wstap => wstap(&[]),
            Self::WholeWindow => wstap(&["--window", "64k"]),
            Self::Symbol => wstap(&["--probe-site", "symbol"]),
            Self::Bpftrace => Box::new(Bpftrace::attach(pid)?),
        })
    }
}

/// Nanoseconds of one message.
fn ask(target: &mut Dialogue, message: &str) -> f64 {
    target.ask(message).parse().unwrap()
}

/// Prints the tables.
pub(crate) fn measure() {
    println!("\nadded time per message, written and read, ns (medians of {ROUNDS} rounds)");
    for target in Target::ALL {
        println!("\n{}\n", target.name());
        let Some(mut twins) = Twins::start(target) else {
            println!("skipped: it is not built (make deps-test deps-bench)");
            continue;
        };
        println!(
            "{:>10}  {:34} {:>9}  {:>9} {:>9} {:>9}",
            "bytes", "", "ns", "x floor", "x two", "x symbol"
        );
        for message in target.messages() {
            print(message, &Rounds::run(&mut twins, message));
        }
        program_time(&mut twins.tapped);
    }
}

/// What the undisturbed rounds have shown.
#[derive(Default)]
struct Rounds {
    /// Nanoseconds of a message without probes, around each of them.
    alone: Vec<f64>,
    /// The time of a message in multiples of that: a processor that is slow for a while is so for both.
    multiples: BTreeMap<Mode, Vec<f64>>,
}

impl Rounds {
    /// Lets the modes take turns until there are enough rounds of each, or for [`TURNS`].
    fn run(twins: &mut Twins, message: &str) -> Self {
        let mut rounds = Self::default();
        for _ in 0..TURNS {
            for mode in Mode::ALL {
                if rounds.of(mode).len() < mode.rounds() {
                    rounds.take_turn(twins, mode, message);
                }
            }
        }
        rounds
    }

    fn take_turn(&mut self, twins: &mut Twins, mode: Mode, message: &str) {
        let mut before = ask(&mut twins.alone, message);
        let Some(attached) = mode.attach(twins.tapped.pid()) else { return };
        // The first round after a change runs cold.
        ask(&mut twins.tapped, message);
        if mode.is_in_all_processes() {
            let with = ask(&mut twins.tapped, message);
            drop(attached);
            let after = ask(&mut twins.alone, message);
            return self.note(mode, with, [before, after]);
        }
        for _ in 0..ROUNDS_AT_ONCE {
            let with = ask(&mut twins.tapped, message);
            let after = ask(&mut twins.alone, message);
            self.note(mode, with, [before, after]);
            before = after;
        }
    }

    fn of(&self, mode: Mode) -> &[f64] {
        self.multiples.get(&mode).map_or(&[], Vec::as_slice)
    }

    /// Notes a round, unless what is around it shows that it was disturbed.
    fn note(&mut self, mode: Mode, with: f64, around: [f64; 2]) {
        let multiples = self.multiples.entry(mode).or_default();
        let [low, high] = [around[0].min(around[1]), around[0].max(around[1])];
        if high > DISTURBED * low {
            return;
        }
        let alone = f64::midpoint(low, high);
        self.alone.push(alone);
        multiples.push(with / alone);
    }

    /// Nanoseconds that a mode adds to a message.
    fn added(&self, mode: Mode) -> Option<f64> {
        Some((median(self.of(mode).to_vec())? - 1.0) * median(self.alone.clone())?)
    }

    /// Whether there were enough rounds of a mode, and it added about the same in most of them.
    fn is_steady(&self, mode: Mode) -> bool {
        let mut multiples = self.of(mode).to_vec();
        multiples.sort_by(f64::total_cmp);
        let added = |part: usize| multiples[multiples.len() * part / 4] - 1.0;
        multiples.len() >= mode.rounds()
            && added(2) > 0.0
            && added(3) - added(1) <= STEADY * added(2)
    }

    /// `mode` in multiples of `floor`; nothing is told of what was disturbed.
    fn ratio(&self, mode: Mode, floor: Mode) -> String {
        let Some((added, least)) = self.added(mode).zip(self.added(floor)) else {
            return "-".into();
        };
        match [mode, floor].iter().all(|&it| self.is_steady(it)) {
            true => format!("{:.2}", added / least),
            false => "disturbed".into(),
        }
    }
}

pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn print(message: &str, rounds: &Rounds) {
    let alone = median(rounds.alone.clone()).unwrap_or(f64::NAN);
    println!("{message:>10}  {:34} {alone:>9.0}", "no probes: the message itself");
    for mode in Mode::ALL {
        print!("{message:>10}  {:34} ", mode.name());
        match rounds.added(mode) {
            Some(added) => print!("{added:>9.0}"),
            None if rounds.multiples.contains_key(&mode) => print!("every round was disturbed"),
            None => print!("skipped: not to be had"),
        }
        if matches!(mode, Mode::Wstap | Mode::WholeWindow) {
            let ratios =
                [Mode::Empty, Mode::TwoEmpty, Mode::Symbol].map(|floor| rounds.ratio(mode, floor));
            print!("  {:>9} {:>9} {:>9}", ratios[0], ratios[1], ratios[2]);
        }
        println!();
    }
}

/// The kernel's own measurement of the programs, and of empty ones: the measurement itself takes a part of that.
fn program_time(target: &mut Dialogue) {
    let tap = Wstap::attach(target.pid(), &[]);
    println!("\nBPF program time of a message (bpf_stats), ns\n");
    for message in TIMED_BY_KERNEL {
        let each = program_times(target, tap.pid(), message);
        let parts = each.iter().map(|ns| format!("{ns:.0}")).collect::<Vec<_>>().join(" + ");
        println!("{message:>10}  {:>5.0} = {parts}", each.iter().sum::<f64>());
    }
    drop(tap);
    let Some(_probes) = Empty::attach(target.pid(), Sites::Own) else { return };
    let empty = program_times(target, std::process::id(), "128");
    println!("{:>10}  {:>5.0} of an empty program", "", median(empty).unwrap_or(f64::NAN));
}

/// What each program of process `pid` takes for one run, in nanoseconds.
fn program_times(target: &mut Dialogue, pid: u32, message: &str) -> Vec<f64> {
    let switch = "/proc/sys/kernel/bpf_stats_enabled";
    let before = fs::read_to_string(switch).unwrap();
    // The first round after a change runs cold.
    ask(target, message);
    let earlier = program_stats(pid);
    fs::write(switch, "1").unwrap();
    ask(target, message);
    fs::write(switch, before.trim()).unwrap();
    busiest(&program_stats(pid), &earlier)
        .into_iter()
        .map(|(runs, ns)| ns as f64 / runs as f64)
        .collect()
}

/// Runs and nanoseconds by the id of a program.
type Stats = BTreeMap<u64, (u64, u64)>;

/// Runs and nanoseconds since `earlier` of the programs that run with every call: entry, then return.
fn busiest(now: &Stats, earlier: &Stats) -> Vec<(u64, u64)> {
    let since = now.iter().map(|(id, (runs, ns))| {
        let (runs_before, ns_before) = earlier.get(id).copied().unwrap_or_default();
        (runs - runs_before, ns - ns_before)
    });
    let since: Vec<(u64, u64)> = since.collect();
    // All others run rarely. Entry was loaded first. Node.js asks to read more often than it has read.
    let most = since.iter().map(|(runs, _)| *runs).max().unwrap_or(0);
    since.into_iter().filter(|(runs, _)| *runs * 8 > most).collect()
}

/// Runs and nanoseconds of the programs of process `pid` so far.
fn program_stats(pid: u32) -> Stats {
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
    stats
}
