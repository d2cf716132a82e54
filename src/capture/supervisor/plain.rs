//! Whether there is reason to tap a process's TCP sockets, too.
//!
//! A socket carries a WebSocket in the clear, or TLS whose plaintext is tapped elsewhere, or
//! something else. Tapping sockets costs the process something. So they are tapped only while there
//! may be something to see: where the process has no TLS, and where its sockets carry something
//! else than TLS.

use std::collections::HashSet;

use crate::capture::Error;
use crate::capture::bpf::{Attachment, Tap};
use crate::capture::procfs::tcp::{self, Endpoint};

/// Whether TCP sockets are tapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plain {
    /// Where there is no TLS, or where sockets carry something else.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// The programs on TCP sockets. They are attached once for all processes, while one of these has
/// sockets to tap.
#[derive(Debug, Default)]
pub(in crate::capture) struct SocketTap {
    pub(in crate::capture) policy: Plain,
    attachment: Option<Attachment>,
    /// Why the kernel refused them; it is not asked again.
    refusal: Option<String>,
}

impl SocketTap {
    pub(in crate::capture) fn new(policy: Plain) -> Self {
        Self { policy, ..Self::default() }
    }

    /// Attaches the programs if they are not.
    pub(in crate::capture) fn attach(&mut self, tap: &Tap<'_>) -> Result<(), Error> {
        if self.attachment.is_some() {
            return Ok(());
        }
        if let Some(refusal) = &self.refusal {
            return Err(Error::Kernel(refusal.clone()));
        }
        match tap.attach_sockets() {
            Ok(attachment) => {
                tracing::debug!("TCP sockets are tapped from now on");
                self.attachment = Some(attachment);
                Ok(())
            }
            Err(error) => {
                self.refusal = Some(error.to_string());
                Err(error)
            }
        }
    }

    /// Ignores a failed attach, unless the user asked for `--plain on`.
    pub(in crate::capture) fn excuse(&self, error: Error) -> Result<(), Error> {
        if self.policy == Plain::On { Err(error) } else { Ok(()) }
    }

    /// Removes the programs: no process needs them any more.
    pub(in crate::capture) fn detach(&mut self) {
        if self.attachment.take().is_some() {
            tracing::debug!("TCP sockets are not tapped any more");
        }
    }

    pub(in crate::capture) fn is_attached(&self) -> bool {
        self.attachment.is_some()
    }

    /// Why the kernel refused the programs, if it did.
    pub(in crate::capture) fn refusal(&self) -> Option<&str> {
        self.refusal.as_deref()
    }

    /// Whether the sockets of a process that begins now are tapped from its first byte, before it
    /// is inspected.
    pub(in crate::capture) fn takes_newcomers(&self) -> bool {
        self.is_attached() && self.policy != Plain::Off
    }
}

/// Sockets must have carried nothing but TLS for so long before they are left alone: the next
/// request to a proxy may be the first one that it passes on.
const CALM_NS: u64 = 60_000_000_000;

/// Sockets that are remembered between two inspections.
const ENCRYPTED_MAX: usize = 4096;

/// What speaks for or against tapping the sockets of a process.
#[derive(Clone, Copy, Debug)]
pub(in crate::capture) struct Circumstances {
    pub(in crate::capture) policy: Plain,
    pub(in crate::capture) has_tls: bool,
    /// It has no sockets yet, and its first ones must not be missed.
    pub(in crate::capture) is_newborn: bool,
    pub(in crate::capture) now_ns: u64,
}

/// What is known of the sockets of one process.
#[derive(Clone, Debug, Default)]
pub(in crate::capture) struct Sockets {
    /// What the kernel side was told last; `None` before it was told anything.
    pub(in crate::capture) tapped: Option<bool>,
    /// They are tapped since the process is: the kernel side knew that it should.
    pub(in crate::capture) since_admission: bool,
    /// Something else than TLS has passed.
    plain: bool,
    /// TLS has passed on these sockets, whose endpoints are not known yet.
    encrypted: HashSet<u64>,
    /// TLS has passed there.
    explained: HashSet<Endpoint>,
    /// Since when every socket carries TLS.
    calm_since_ns: Option<u64>,
    /// As they were last listed.
    inodes: HashSet<u64>,
    endpoints: tcp::Sockets,
}

impl Sockets {
    /// Nothing is known of them yet but whether they are tapped since the process is.
    pub(in crate::capture) fn new(since_admission: bool) -> Self {
        Self { since_admission, ..Self::default() }
    }

