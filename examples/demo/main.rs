//! `make demo`: wstap on a real wss workload, from nothing to a table of turnaround times.
//!
//! Starts a JSON-RPC server and a client that talk over TLS (the system's OpenSSL, by way of
//! tokio-tungstenite), taps the server with wstap, shows the counts for a few seconds, and prints
//! what Prometheus would see. Every process it starts it also ends.

mod certificate;
mod peer;
mod watch;
mod workload;

use std::env;
use std::error::Error;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};

use rustix::process::{Pid, Signal, kill_process};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["server"] => workload::serve(),
        ["client", port] => workload::connect(port),
        [wstap] => demo(wstap),
        _ => Err("usage: demo PATH-OF-WSTAP".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn demo(wstap: &str) -> Result<()> {
    let (server, port) = Running::with_first_line(this_program("server")?)?;
    println!("a wss server runs: pid {}, port {port}", server.pid());
    let client = Running::start(this_program("client")?.arg(&port))?;
    println!("a client runs: pid {}, several connections, both sides ask", client.pid());

    let mut tap = Command::new(wstap);
    tap.args(["--pid", &server.pid().to_string(), "--listen", "127.0.0.1:0", "--quiet"]);
    println!("\n$ sudo wstap --pid {}", server.pid());
    let (tap, line) = Running::with_first_line(tap)?;
    println!("{line}");
    let (_, url) = line.split_once("http://").ok_or("wstap did not say where it serves")?;
    let seen = watch::show(url.trim_end_matches("/metrics"));
    drop(tap);
    drop(server);
    drop(client);
    seen
}

fn this_program(role: &str) -> Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command.arg(role);
    Ok(command)
}

/// A child process that ends with this value.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Result<Self> {
        Ok(Self(command.spawn()?))
    }

    /// Starts a program that says on its first line where it listens.
    fn with_first_line(mut command: Command) -> Result<(Self, String)> {
        let mut running = Self::start(command.stdout(Stdio::piped()))?;
        let mut line = String::new();
        let output = running.0.stdout.take().ok_or("no standard output")?;
        BufReader::new(output).read_line(&mut line)?;
        let line = line.trim();
        if line.is_empty() {
            return Err(format!("{command:?} ended before it was ready").into());
        }
        Ok((running, line.to_owned()))
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Its pid is ours until it has been waited for, so it cannot hit another process.
        if kill_process(Pid::from_child(&self.0), Signal::TERM).is_ok() {
            let _ = self.0.wait();
        }
    }
}
