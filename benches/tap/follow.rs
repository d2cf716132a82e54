//! How much wstap can follow, and what it takes itself.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::cost::median;
use crate::program::{Dialogue, Wstap, peer, this};

const SECONDS: u64 = 4;

/// Prints the tables.
pub(crate) fn measure() {
    rates();
    echo();
    connections();
    start();
}

/// Messages of 128 bytes from four connections to a tapped server.
fn rates() {
    println!("\nmessages a second into a tapped server, default settings, {SECONDS} s each\n");
    println!(
        "{:>9} {:>9} {:>9} {:>9} {:>14}",
        "asked", "sent/s", "seen/s", "lost", "cpu/10,000 ms"
    );
    for rate in [10_000, 40_000, 80_000] {
        let (server, port) = Dialogue::start(&mut this(&["server"]));
        let (mut client, _) = Dialogue::start(&mut this(&["client", &port, "4"]));
        let tap = Wstap::attach(server.pid(), &[]);
        let (began, cpu) = (Instant::now(), cpu_seconds(tap.pid()));
        let sent: f64 = client.ask(&format!("{rate} {SECONDS}")).parse().unwrap();
        let took = began.elapsed().as_secs_f64();
        let (seen, lost) = settled(&tap);
        let cpu = (cpu_seconds(tap.pid()) - cpu) / sent * 1e4 * 1e3;
        println!("{rate:>9} {:>9.0} {:>9.0} {lost:>9} {cpu:>14.2}", sent / took, seen / took);
    }
}

/// What a server that echoes still does when it is tapped. While its sockets may carry more than TLS they are
/// tapped as well; they are left alone after a minute, which is measured as if they had been from the start.
fn echo() {
    const ROUNDS: usize = 5;
    let (server, port) = Dialogue::start(&mut this(&["server"]));
    let (mut client, _) = Dialogue::start(&mut this(&["asker", &port, "8"]));
    let mut answers = || client.ask("2").parse::<f64>().unwrap() / 2.0;
    answers();
    let (mut without, mut first, mut later) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        without.push(answers());
        for (arguments, rounds) in [(&[][..], &mut first), (&["--plain", "off"], &mut later)] {
            let _tap = Wstap::attach(server.pid(), arguments);
            rounds.push(answers());
        }
    }
    let [without, first, later] = [without, first, later].map(|rounds| median(rounds).unwrap());
    println!("\nechoes of 128 bytes a second over 8 connections (medians of {ROUNDS} rounds)\n");
    println!("  without               {without:>9.0}");
    println!("  in the first minute   {first:>9.0}  ({:.3})", first / without);
    println!("  later                 {later:>9.0}  ({:.3})", later / without);
}

/// What has arrived once nothing more does.
fn settled(tap: &Wstap) -> (f64, f64) {
    let mut before = -1.0;
    loop {
        let metrics = tap.get("/metrics");
        let seen = value(&metrics, "packet_recv_count");
        if seen == before {
            return (seen, value(&metrics, "wstap_lost_records_total"));
        }
        before = seen;
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn connections() {
    println!("\nmemory with that many connections, upgraded and idle\n");
    println!("{:>11} {:>10}", "connections", "RSS MiB");
    for count in [100, 1_000, 10_000] {
        let (server, port) = Dialogue::start(&mut with_files(&["server"]));
        let tap = Wstap::attach(server.pid(), &[]);
        let count = count.to_string();
        let (_client, _) = Dialogue::start(&mut with_files(&["client", &port, &count]));
        settled(&tap);
        let metrics = tap.get("/metrics");
        let resident = value(&metrics, "process_resident_memory_bytes") / f64::from(1 << 20);
        println!("{:>11} {resident:>10.1}", value(&metrics, "wstap_connections"));
    }
}

/// This benchmark in a role that needs many file descriptors.
fn with_files(role: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 16384 && exec \"$@\"", "sh"]);
    command.arg(std::env::current_exe().unwrap()).args(role);
    command
}

/// From starting wstap to its probes being in a large static binary.
fn start() {
    let Some(mut node) = peer("peers/node") else {
        println!("\nstart: skipped: node is not there (make deps-test)");
        return;
    };
    let mut node = node.args(["-e", "setInterval(() => {}, 1e6)"]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let mut times: Vec<Duration> = (0..5)
        .map(|_| {
            let began = Instant::now();
            let tap = Wstap::attach(node.id(), &[]);
            let took = began.elapsed();
            drop(tap);
            took
        })
        .collect();
    times.sort_unstable();
    println!("\nstart to attached, node: {} ms (median of 5)", times[2].as_millis());
    let _ = node.kill();
    let _ = node.wait();
}

/// Processor time of a process so far, by the scheduler's own count of each thread (`sched-stats.rst`). What
/// `/proc/PID/stat` says is sampled by the very timer that wakes wstap.
fn cpu_seconds(pid: u32) -> f64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let nanoseconds = threads.filter_map(|thread| {
        let stat = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        stat.split(' ').next()?.parse::<f64>().ok()
    });
    nanoseconds.sum::<f64>() / 1e9
}

/// Sum over the series of one metric.
fn value(metrics: &str, name: &str) -> f64 {
    let of_name =
        |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
    let values = metrics.lines().filter(of_name).filter_map(|line| line.rsplit_once(' '));
    values.map(|(_, value)| value.parse::<f64>().unwrap()).sum()
}

impl Wstap {
    fn get(&self, path: &str) -> String {
        let mut answer = ureq::get(format!("http://{}{path}", self.address))
            .config()
            .proxy(None)
            .build()
            .call()
            .unwrap();
        answer.body_mut().read_to_string().unwrap()
    }
}
