//! Hand-made observations, and an exporter that serves them on a port of the kernel's choice.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::oneshot;
use wstap::event::{ConnId, Direction, Loss, TargetId};
use wstap::export::live::Recorder;
use wstap::export::status::{NotSeen, Probe, Process, Target};
use wstap::export::{Exporter, Metrics, Status, router, serve};
use wstap::observation::*;

/// An exporter for the target `feed` whose process is up and probed.
pub(crate) struct Fixture {
    pub(crate) metrics: Metrics,
    pub(crate) status: Arc<Status>,
    pub(crate) recorder: Recorder,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let status = Arc::new(Status::default());
        let losses = || vec![Loss { reason: "ring_full", records: 3, bytes: 420 }];
        let metrics = Metrics::new(&["feed"], Arc::clone(&status), losses).expect("no clash");
        status.update(|now| {
            now.ready = true;
            now.targets = vec![Target {
                name: "feed".into(),
                processes: vec![Process {
                    pid: 4242,
                    comm: "node".into(),
                    exe: "/usr/bin/node".into(),
                    tls_library: "openssl".into(),
                    tls_version: "3.0.17".into(),
                    up: true,
                    ..Process::default()
                }],
                tapped_late: 1,
                oldest_pending: None,
                not_seen: NotSeen { refused: 1, ..NotSeen::default() },
                ..Target::default()
            }];
            now.probes = ["SSL_write", "SSL_read"]
                .map(|function| Probe {
                    stack: "openssl".into(),
                    library: "libssl.so.3".into(),
                    function: function.into(),
                    technique: "uprobe_multi".into(),
                    attached: 1,
                })
                .into();
        });
        Self { metrics, status, recorder: Recorder::new(&["feed"], 0) }
    }

    pub(crate) fn record(&mut self, what: What<'_>) {
        self.metrics.record(&Observation {
            at_ns: 1,
            tid: 4243,
            target: TargetId(0),
            conn: ConnId { tgid: 4242, generation: 1, handle: 1, stream: 0 },
            role: Role::Client,
            what,
        });
    }

    /// Something of every kind, and for each duration one answered request.
    pub(crate) fn everything(&mut self, turnarounds_ns: impl IntoIterator<Item = u64>) {
        let full = Some((Role::Client, Fidelity::Full));
        self.record(What::State { from: None, to: full });
        self.record(What::Open(Open::default()));
        self.record(What::Refused { status: 403 });
        self.record(What::PingRtt { origin: Origin::Local, rtt_ns: 700_000 });
        let (origin, protocol, method) = (Origin::Local, "graphql-ws", "subscription");
        self.record(What::StreamItem { origin, protocol, method });
        let (answers, duration_ns) = (2, 1_500_000_000);
        self.record(What::StreamEnd { origin, protocol, method, answers, duration_ns });
        self.record(What::HeartbeatRtt { origin, protocol, rtt_ns: 900_000 });
        self.record(What::Orphan { protocol: "jsonrpc", reason: OrphanReason::PreAttach });
        self.record(What::Close { code: 1000 });
        for direction in Direction::BOTH {
            self.record(What::Wire { direction, bytes: 1_000 });
            self.record(What::Skipped { direction, bytes: 10 });
            self.record(What::Gap { direction, bytes: 210, reason: GapReason::RingFull });
            self.record(What::ProtocolError { direction, reason: ProtocolError::Resync });
            self.record(What::Frame(Frame {
                direction,
                opcode: Opcode::Text,
                fin: true,
                rsv1: false,
                masked: direction == Direction::Sent,
                length: 140,
            }));
            self.record(message(direction));
            self.record(unreadable_time(direction));
        }
        for turnaround_ns in turnarounds_ns {
            self.answered("eth_call", turnaround_ns);
        }
        self.answered("", 5_000_000);
        self.record(What::Started { origin: Origin::Remote, protocol: "ocpp", method: "Reset" });
        self.metrics.flush();
    }

    fn answered(&mut self, method: &str, turnaround_ns: u64) {
        let (origin, protocol) = (Origin::Local, "jsonrpc");
        self.record(What::Started { origin, protocol, method });
        self.record(What::Exchange(Exchange {
            origin,
            protocol,
            method,
            id: "7".into(),
            outcome: Outcome::Matched,
            turnaround_ns: Some(turnaround_ns),
        }));
    }

    /// Serves the metrics until the answer is dropped.
    pub(crate) fn serve(&self) -> Serving {
        let app =
            router(Exporter::new(&self.metrics, Arc::clone(&self.status), self.recorder.live()));
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
                listener.set_nonblocking(true).expect("a socket");
                tell.send(listener.local_addr().expect("bound")).expect("somebody waits");
                let served = serve(listener.into(), app, async move { drop(stopped.await) });
                served.await.expect("a socket");
            });
        });
        let address = told.recv().expect("the server starts");
        Serving { address, stop: Some(stop), thread: Some(thread) }
    }
}

fn message(direction: Direction) -> What<'static> {
    let message = Message {
        direction,
        message_type: MessageType::Text,
        frames: 1,
        wire_length: 140,
        length: Some(140),
        compressed: false,
        payload: b"",
        tail: b"",
        truncated: true,
        identical: direction == Direction::Received,
    };
    let feed = FeedReading {
        since_ns: Some(2_000_000),
        time: OwnTime::At(0),
        sequence: Some(SequenceStep::Missing(1)),
    };
    let reading =
        MessageReading { protocol: "jsonrpc", feed: Some(feed), ..MessageReading::UNKNOWN };
    What::Message { message, reading }
}

/// A further message of a batch, whose own time makes no sense.
fn unreadable_time(direction: Direction) -> What<'static> {
    let feed = FeedReading { time: OwnTime::Unreadable, ..FeedReading::PLAIN };
    What::Further { direction, protocol: "jsonrpc", feed }
}

/// A listening exporter.
pub(crate) struct Serving {
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
