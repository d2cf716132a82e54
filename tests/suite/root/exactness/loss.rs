use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use rustix::process::Signal;
use wstap::capture::bpf::hint::{Steering, Word};
use wstap::capture::bpf::{Admission, FLAVOURS, Flavour, Record, Settings, Wakeup, with_best};
use wstap::capture::procfs::planner::Planner;
use wstap::capture::procfs::target::Target;
use wstap::decode::decoder::{Decoder, FrameAt, KernelHint, Limits};
use wstap::event::{Absent, ConnId, Direction, Event, EventKind, Loss, TargetId};
use wstap::matching::{MatchLimits, Matching, Protocols};
use wstap::observation::{Observation, ProtocolError, What};

use crate::suite::common::peers::{Peer, Scene};
use crate::suite::common::wstap::{Metrics, Monitor, privileged, signal};

/// What became of the bytes of one direction.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Account {
    /// As the decoder says: passed in all, skipped on purpose, lost.
    pub(super) passed: u64,
    pub(super) skipped: u64,
    pub(super) lost: u64,
    /// Handed to the decoder.
    pub(super) captured: u64,
    /// Skipped on purpose, as the kernel side says.
    told_skipped: u64,
    /// WebSocket frames.
    pub(super) frames: u64,
    /// Frames that were not what they had to be.
    pub(super) resyncs: u64,
}

/// A ring buffer that overflows soon.
pub(super) const SMALL: Settings = Settings {
    ring_bytes: 64 << 10,
    window_bytes: 4 << 10,
    connections: 1024,
    wakeup: Wakeup::Batched,
    watch_execs: false,
};

pub(super) type Accounts = BTreeMap<ConnId, [Account; 2]>;

fn observe(accounts: &mut Accounts, observation: &Observation<'_>) {
    let conn = accounts.entry(observation.conn).or_default();
    match observation.what {
        What::Wire { direction, bytes } => conn[direction.index()].passed += bytes,
        What::Skipped { direction, bytes } => conn[direction.index()].skipped += bytes,
        What::Gap { direction, bytes, .. } => conn[direction.index()].lost += bytes,
        What::Frame(frame) => conn[frame.direction.index()].frames += 1,
        What::ProtocolError { direction, reason: ProtocolError::Resync } => {
            conn[direction.index()].resyncs += 1;
        }
        _ => {}
    }
}

fn capture(accounts: &mut Accounts, event: &Event<'_>) {
    if let EventKind::Data(segment) = event.kind {
        let conn = accounts.entry(event.conn).or_default();
        let account = &mut conn[segment.direction.index()];
        account.captured += segment.bytes.len() as u64;
        if segment.absent == Absent::Skipped {
            account.told_skipped += segment.len - segment.bytes.len() as u64;
        }
    }
}

/// Tells the kernel side what the decoder has found out, as a session does.
pub(super) fn steer(tracker: &mut Decoder, words: &Steering) {
    for hint in tracker.kernel_hints() {
        match hint {
            KernelHint::FrameAt(FrameAt { conn, direction, offset, whole, narrow }) => {
                words.set(conn, direction, Word::FrameAt { offset, whole, narrow });
            }
            KernelHint::Http2At { conn, direction, offset, asks } => {
                words.set(conn, direction, Word::Http2At { offset, asks });
            }
            KernelHint::Ignore { conn } => {
                for direction in Direction::BOTH {
                    words.set(conn, direction, Word::Ignore);
                }
            }
        }
    }
}

/// The totals that the flooded server counted itself, one pair for each connection.
fn totals(server: &mut Peer) -> Vec<[u64; 2]> {
    serde_json::from_str(&server.line()).expect("totals")
}

/// A ring buffer that is far too small and a reader that sleeps: what the application passed is
/// what was decoded, skipped on purpose or lost, to the byte, on each of 50 connections.
#[test]
fn root_every_byte_is_accounted_for_when_the_ring_buffer_overflows() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some((mut server, mut client)) = scene.flood(&["--connections", "50", "--frames", "60"])
    else {
        return;
    };
    let pid = server.pid();
    let flood = || {
        client.go();
        totals(&mut server)
    };
    let (accounts, passed, losses) =
        follow((&FLAVOURS, Where::Tls), &SMALL, steer, &SLEEPY, pid, flood);
    check(&accounts, passed, &losses);
}

