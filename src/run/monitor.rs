//! The main job: tap, count, serve.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::oneshot;

use super::session::{self, Selection, Sink, Tapped, Until};
use super::{Failure, signals};
use crate::capture::tap::Loss;
use crate::config::MonitorConfig;
use crate::decode::event::TargetId;
use crate::decode::observation::Observation;
use crate::export::{self, Exporter, Metrics, Status, status};

/// Runs until a signal comes, or until the targets have ended where that was asked for.
pub(super) fn run(config: MonitorConfig) -> Result<(), Failure> {
    let Selection { names, pids } = session::select(&config.tap.pids)?;
    let listener = bind(&config)?;
    let status = Arc::new(Status::default());
    status.update(|now| {
        now.targets = names
            .iter()
            .map(|name| status::Target { name: name.to_string(), processes: Vec::new() })
            .collect();
    });
    let losses = Arc::new(Mutex::new(Vec::new()));
    let read_losses = {
        let losses = Arc::clone(&losses);
        move || losses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    };
    let metrics = Metrics::new(&names, Arc::clone(&status), read_losses)
        .map_err(|error| Failure::Runtime(format!("failed to register the metrics: {error}")))?;
    let router = export::router(Exporter::new(&metrics, Arc::clone(&status)));
    let address = listener.local_addr()?;
    let sink = MetricsSink { metrics, status, losses, check: config.check, address };
    serve(config, pids, listener, router, sink)
}

/// Listens before anything is attached: a port in use must not cost the target a probe.
fn bind(config: &MonitorConfig) -> Result<TcpListener, Failure> {
    let listen = config.listen;
    let listener = TcpListener::bind(listen).map_err(|error| {
        Failure::Runtime(format!(
            "cannot listen on {listen}: {error}; choose another address with --listen"
        ))
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

#[tokio::main(flavor = "current_thread")]
async fn serve(
    config: MonitorConfig,
    pids: Vec<(u32, TargetId)>,
    listener: TcpListener,
    router: axum::Router,
    mut sink: MetricsSink,
) -> Result<(), Failure> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut signals = signals::ended()?;
    let stop = Arc::new(AtomicBool::new(false));
    let (ended, mut tap_ended) = oneshot::channel();
    let tap_thread = {
        let stop = Arc::clone(&stop);
        let until_targets_end = config.exit_with_target;
        let check = config.check;
        thread::Builder::new().name("wstap-tap".into()).spawn(move || {
            let until = Until { stop: &stop, targets_end: until_targets_end, attached: check };
            let result = session::run(config.tap, &pids, until, &mut sink);
            // Nobody listens any more if the process is ending for another reason.
            let _ = ended.send(result);
        })?
    };
    let (stop_serving, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(export::serve(listener, router, async {
        let _ = stopped.await;
    }));
    let result = tokio::select! {
        result = &mut tap_ended => result,
        () = signals.recv() => {
            stop.store(true, Ordering::Relaxed);
            tap_ended.await
        }
    };
    let _ = stop_serving.send(());
    let _ = server.await;
    let _ = tap_thread.join();
    result.unwrap_or_else(|_| Err(Failure::Runtime("the tap thread has panicked".into())))
}

/// Counts observations, and keeps the status page and the loss counters current.
struct MetricsSink {
    metrics: Metrics,
    status: Arc<Status>,
    losses: Arc<Mutex<Vec<status::Loss>>>,
    check: bool,
    address: SocketAddr,
}

impl Sink for MetricsSink {
    fn observe(&mut self, observation: &Observation<'_>) {
        self.metrics.record(observation);
    }

    fn tapped(&mut self, targets: &[Tapped]) {
        let first = !self.status.is_ready();
        self.status.update(|now| {
            for target in &mut now.targets {
                target.processes.clear();
            }
            for tapped in targets {
                if let Some(target) = now.targets.get_mut(usize::from(tapped.target.id.0)) {
                    target.processes.push(process(tapped));
                }
            }
            now.probes = targets.iter().flat_map(probes).collect();
            now.ready = true;
        });
        if self.check {
            report_check(targets);
        } else if first {
            announce(targets, self.address);
        }
    }

    fn caught_up(&mut self, losses: &[Loss]) {
        self.metrics.flush();
        let mut shared = self.losses.lock().unwrap_or_else(PoisonError::into_inner);
        shared.clear();
        shared.extend(losses.iter().map(|loss| status::Loss {
            reason: loss.reason.as_str(),
            records: loss.records,
            bytes: loss.bytes,
        }));
    }
}

fn process(tapped: &Tapped) -> status::Process {
    let process = &tapped.target.process;
    let library = tapped.target.images.iter().flat_map(|image| &image.plan.libraries).next();
    status::Process {
        pid: process.pid,
        comm: process.comm.clone(),
        exe: process.exe.as_ref().map_or_else(String::new, |exe| exe.display().to_string()),
        tls_library: library.map_or_else(String::new, |l| l.stack.as_str().to_owned()),
        tls_version: library.and_then(|l| l.version.clone()).unwrap_or_default(),
        up: tapped.up,
    }
}

fn probes(tapped: &Tapped) -> Vec<status::Probe> {
    let mut probes = Vec::new();
    for image in &tapped.target.images {
        let file = image.path.file_name().unwrap_or_default().to_string_lossy();
        for probe in image.plan.libraries.iter().flat_map(|library| &library.probes) {
            probes.extend(probe.covers.iter().map(|function| status::Probe {
                library: file.to_string(),
                function: (*function).to_owned(),
                technique: tapped.technique.to_owned(),
                attached: u32::from(tapped.up),
            }));
        }
    }
    probes
}

/// The one line on standard output: for people, and for scripts that chose port 0.
fn announce(targets: &[Tapped], address: SocketAddr) {
    let tapping: Vec<String> = targets.iter().map(describe).collect();
    println!("tapping {}; metrics on http://{address}/metrics", tapping.join(", "));
}

fn describe(tapped: &Tapped) -> String {
    let process = process(tapped);
    let version = if process.tls_version.is_empty() { "?" } else { &process.tls_version };
    format!("pid {} ({}, {} {version})", process.pid, process.comm, process.tls_library)
}

fn report_check(targets: &[Tapped]) {
    for tapped in targets {
        for probe in probes(tapped) {
            println!(
                "pid {}: {} in {} attached ({})",
                tapped.target.process.pid, probe.function, probe.library, probe.technique
            );
        }
    }
}
