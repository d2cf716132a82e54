//! Warns about connections whose contents cannot be read: how many, why, and what ends it.

use crate::observation::{Fidelity, Observation, What};

/// The shortest time between two such lines.
const PAUSE_NS: u64 = 30_000_000_000;

/// How long a connection must have been unreadable before the user is warned. Most are readable by
/// then, with the help of the process's own zlib.
const PATIENCE_NS: u64 = 3_000_000_000;

/// Counts open connections by how much of them can be read.
#[derive(Debug)]
pub(super) struct Unreadable {
    /// The process's own zlib is asked for what is lacking.
    finds_windows: bool,
    /// WebSocket connections that are open.
    open: i64,
    /// Those without readable contents.
    no_content: i64,
    /// How many of those the user has been warned about.
    told: i64,
    told_ns: Option<u64>,
    /// When the first connection became unreadable that the user has not been warned about.
    since_ns: Option<u64>,
}

impl Unreadable {
    pub(super) fn new(finds_windows: bool) -> Self {
        Self { finds_windows, open: 0, no_content: 0, told: 0, told_ns: None, since_ns: None }
    }

    /// Counts a connection that opens, changes or closes.
    pub(super) fn observe(&mut self, observation: &Observation<'_>) {
        let What::State { from, to } = observation.what else { return };
        let is_unread = |state: Option<(_, Fidelity)>| {
            i64::from(state.is_some_and(|(_, fidelity)| fidelity == Fidelity::NoContent))
        };
        self.open += i64::from(to.is_some()) - i64::from(from.is_some());
        self.no_content += is_unread(to) - is_unread(from);
        self.told = self.told.min(self.no_content);
    }

    /// The warning, if there are new connections to warn about and the last warning is long enough ago.
    pub(super) fn line(&mut self, now_ns: u64) -> Option<String> {
        if self.no_content <= self.told {
            self.since_ns = None;
            return None;
        }
        let since_ns = *self.since_ns.get_or_insert(now_ns);
        let is_early = now_ns.saturating_sub(since_ns) < PATIENCE_NS;
        if is_early || self.told_ns.is_some_and(|at| now_ns.saturating_sub(at) < PAUSE_NS) {
            return None;
        }
        (self.told, self.told_ns) = (self.no_content, Some(now_ns));
        let help = if self.finds_windows {
            "The process's own zlib is asked for it, which mostly takes a few messages each way \
             (wstap_windows_total says how that goes)"
        } else {
            "The process's own zlib could tell it, but is not asked (--no-windows, or a recording)"
        };
        Some(format!(
            "{} of {} open connections cannot be read: they are compressed, and the beginning that \
             is needed to read on was not seen. Their messages are counted, but not matched; each \
             can be read again once it reconnects. {help}",
            self.no_content, self.open
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{ConnId, TargetId};
    use crate::observation::Role;

    fn change(to: &mut Unreadable, from: Option<Fidelity>, into: Option<Fidelity>) {
        let state = |fidelity: Option<Fidelity>| fidelity.map(|it| (Role::Client, it));
        to.observe(&Observation {
            at_ns: 1,
            tid: 1,
            target: TargetId(0),
            conn: ConnId { tgid: 1, generation: 1, handle: 1, stream: 0 },
            role: Role::Client,
            what: What::State { from: state(from), to: state(into) },
        });
    }

    #[test]
    fn connections_that_cannot_be_read_are_told_of_once_and_not_too_often() {
        let mut unreadable = Unreadable::new(true);
        change(&mut unreadable, None, Some(Fidelity::Full));
        assert_eq!(unreadable.line(1), None);
        for _ in 0..8 {
            change(&mut unreadable, None, Some(Fidelity::Unsynced));
            change(&mut unreadable, Some(Fidelity::Unsynced), Some(Fidelity::NoContent));
        }
        assert_eq!(unreadable.line(1), None, "it may end soon");
        let line = unreadable.line(PATIENCE_NS + 1).expect("eight of them");
        assert!(line.starts_with("8 of 9 open connections cannot be read: they are compressed"));
        assert!(line.contains("zlib is asked for it"));
        let then_ns = PATIENCE_NS + 1;
        assert_eq!(unreadable.line(then_ns), None);
        change(&mut unreadable, None, Some(Fidelity::NoContent));
        assert_eq!(unreadable.line(then_ns), None, "the last one is not long ago");
        assert!(
            unreadable.line(PAUSE_NS + then_ns).is_some_and(|line| line.starts_with("9 of 10"))
        );
    }

    #[test]
    fn one_that_can_be_read_again_is_not_told_of() {
        let mut unreadable = Unreadable::new(true);
        change(&mut unreadable, None, Some(Fidelity::NoContent));
        change(&mut unreadable, Some(Fidelity::NoContent), Some(Fidelity::Full));
        assert_eq!(unreadable.line(1), None);
    }

    #[test]
    fn whoever_turned_the_help_of_zlib_off_is_reminded_of_it() {
        let mut unreadable = Unreadable::new(false);
        change(&mut unreadable, None, Some(Fidelity::NoContent));
        assert_eq!(unreadable.line(1), None);
        let line = unreadable.line(PATIENCE_NS + 1).expect("one");
        assert!(line.contains("not asked (--no-windows"), "{line}");
    }
}