/// The same on sockets. Which of them are WebSockets is known before the ring buffer overflows: of
/// another one nothing is told.
#[test]
fn root_every_plain_byte_is_accounted_for_when_the_ring_buffer_overflows() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let load = ["--connections", "50", "--frames", "60", "--plain", "--meet"];
    let Some((mut server, mut client)) = scene.flood(&load) else { return };
    let pid = server.pid();
    let flood = || {
        client.go();
        assert_eq!(client.line(), "met");
        client.go();
        totals(&mut server)
    };
    let flavour = (&FLAVOURS[..], Where::Sockets);
    let (accounts, passed, losses) = follow(flavour, &SMALL, steer, &SLEEPY, pid, flood);
    check(&accounts, passed, &losses);
}

/// What is tapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Where {
    Tls,
    Sockets,
}

/// A reader that is awake until the accounts say that it may sleep, and from then on looks at the ring
/// buffer after each pause.
pub(super) struct Reader {
    pub(super) pause: Duration,
    pub(super) may_sleep: fn(&Accounts) -> bool,
}

/// It sleeps 30 ms at a time, in which a small ring buffer overflows, as soon as something is skipped on
/// purpose: both are to happen.
const SLEEPY: Reader = Reader { pause: Duration::from_millis(30), may_sleep: has_skipped };

/// It hardly sleeps.
const AWAKE: Reader = Reader { pause: Duration::from_millis(1), may_sleep: has_skipped };

pub(super) fn has_skipped(accounts: &Accounts) -> bool {
    accounts.values().flatten().any(|it| it.skipped > 0)
}

/// Taps a process while `drive` lets it talk. What the decoder made of it, what `drive` returned, and the
/// kernel side's losses.
pub(super) fn follow<T: Send>(
    (flavours, tapped): (&[Flavour], Where),
    settings: &Settings,
    steer: impl Fn(&mut Decoder, &Steering),
    reader: &Reader,
    pid: u32,
    drive: impl FnOnce() -> T + Send,
) -> (Accounts, T, Vec<Loss>) {
    let target = Target::resolve(&mut Planner::default(), TargetId(0), pid);
    let target = target.expect("a target");
    let accounts = RefCell::new(Accounts::new());
    let matching = Matching::new(Protocols::builtin(), MatchLimits::default());
    let tracker = RefCell::new(Decoder::new(Limits::default(), matching));
    let (told, losses) = with_best(flavours, settings, |tap| {
        let image = &target.images[0];
        let pid = target.process.pid;
        let sockets = tapped == Where::Sockets;
        tap.admit(pid, Admission { target: target.id, follow: false, hold: false, sockets })?;
        let attachment = match tapped {
            Where::Tls => tap.attach(pid, image)?,
            Where::Sockets => tap.attach_sockets()?,
        };
        let words = tap.steering()?;
        let ring = tap.ring()?.reader(|record| {
            let Record::Passed(event) = record else { return };
            capture(&mut accounts.borrow_mut(), event);
            let mut out = |it: &Observation<'_>| observe(&mut accounts.borrow_mut(), it);
            tracker.borrow_mut().event(event, &mut out);
            steer(&mut tracker.borrow_mut(), &words);
        })?;
        let told = std::thread::scope(|scope| {
            let waiting = scope.spawn(drive);
            while !waiting.is_finished() {
                ring.read();
                let sleeps = (reader.may_sleep)(&accounts.borrow());
                std::thread::sleep(if sleeps { reader.pause } else { AWAKE.pause });
            }
            waiting.join().expect("an end")
        });
        drop(attachment);
        while ring.read() {}
        Ok((told, tap.losses().now()))
    })
    .expect("a tap");
    (accounts.into_inner(), told, losses.to_vec())
}

