//! What the reading thread tells the one that attaches: what becomes of processes, and what their
//! sockets carry.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::capture::bpf::lifecycle::Lifecycle;
use crate::decode::decoder::Finding;

/// Messages of each kind that wait; more are dropped, and then everything is looked at again.
const WAITING_MAX: usize = 65_536;

/// What has come since it was last collected.
#[derive(Debug, Default)]
pub(super) struct Mail {
    /// What became of processes, in its order.
    pub(super) heard: Vec<Lifecycle>,
    /// Sockets of which it turned out whether TLS passes there.
    pub(super) learnt: Vec<Finding>,
    /// There was too much.
    pub(super) missed: bool,
    /// Nobody writes any more.
    closed: bool,
}

/// Where it waits. Touched once for each batch of records, and only where there is something to say.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    mail: Mutex<Mail>,
    arrived: Condvar,
}

impl Mailbox {
    /// Puts in what is in the two, and leaves them empty. Only what became of a process is urgent.
    pub(super) fn put(&self, heard: &mut Vec<Lifecycle>, learnt: &mut Vec<Finding>) {
        if heard.is_empty() && learnt.is_empty() {
            return;
        }
        let mut mail = self.lock();
        let is_urgent = !heard.is_empty();
        mail.missed |= mail.heard.len() + heard.len() > WAITING_MAX;
        let room = WAITING_MAX.saturating_sub(mail.heard.len());
        mail.heard.extend(heard.drain(..).take(room));
        // What is dropped of these will be learnt again from the next connection.
        let room = WAITING_MAX.saturating_sub(mail.learnt.len());
        mail.learnt.extend(learnt.drain(..).take(room));
        if is_urgent {
            self.arrived.notify_one();
        }
    }

    /// Nothing more will come.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_one();
    }

    /// Waits until there is something urgent, or `timeout` has passed, and takes out what is there; `None`
    /// when nothing more will come.
    pub(super) fn collect(&self, timeout: Duration) -> Option<Mail> {
        let nothing = |mail: &mut Mail| mail.heard.is_empty() && !mail.closed;
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
    fn what_does_not_fit_is_told_of() {
        let mailbox = Mailbox::default();
        mailbox.put(&mut exits(WAITING_MAX), &mut Vec::new());
        assert!(!mailbox.lock().missed);
        let mut late = exits(1);
        mailbox.put(&mut late, &mut Vec::new());
        assert!(late.is_empty());
        let mail = mailbox.collect(Duration::ZERO).unwrap();
        assert_eq!((mail.heard.len(), mail.missed), (WAITING_MAX, true));
        let mail = mailbox.collect(Duration::ZERO).unwrap();
        assert_eq!((mail.heard.len(), mail.missed), (0, false));
    }

    #[test]
    fn who_waits_hears_of_mail_and_of_the_end() {
        let mailbox = Mailbox::default();
        let forever = Duration::from_secs(3600);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let heard = mailbox.collect(forever).map(|mail| mail.heard.len());
                (heard, mailbox.collect(forever).is_none())
            });
            mailbox.put(&mut exits(3), &mut Vec::new());
            while !mailbox.lock().heard.is_empty() {
                std::thread::yield_now();
            }
            mailbox.close();
            assert_eq!(waiting.join().unwrap(), (Some(3), true));
        });
    }
}
