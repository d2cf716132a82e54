//! Which connections cannot carry TLS, as far as wstap knows TLS: those with an end in a process of this
//! machine that has none.
//!
//! The kernel does not tell what a socket carries. So of the others nothing is known.

use std::collections::HashSet;

use crate::capture::procfs::tcp::{Ends, OpenSockets};

/// The ends of connections, by what there is in the processes that hold them.
#[derive(Debug, Default)]
pub(super) struct PlainEnds {
    without_tls: HashSet<Ends>,
    /// Several processes can hold one socket.
    maybe_tls: HashSet<Ends>,
}

impl PlainEnds {
    /// Takes note of the sockets of a process.
    pub(super) fn add(&mut self, sockets: &OpenSockets, may_have_tls: bool) {
        let ends = if may_have_tls { &mut self.maybe_tls } else { &mut self.without_tls };
        ends.extend(sockets.connections.iter().map(|it| it.ends));
    }

    /// Whether an end of a connection is in a process without TLS, and in none with it.
    pub(super) fn have(&self, ends: Ends) -> bool {
        [ends, ends.reversed()]
            .iter()
            .any(|end| self.without_tls.contains(end) && !self.maybe_tls.contains(end))
    }
}
