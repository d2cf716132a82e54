//! Passes messages from the reading thread to the attaching thread: processes that fork, exec or
//! exit, and what sockets carry.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::capture::bpf::lifecycle::Lifecycle;
use crate::decode::decoder::{Finding, WindowRequest};

/// How many messages of each kind may wait. Further ones are dropped, and the attaching thread then
/// inspects every process again.
const WAITING_MAX: usize = 65_536;

/// The messages that came since the last collection.
#[derive(Debug, Default)]
pub(super) struct Mail {
    /// Forks, execs and exits, in the order in which they happened.
    pub(super) lifecycle: Vec<Lifecycle>,
    /// Sockets whose contents the decoder has recognised.
    pub(super) findings: Vec<Finding>,
    /// Processes in which zlib must be probed, or no longer.
    pub(super) windows: Vec<WindowRequest>,
    /// A lifecycle message was dropped because too many waited.
    pub(super) missed: bool,
    /// The reading thread has ended.
    closed: bool,
    /// There is something else to look at than mail.
    woken: bool,
}

/// Where mail waits. The reading thread touches it once for each batch of records, and only when it
/// has something to say.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    mail: Mutex<Mail>,
    arrived: Condvar,
    /// For the reading thread: processes that have ended and of whose end the kernel side could not tell.
    ended: Mutex<Vec<u32>>,
}

impl Mailbox {
    /// Moves the contents of the lists into the mailbox, and wakes the attaching thread.
    pub(super) fn put(
        &self,
        lifecycle: &mut Vec<Lifecycle>,
        findings: &mut Vec<Finding>,
        windows: &mut Vec<WindowRequest>,
    ) {
        if lifecycle.is_empty() && findings.is_empty() && windows.is_empty() {
            return;
        }
        let mut mail = self.lock();
        // Of each process the last one counts, so there are never more than processes.
        for request in windows.drain(..) {
            mail.windows.retain(|it| it.tgid != request.tgid);
            mail.windows.push(request);
        }
        mail.missed |= mail.lifecycle.len() + lifecycle.len() > WAITING_MAX;
        let room = WAITING_MAX.saturating_sub(mail.lifecycle.len());
        mail.lifecycle.extend(lifecycle.drain(..).take(room));
        // A dropped finding costs nothing: the next connection of that socket brings it again.
        let room = WAITING_MAX.saturating_sub(mail.findings.len());
        mail.findings.extend(findings.drain(..).take(room));
        self.arrived.notify_one();
    }

    /// Wakes the attaching thread.
    pub(super) fn wake(&self) {
        self.lock().woken = true;
        self.arrived.notify_one();
    }

    /// Tells the reading thread of processes that have ended. It looks at each tick.
    pub(super) fn tell_ended(&self, pids: &[u32]) {
        if !pids.is_empty() {
            self.ended.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(pids);
        }
    }

    /// Takes the processes that have ended since the last call.
    pub(super) fn take_ended(&self) -> Vec<u32> {
        std::mem::take(&mut *self.ended.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Says that the reading thread has ended.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_one();
    }

    /// Waits for mail, but not longer than `timeout`, and takes it out. `None` once the reading thread has
    /// ended.
    pub(super) fn collect(&self, timeout: Duration) -> Option<Mail> {
        let nothing = |mail: &mut Mail| {
            let is_empty = mail.lifecycle.is_empty() && mail.findings.is_empty();
            is_empty && mail.windows.is_empty() && !mail.closed && !mail.woken
        };
        let (mut mail, _) = self
            .arrived
            .wait_timeout_while(self.lock(), timeout, nothing)
            .unwrap_or_else(PoisonError::into_inner);
        (!mail.closed).then(|| std::mem::take(&mut *mail))
    }

    fn lock(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::bpf::lifecycle::Change;

    fn exits(count: usize) -> Vec<Lifecycle> {
        let exit = Lifecycle { pid: 7, target: None, at_ns: 1, change: Change::Exited };
        vec![exit; count]
    }

    #[test]
    fn dropped_mail_is_reported() {
        let mailbox = Mailbox::default();
        mailbox.put(&mut exits(WAITING_MAX), &mut Vec::new(), &mut Vec::new());
        assert!(!mailbox.lock().missed);
        let mut late = exits(1);
        mailbox.put(&mut late, &mut Vec::new(), &mut Vec::new());
        assert!(late.is_empty());
        let mail = mailbox.collect(Duration::ZERO).unwrap();
        assert_eq!((mail.lifecycle.len(), mail.missed), (WAITING_MAX, true));
        let mail = mailbox.collect(Duration::ZERO).unwrap();
        assert_eq!((mail.lifecycle.len(), mail.missed), (0, false));
    }

    #[test]
    fn a_waiting_thread_gets_mail_and_then_the_end() {
        let mailbox = Mailbox::default();
        let forever = Duration::from_secs(3600);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let heard = mailbox.collect(forever).map(|mail| mail.lifecycle.len());
                (heard, mailbox.collect(forever).is_none())
            });
            mailbox.put(&mut exits(3), &mut Vec::new(), &mut Vec::new());
            while !mailbox.lock().lifecycle.is_empty() {
                std::thread::yield_now();
            }
            mailbox.close();
            assert_eq!(waiting.join().unwrap(), (Some(3), true));
        });
    }
}
