//! SIGINT and SIGTERM: detach cleanly and flush.

use std::process;
use std::time::Duration;
use std::{io, thread};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::terminal;

/// A clean end takes less than a second. After this time wstap exits without detaching and flushing;
/// the kernel then removes the probes.
const LONGEST_END: Duration = Duration::from_secs(8);

/// Exits the process if it has not ended cleanly within [`LONGEST_END`].
pub(super) fn end_at_last() {
    let waiting = thread::Builder::new().name("wstap-end".into());
    // If no thread can be started, only the clean end is left.
    let _ = waiting.spawn(|| {
        thread::sleep(LONGEST_END);
        terminal::complain(format_args!(
            "wstap: it did not stop cleanly within {LONGEST_END:?} and exits now; the kernel removes \
             the probes"
        ));
        process::exit(1);
    });
}

/// The signals that end wstap.
#[derive(Debug)]
pub(super) struct Ended {
    interrupt: Signal,
    terminate: Signal,
}

/// Catches them from now on; must be called inside a runtime.
pub(super) fn ended() -> io::Result<Ended> {
    Ok(Ended {
        interrupt: signal(SignalKind::interrupt())?,
        terminate: signal(SignalKind::terminate())?,
    })
}

impl Ended {
    /// Completes when one of them has come.
    pub(super) async fn recv(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
