//! Writes a file on a thread of its own: a slow disk, or a slow reader of a pipe, holds up neither the tap
//! nor its target. The spool itself has no bound. Whoever fills it must ask how much waits, and stop.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use crate::run::Failure;
use crate::run::session::only_serve;

/// How long the end of a session waits for a slow disk.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes that are handed on together.
const BLOCK_BYTES: usize = 64 << 10;

/// The end into which bytes go. It never waits.
pub(super) struct Spool {
    queue: Sender<Vec<u8>>,
    block: Vec<u8>,
    waiting: Waiting,
}

/// How many bytes wait to be written.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    pub(super) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// The end at which a thread writes.
pub(in crate::run) struct Writing {
    waiting: Waiting,
    /// How writing ended, once it has.
    ended: Receiver<io::Result<()>>,
}

impl Spool {
    /// Starts the thread that writes to `out`. Both ends of the spool go to their owners.
    ///
    /// # Errors
    ///
    /// The system refuses another thread.
    pub(super) fn start(
        mut out: impl Write + Send + 'static,
        sandbox: bool,
    ) -> Result<(Self, Waiting, Writing), Failure> {
        let (queue, blocks) = mpsc::channel();
        let (tell, ended) = mpsc::channel();
        let waiting = Waiting::default();
        let left = waiting.clone();
        thread::Builder::new().name("wstap-writer".into()).spawn(move || {
            let written = only_serve(sandbox)
                .map_err(|error| io::Error::other(error.to_string()))
                .and_then(|()| write_all(&mut out, &blocks, &left));
            // Whoever asks has gone if the disk was too slow.
            let _ = tell.send(written);
        })?;
        let spool = Self { queue, block: Vec::new(), waiting: waiting.clone() };
        Ok((spool, waiting.clone(), Writing { waiting, ended }))
    }

    fn hand_on(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        self.waiting.0.fetch_add(self.block.len(), Ordering::Relaxed);
        let sent = self.queue.send(std::mem::take(&mut self.block));
        // Why the other end has gone is told where the end of writing is awaited.
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

fn write_all(
    out: &mut impl Write,
    blocks: &Receiver<Vec<u8>>,
    waiting: &Waiting,
) -> io::Result<()> {
    while let Ok(block) = blocks.recv() {
        out.write_all(&block)?;
        out.flush()?;
        waiting.0.fetch_sub(block.len(), Ordering::Relaxed);
    }
    Ok(())
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.block.extend_from_slice(bytes);
        if self.block.len() >= BLOCK_BYTES {
            self.hand_on()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hand_on()
    }
}

impl Writing {
    /// Waits until all is written. The spool must have been dropped.
    ///
    /// # Errors
    ///
    /// Something could not be written. That the reader has gone is no error.
    pub(in crate::run) fn end(self) -> Result<(), Failure> {
        match self.ended.recv_timeout(PATIENCE) {
            Ok(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let missing = self.waiting.bytes();
                tracing::warn!(
                    "the file could not be written within {PATIENCE:?}: up to {missing} bytes at its end \
                     are missing; write it to a faster disk, or read it faster"
                );
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_reader_that_waits_holds_up_nobody_and_gets_everything() {
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let (mut spool, waiting, writing) = Spool::start(writer, false).expect("a thread");
        let bytes: Vec<u8> = (0..1_u32 << 20).map(|n| (n % 251) as u8).collect();
        bytes.chunks(1_000).for_each(|chunk| spool.write_all(chunk).expect("room"));
        spool.flush().expect("room");
        // A pipe takes less than that.
        assert!(waiting.bytes() > bytes.len() / 2);
        drop(spool);
        let mut read = Vec::new();
        reader.read_to_end(&mut read).expect("bytes");
        assert!(read == bytes);
        writing.end().expect("all is written");
        assert_eq!(waiting.bytes(), 0);
    }

    #[test]
    fn a_full_disk_is_told_at_the_end_and_a_closed_pipe_is_no_error() {
        let full = std::fs::File::options().write(true).open("/dev/full").expect("a device");
        let (mut spool, _, writing) = Spool::start(full, false).expect("a thread");
        spool.write_all(b"x").expect("room");
        drop(spool.flush());
        drop(spool);
        assert!(writing.end().is_err());
        let (reader, writer) = io::pipe().expect("a pipe");
        drop(reader);
        let (mut spool, _, writing) = Spool::start(writer, false).expect("a thread");
        spool.write_all(b"x").expect("room");
        drop(spool.flush());
        drop(spool);
        writing.end().expect("its reader has seen what it wanted");
    }
}
