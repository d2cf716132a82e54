//! Which labels tell processes and connections of a target apart.
//!
//! Where nothing is said it is those of the place where a process runs, for targets that may run in several:
//! so two services or two containers of one name are two series, and `sum by (target)` joins them.

use std::sync::Arc;

use crate::capture::procfs::cgroup;
use crate::capture::procfs::selector::Selection;
use crate::capture::supervisor::homes::Homes;
use crate::event::TargetId;
use crate::export::metrics::{Home, InstanceLabel};

/// The labels of each target.
#[derive(Debug)]
pub(super) struct Wanted(Vec<Vec<InstanceLabel>>);

impl Wanted {
    /// `labels` are those that were asked for; `None` where nothing was said.
    pub(super) fn new(labels: Option<&[InstanceLabel]>, selection: &Selection) -> Self {
        let of = |target: TargetId| match labels {
            Some(labels) => labels.to_vec(),
            None if selection.is_open_for(target) => InstanceLabel::OF_PLACES.to_vec(),
            None => Vec::new(),
        };
        Self((0..).take(selection.names().len()).map(TargetId).map(of).collect())
    }

    /// Where to hear of the homes of processes, if any label is wanted.
    pub(super) fn homes(&self) -> Option<Homes> {
        self.0.iter().any(|labels| !labels.is_empty()).then(Homes::default)
    }

    /// Each target with its labels.
    pub(super) fn of<'a>(&'a self, names: &'a [Arc<str>]) -> Vec<(&'a str, &'a [InstanceLabel])> {
        names.iter().zip(&self.0).map(|(name, labels)| (&**name, labels.as_slice())).collect()
    }
}

/// Where a process is at home, in the words of labels.
pub(super) fn home(home: cgroup::Home) -> Home {
    Home {
        container_id: home.container.unwrap_or_default(),
        pod_uid: home.pod.unwrap_or_default(),
        unit: home.unit.unwrap_or_default(),
    }
}
