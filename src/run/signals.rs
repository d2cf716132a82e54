//! The signals that end wstap: it detaches cleanly and flushes.

use std::process;
use std::time::Duration;
use std::{io, thread};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::Level;

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
        terminal::complain(
            Level::ERROR,
            format_args!(
                "it did not stop cleanly within {LONGEST_END:?} and exits now; the kernel removes \
             the probes"
            ),
        );
        process::exit(1);
    });
}

/// The signals that end wstap.
#[derive(Debug)]
pub(super) struct Ended {
    interrupt: Signal,
    terminate: Signal,
    /// Hangup and quit, where they are caught: they would leave a terminal as a view had it.
    on_screen: Option<[Signal; 2]>,
}

/// Catches them from now on; must be called inside a runtime.
pub(super) fn ended() -> io::Result<Ended> {
    let interrupt = signal(SignalKind::interrupt())?;
    Ok(Ended { interrupt, terminate: signal(SignalKind::terminate())?, on_screen: None })
}

/// The same for what has the screen, and hangup and quit, too. Others leave hangup to `nohup`.
pub(super) fn ended_on_screen() -> io::Result<Ended> {
    let others = [signal(SignalKind::hangup())?, signal(SignalKind::quit())?];
    Ok(Ended { on_screen: Some(others), ..ended()? })
}

impl Ended {
    /// Completes when one of them has come.
    pub(super) async fn recv(&mut self) {
        let others = async {
            match &mut self.on_screen {
                Some([hangup, quit]) => tokio::select! {
                    _ = hangup.recv() => {}
                    _ = quit.recv() => {}
                },
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = others => {}
        }
    }
}
