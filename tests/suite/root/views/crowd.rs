use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::suite::common::peers::wss_pair::{self, Pair};
use crate::suite::common::wstap::{DEADLINE, Monitor, privileged, resident_kb, wait_for};

const IDLE: usize = 1_000;
const SCRAPERS: usize = 50;
const SLOW: usize = 50;
const REQUESTS: u64 = 2_000;

/// More than the listener keeps at a time, and a scrape under way for each of them.
const RESIDENT_MAX_KB: u64 = 64 << 10;

/// A stranger's connection. The kernel may have no room for a moment.
fn connect(address: SocketAddr) -> TcpStream {
    wait_for("a connection", || TcpStream::connect_timeout(&address, DEADLINE).ok())
}

fn open_files(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("its files").count()
}

/// One scrape over a connection of its own; `None` where it was let go for others.
fn scrape(address: SocketAddr) -> Option<Duration> {
    let began = Instant::now();
    let mut stream = connect(address);
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    match stream.read_to_string(&mut answer) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
        Err(error) => panic!("no answer in {:?}: {error}", began.elapsed()),
    }
    let is_whole = answer.starts_with("HTTP/1.1 200") && answer.contains("\nturnaround_count ");
    is_whole.then(|| began.elapsed())
}

/// The head of a request, a byte at a time, until it is let go or the test is over.
fn drip(address: SocketAddr, over: &AtomicBool) {
    let mut stream = connect(address);
    for byte in b"GET /metrics HTTP/1.1\r\nX-Slow: ".iter().chain(std::iter::repeat(&b'x')) {
        if over.load(Ordering::Relaxed) || stream.write_all(&[*byte]).is_err() {
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// What is no HTTP: TLS that was not asked for, bytes without a line, a head without an end.
fn garbage(address: SocketAddr, over: &AtomicBool) {
    let long = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &[b'y'; 100_000]].concat();
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec();
    let noise: Vec<u8> =
        (0..50_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for bytes in [long, hello, noise].iter().cycle() {
        if over.load(Ordering::Relaxed) {
            return;
        }
        let mut stream = connect(address);
        // It may be closed in the midst of it.
        let _ = stream.write_all(bytes).and_then(|()| stream.shutdown(std::net::Shutdown::Write));
        let _ = stream.set_read_timeout(Some(DEADLINE));
        let _ = stream.read_to_end(&mut Vec::new());
    }
}

/// Whether the other end has let go of a connection on which nothing was ever sent.
fn is_dropped(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).expect("a socket");
    !matches!(stream.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
}

/// 1,000 idle clients, 50 that scrape without a pause, 50 that are slow, and some that talk nonsense: what
/// the tapped process says is counted to the last message, and every scraper is served.
#[test]
fn root_a_crowd_at_the_listener_harms_neither_tap_nor_target() {
    let Some(program) = wss_pair::program().filter(|_| privileged()) else { return };
    let requests = format!("requests={REQUESTS}");
    let mut pair = Pair::start(&program, &["go", &requests, "linger"]);
    let tap = Monitor::attach(pair.pid(), &[]);
    let (address, pid) = (tap.address, tap.pid());
    let (files, before_kb) = (open_files(pid), resident_kb(pid));
    let mut idle: Vec<TcpStream> = (0..IDLE).map(|_| connect(address)).collect();
    let (over, served, let_go) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let (slowest, peak_kb) = thread::scope(|scope| {
        let (over, served, let_go) = (&over, &served, &let_go);
        for _ in 0..SLOW {
            scope.spawn(move || drip(address, over));
        }
        for _ in 0..4 {
            scope.spawn(move || garbage(address, over));
        }
        let scrapers: Vec<_> = (0..SCRAPERS)
            .map(|_| {
                scope.spawn(move || {
                    let (mut slowest, mut own) = (Duration::ZERO, 0);
                    // Each is served, however long that takes while it is shorter than the deadline.
                    while !over.load(Ordering::Relaxed) || own == 0 {
                        match scrape(address) {
                            Some(time) => {
                                (slowest, own) = (slowest.max(time), own + 1);
                                served.fetch_add(1, Ordering::Relaxed);
                            }
                            None => drop(let_go.fetch_add(1, Ordering::Relaxed)),
                        }
                    }
                    slowest
                })
            })
            .collect();
        pair.go();
        let answers = pair.answers();
        let mut peak_kb = resident_kb(pid);
        wait_for("some scrapes", || {
            peak_kb = peak_kb.max(resident_kb(pid));
            (served.load(Ordering::Relaxed) >= 2 * SCRAPERS).then_some(())
        });
        over.store(true, Ordering::Relaxed);
        assert_eq!(answers, REQUESTS, "the target");
        let slowest = scrapers.into_iter().map(|it| it.join().expect("no panic")).max();
        (slowest.unwrap_or_default(), peak_kb)
    });
    let dropped = idle.iter_mut().filter_map(|stream| is_dropped(stream).then_some(())).count();
    eprintln!(
        "{} scrapes, {} let go, the slowest {slowest:?}; {dropped} of {IDLE} idle ones dropped; resident \
         {before_kb} KiB, then at most {peak_kb}",
        served.load(Ordering::Relaxed),
        let_go.load(Ordering::Relaxed),
    );
    assert!(dropped >= IDLE - 64, "only {dropped} of {IDLE} idle clients were dropped");
    assert!(peak_kb < before_kb + RESIDENT_MAX_KB, "{before_kb} KiB, then {peak_kb}");
    drop(idle);
    wait_for("its descriptors", || (open_files(pid) <= files + 64).then_some(()));
    let expected = 2.0 * REQUESTS as f64;
    let metrics = tap.metrics_when("every answer", |m| m.sum("turnaround_count", &[]) == expected);
    metrics.assert_flawless();
    pair.end();
}