    /// Whether they are tapped.
    pub(in crate::capture) fn are_tapped(&self) -> bool {
        self.tapped == Some(true)
    }

    /// Whether there is reason to tap them.
    pub(in crate::capture) fn are_wanted(&mut self, pid: u32, now: Circumstances) -> bool {
        match now.policy {
            Plain::On => return true,
            Plain::Off => return false,
            Plain::Auto => {}
        }
        if self.plain || (!now.has_tls && self.are_tapped()) {
            return true;
        }
        self.list(pid);
        self.judge(now)
    }

    /// Decides by what is known now.
    fn judge(&mut self, now: Circumstances) -> bool {
        let encrypted = std::mem::take(&mut self.encrypted);
        let explained = self.endpoints.iter().filter(|(inode, _)| encrypted.contains(inode));
        self.explained.extend(explained.map(|(_, endpoint)| *endpoint));
        // The first bytes of a connection show at once that it carries TLS. Later bytes do not.
        if self.endpoints.is_empty() {
            return now.is_newborn || now.has_tls;
        }
        if !now.has_tls || !self.endpoints.values().all(|it| self.explained.contains(it)) {
            self.calm_since_ns = None;
            return true;
        }
        let since = *self.calm_since_ns.get_or_insert(now.now_ns);
        self.are_tapped() && now.now_ns.saturating_sub(since) < CALM_NS
    }

    /// Notes what one of them carries. Costs next to nothing, because connections may come and go
    /// quickly.
    pub(in crate::capture) fn learn(&mut self, inode: u64, encrypted: bool) {
        if !encrypted {
            self.plain = true;
        } else if self.encrypted.len() < ENCRYPTED_MAX {
            self.encrypted.insert(inode);
        }
    }

    /// Lists the sockets again, if there are others than before.
    fn list(&mut self, pid: u32) {
        let Ok(inodes) = tcp::inodes(pid) else { return };
        if inodes == self.inodes {
            return;
        }
        if let Ok(endpoints) = tcp::sockets(pid, &inodes) {
            self.endpoints = endpoints;
            self.inodes = inodes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    const TLS: Circumstances =
        Circumstances { policy: Plain::Auto, has_tls: true, is_newborn: false, now_ns: 1 };
    const NO_TLS: Circumstances = Circumstances { has_tls: false, ..TLS };
    /// A thread of the kernel's, which has no sockets.
    const NO_SOCKETS: u32 = 2;

    #[test]
    fn without_tls_any_tcp_socket_is_a_reason_and_without_sockets_there_is_none() {
        let _listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(Sockets::default().are_wanted(std::process::id(), NO_TLS));
        assert!(!Sockets::default().are_wanted(NO_SOCKETS, NO_TLS));
        let newborn = Circumstances { is_newborn: true, ..NO_TLS };
        assert!(Sockets::default().are_wanted(NO_SOCKETS, newborn));
        assert!(Sockets::default().are_wanted(NO_SOCKETS, TLS), "it may connect any time");
    }

    #[test]
    fn where_only_tls_passes_there_is_no_reason_after_a_while() {
        let server = Endpoint::Server(443);
        let endpoints = tcp::Sockets::from([(7, server), (8, server)]);
        let mut sockets = Sockets { endpoints, tapped: Some(true), ..Sockets::default() };
        let later = Circumstances { now_ns: TLS.now_ns + CALM_NS, ..TLS };
        assert!(sockets.judge(later), "nobody knows what passes");
        sockets.learn(7, true);
        assert!(sockets.judge(TLS), "the next connection may be another kind");
        assert!(!sockets.judge(later));
        sockets.endpoints.insert(9, Endpoint::Server(80));
        assert!(sockets.judge(later));
    }

    #[test]
    fn where_something_else_than_tls_has_passed_there_is_a_reason_for_good() {
        let mut sockets = Sockets::default();
        sockets.learn(7, false);
        assert!(sockets.are_wanted(NO_SOCKETS, TLS));
    }

    #[test]
    fn what_was_ordered_is_done() {
        let ordered = |policy| Circumstances { policy, ..NO_TLS };
        assert!(Sockets::default().are_wanted(NO_SOCKETS, ordered(Plain::On)));
        let _listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(!Sockets::default().are_wanted(std::process::id(), ordered(Plain::Off)));
    }
}