/// What an older kernel would load this one loads as well; nothing is lost in any form, and every
/// connection adds up.
#[test]
fn root_the_programs_are_exact_in_every_form_that_older_kernels_take() {
    if !privileged() {
        return;
    }
    for flavour in FLAVOURS {
        let scene = Scene::new();
        let load = ["--connections", "4", "--frames", "200", "--largest", "40000"];
        let Some((mut server, mut client)) = scene.flood(&load) else { return };
        let settings = Settings { ring_bytes: 32 << 20, ..SMALL };
        let pid = server.pid();
        let flood = || {
            client.go();
            totals(&mut server)
        };
        let (accounts, mut passed, losses) =
            follow((&[flavour], Where::Tls), &settings, steer, &AWAKE, pid, flood);
        assert!(losses.iter().all(|loss| loss.records == 0), "{flavour:?}: {losses:?}");
        let mut seen: Vec<[u64; 2]> =
            accounts.values().map(|account| account.map(|direction| direction.passed)).collect();
        seen.sort_unstable();
        passed.sort_unstable();
        assert_eq!(seen, passed, "{flavour:?}");
    }
}

fn check(accounts: &Accounts, mut passed: Vec<[u64; 2]>, losses: &[Loss]) {
    assert_eq!(passed.len(), 50);
    for (conn, account) in accounts {
        for direction in Direction::BOTH {
            let Account { passed, skipped, lost, captured, .. } = account[direction.index()];
            assert_eq!(passed, captured + skipped + lost, "{conn} {direction:?} {account:?}");
        }
    }
    // A connection whose end was lost too lacks what was lost before it, and only the kernel side
    // knows how much that is.
    let mut seen: Vec<[u64; 2]> =
        accounts.values().map(|account| account.map(|direction| direction.passed)).collect();
    seen.sort_unstable();
    passed.sort_unstable();
    let lost_in_kernel: u64 = losses.iter().map(|loss| loss.bytes).sum();
    let sum = |of: fn(&Account) -> u64| accounts.values().flatten().map(of).sum::<u64>();
    let lost = sum(|account| account.lost);
    assert!(lost > 0, "the ring buffer was to overflow");
    let skipped = sum(|account| account.skipped);
    assert!(skipped > 0, "messages were to be longer than the window");
    assert_eq!(skipped, sum(|account| account.told_skipped), "no loss is taken for an intention");
    let in_all = |of: &[[u64; 2]]| of.iter().flatten().sum::<u64>();
    assert_eq!(in_all(&passed) - in_all(&seen), lost_in_kernel - lost);
    if lost_in_kernel == lost {
        assert_eq!(seen, passed, "each connection equals the application's own count");
    }
}

/// The same from outside: wstap is stopped, the ring buffer overflows, and its metrics add up.
#[test]
fn root_a_stopped_wstap_knows_what_it_missed() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some((mut server, mut client)) = scene.flood(&["--connections", "50", "--frames", "60"])
    else {
        return;
    };
    let tap = Monitor::attach(server.pid(), &["--ring-size", "64k"]);
    signal(tap.pid(), Signal::STOP);
    client.go();
    let passed: u64 = totals(&mut server).iter().flatten().sum();
    signal(tap.pid(), Signal::CONT);
    // The kernel side's counts are there at once, what the ring buffer holds is once it was read.
    let accounted_for = |m: &Metrics| {
        let sum = |name| m.sum(name, &[]);
        let wire =
            sum("wstap_plaintext_bytes_sent_total") + sum("wstap_plaintext_bytes_received_total");
        // What nobody told the decoder of is in the kernel's count alone.
        wire + sum("wstap_lost_bytes_total") - sum("wstap_gap_bytes_total")
    };
    let metrics = tap.metrics_when("every byte", |m| accounted_for(m) >= passed as f64);
    assert_eq!(accounted_for(&metrics), passed as f64);
    assert!(metrics.sum("wstap_lost_bytes_total", &[]) > 0.0, "the ring buffer was to overflow");
    assert_eq!(crate::suite::common::wstap::get(tap.address, "/-/ready").trim(), "wstap is ready.");
}

