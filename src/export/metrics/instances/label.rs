//! The labels that tell instances of a target apart.

/// A label that tells processes or connections of one target apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum InstanceLabel {
    /// The container that the process runs in: its whole id.
    ContainerId,
    /// The uid of the Kubernetes pod that the process runs in.
    PodUid,
    /// The systemd unit that the process runs in.
    Unit,
    /// The `Host` of the upgrade, in small letters. A peer may have chosen it.
    Host,
    /// The path of the upgrade, without its query. A peer may have chosen it.
    Path,
}

impl InstanceLabel {
    /// All, in the order in which series have them.
    pub const ALL: [Self; 5] =
        [Self::ContainerId, Self::PodUid, Self::Unit, Self::Host, Self::Path];

    /// Those that tell processes of one name apart by where they run. Nobody outside of this machine chooses
    /// their values.
    pub const OF_PLACES: [Self; 2] = [Self::ContainerId, Self::Unit];

    /// The name of the label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ContainerId => "container_id",
            Self::PodUid => "pod_uid",
            Self::Unit => "unit",
            Self::Host => "host",
            Self::Path => "path",
        }
    }

    /// Whether it is one of connections: all others are of processes.
    pub(in crate::export) fn is_of_connections(self) -> bool {
        matches!(self, Self::Host | Self::Path)
    }
}

/// Where a process is at home. Empty is what it is not in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Home {
    /// The whole id of its container.
    pub container_id: String,
    /// The uid of its Kubernetes pod.
    pub pod_uid: String,
    /// Its systemd unit.
    pub unit: String,
}

impl Home {
    /// What a label of processes says of it.
    pub(in crate::export) fn value(&self, label: InstanceLabel) -> &str {
        match label {
            InstanceLabel::ContainerId => &self.container_id,
            InstanceLabel::PodUid => &self.pod_uid,
            InstanceLabel::Unit => &self.unit,
            InstanceLabel::Host | InstanceLabel::Path => "",
        }
    }
}
