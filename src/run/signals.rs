//! SIGINT and SIGTERM: detach cleanly and flush.

use std::process;
use std::time::Duration;
use std::{io, thread};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::terminal;

/// wstap ends within a second of a signal. If something keeps it for longer, it ends without
/// having detached and flushed: the kernel removes the probes then.
const LONGEST_END: Duration = Duration::from_secs(8);

/// Ends wstap the hard way if it is still there after [`LONGEST_END`].
pub(super) fn end_at_last() {
    let waiting = thread::Builder::new().name("wstap-end".into());
    // Without a thread there is only the clean end.
    let _ = waiting.spawn(|| {
        thread::sleep(LONGEST_END);
        terminal::complain("wstap: something keeps it from ending cleanly, so it just ends");
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