/// Headers that the border between two calls cuts, pings between fragments, a window of little or
/// of much: every frame is found, and what is skipped is skipped on purpose.
#[test]
fn root_frames_are_found_wherever_calls_end_and_whatever_the_window() {
    if !privileged() {
        return;
    }
    for window in ["256", "1k", "64k"] {
        let scene = Scene::new();
        let load = ["--connections", "4", "--frames", "150", "--largest", "9000", "--cut"];
        let load = [&load[..], &["--fragments"]].concat();
        let Some((mut server, mut client)) = scene.flood(&load) else { return };
        let tap = Monitor::attach(server.pid(), &["--window", window]);
        client.go();
        let passed = totals(&mut server);
        let sum = |index: usize| passed.iter().map(|total| total[index]).sum::<u64>() as f64;
        let metrics = tap.metrics_when("all messages", |m| {
            m.sum("packet_recv_count", &[]) == 600.0 && m.sum("packet_send_count", &[]) == 600.0
        });
        for direction in ["sent", "received"] {
            let frames = format!("wstap_frames_{direction}_total");
            let frames = |opcode: &str| metrics.sum(&frames, &[&format!("opcode=\"{opcode}\"")]);
            let counts = ["binary", "continuation", "ping", "close"].map(frames);
            assert_eq!(counts, [600.0, 1_200.0, 1_200.0, 4.0], "{direction}, window {window}");
        }
        let bytes = |name| metrics.sum(name, &[]);
        assert_eq!(bytes("wstap_plaintext_bytes_sent_total"), sum(0), "window {window}");
        assert_eq!(bytes("wstap_plaintext_bytes_received_total"), sum(1), "window {window}");
        // Both ends say the same.
        let (sent, received) =
            ("wstap_message_bytes_sent_total", "wstap_message_bytes_received_total");
        assert_eq!(bytes(sent), bytes(received), "window {window}");
        assert_eq!(bytes("wstap_skipped_bytes_total") > 0.0, window != "64k", "window {window}");
        metrics.assert_flawless();
    }
}

/// Offsets that the stream is already past are passed over: everything is copied, and decoded.
#[test]
fn root_a_stale_offset_is_ignored() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let load = ["--connections", "4", "--frames", "200", "--largest", "40000"];
    let Some((mut server, mut client)) = scene.flood(&load) else { return };
    let stale = |tracker: &mut Decoder, words: &Steering| {
        for hint in tracker.kernel_hints() {
            if let KernelHint::FrameAt(FrameAt { conn, direction, whole, .. }) = hint {
                let word = Word::FrameAt { offset: 1, whole, narrow: false };
                words.set(conn, direction, word);
            }
        }
    };
    let settings = Settings { ring_bytes: 32 << 20, window_bytes: 1, ..SMALL };
    let pid = server.pid();
    let flood = || {
        client.go();
        totals(&mut server)
    };
    let (accounts, passed, losses) =
        follow((&FLAVOURS, Where::Tls), &settings, stale, &AWAKE, pid, flood);
    assert!(losses.iter().all(|loss| loss.records == 0), "{losses:?}");
    let captured = accounts.values().flatten().map(|account| account.captured).sum::<u64>();
    assert_eq!(captured, passed.iter().flatten().sum::<u64>());
}

/// Nothing is lost by default, however large the calls are in which many frames pass.
#[test]
fn root_many_frames_in_one_large_call_are_all_seen() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let load =
        ["--connections", "4", "--frames", "2000", "--largest", "3000", "--at-once", "1000000"];
    let Some((mut server, mut client)) = scene.flood(&load) else { return };
    let tap = Monitor::attach(server.pid(), &[]);
    client.go();
    let passed = totals(&mut server);
    let sum = |index: usize| passed.iter().map(|total| total[index]).sum::<u64>() as f64;
    let metrics = tap.metrics_when("all frames", |m| {
        m.sum("wstap_frames_received_total", &["opcode=\"binary\""]) == 8_000.0
    });
    assert_eq!(metrics.sum("wstap_frames_sent_total", &["opcode=\"binary\""]), 8_000.0);
    assert_eq!(metrics.sum("wstap_plaintext_bytes_sent_total", &[]), sum(0));
    assert_eq!(metrics.sum("wstap_plaintext_bytes_received_total", &[]), sum(1));
    metrics.assert_flawless();
}
