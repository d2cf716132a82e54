//! SIGINT and SIGTERM: detach cleanly and flush.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

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
