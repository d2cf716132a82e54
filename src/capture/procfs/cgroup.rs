//! Control groups: which one a process runs in, and what a user means by the name of one.

use std::fs;

/// A control group, as a place in its hierarchy (`cgroups(7)`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupPath {
    /// What was given, without mount point and outer slashes: `system.slice/nginx.service`.
    path: String,
}

impl CgroupPath {
    /// Reads what was given: a folder below a cgroup mount, a path from the hierarchy's root, the
    /// bare name of a unit or scope, at least 12 digits of a container's id, or the uid of a pod.
    /// `None` for the root itself, because every process is in it.
    #[must_use]
    pub fn parse(given: &str) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        Self::below(given, &cgroup_mounts(&mounts))
    }

    fn below(given: &str, mounts: &[&str]) -> Option<Self> {
        let inside = |mount: &&&str| {
            given.strip_prefix(**mount).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        // The longest: in a hybrid system one hierarchy is mounted inside another's folder.
        let mount = mounts.iter().filter(inside).max_by_key(|mount| mount.len());
        let path = mount.map_or(given, |mount| &given[mount.len()..]).trim_matches('/');
        (!path.is_empty()).then(|| Self { path: path.to_owned() })
    }

    /// Its last component, such as `nginx.service`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// The path from the hierarchy's root, or a bare name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.path
    }

    /// Whether process `pid` runs in it or below. `false` if that cannot be read.
    #[must_use]
    pub fn holds(&self, pid: u32) -> bool {
        fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|text| self.is_in(&text))
    }

    /// Whether this was given as the beginning of a container's id, as container engines and
    /// `wstap ps` print it.
    fn begins_id(&self, id: &str) -> bool {
        self.path.len() >= SHORT_ID && id.starts_with(&self.path.to_ascii_lowercase())
    }

    /// `text` is a `/proc/PID/cgroup`.
    fn is_in(&self, text: &str) -> bool {
        let pod = uid_of_pod(&self.path);
        let is_named = |component: &str| {
            component == self.path
                || container_of(component).is_some_and(|id| self.begins_id(id))
                || (pod.is_some() && pod_of(component) == pod)
        };
        paths(text).any(|path| {
            let path = path.trim_start_matches('/');
            if !self.path.contains('/') {
                return path.split('/').any(is_named);
            }
            path.strip_prefix(&self.path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }
}

/// Where a process is at home: all that the name of its control group says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Home {
    /// The whole id of its container, 64 hexadecimal digits. `None` outside of containers, or where the
    /// engine names its groups otherwise.
    pub container: Option<String>,
    /// The uid of its Kubernetes pod. For a static pod this is the hash of its manifest, which the API
    /// server knows as the annotation `kubernetes.io/config.hash`.
    pub pod: Option<String>,
    /// Its systemd unit: a service, or else a scope that is no container.
    pub unit: Option<String>,
}

impl Home {
    /// Of process `pid`; nothing is known where its group cannot be read.
    #[must_use]
    pub fn of(pid: u32) -> Self {
        fs::read_to_string(format!("/proc/{pid}/cgroup"))
            .map_or_else(|_| Self::default(), Self::read)
    }

    /// `text` is a `/proc/PID/cgroup`.
    fn read(text: String) -> Self {
        let innermost = |find: fn(&str) -> Option<String>| {
            paths(&text).find_map(|path| path.rsplit('/').find_map(find))
        };
        Self {
            container: innermost(|component| container_of(component).map(str::to_owned)),
            pod: innermost(pod_of),
            unit: unit_in(&text),
        }
    }

    /// The first 12 digits of the container's id, as container engines print them.
    #[must_use]
    pub fn short_container(&self) -> Option<&str> {
        self.container.as_deref()?.get(..SHORT_ID)
    }
}

/// The paths in a `/proc/PID/cgroup`: `HIERARCHY:CONTROLLERS:/PATH` in each line.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.splitn(3, ':').nth(2))
}

/// Units of users are below `user@1000.service`, so the innermost one counts.
fn unit_in(text: &str) -> Option<String> {
    let innermost = |is_unit: fn(&str) -> bool| {
        paths(text).find_map(|path| path.rsplit('/').find(|name| is_unit(name)).map(str::to_owned))
    };
    innermost(|name| name.ends_with(".service"))
        .or_else(|| innermost(|name| name.ends_with(".scope") && container_of(name).is_none()))
}

/// Digits of a container's id that engines print. A container cannot be selected by fewer.
const SHORT_ID: usize = 12;

/// The container's id in the name of a group, if there is one. Docker, Podman, containerd and CRI-O put
/// it there, 64 hexadecimal digits: `/docker/ID`, `docker-ID.scope`, `libpod-ID.scope`,
/// `cri-containerd-ID.scope`, `crio-ID.scope`, `kubepods/.../ID`, and, where containerd and the kubelet
/// do not agree on who makes groups, `kubepods-podUID.slice:cri-containerd:ID`.
fn container_of(component: &str) -> Option<&str> {
    let name = component.strip_suffix(".scope").unwrap_or(component);
    let id = name.rsplit(['-', ':']).next()?;
    (id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
}

/// The pod's uid in the name of a group that the kubelet made: `pod1234abcd-...` by its cgroupfs driver,
/// `kubepods-burstable-pod1234abcd_....slice` by its systemd driver.
fn pod_of(component: &str) -> Option<String> {
    let name = component.split(':').next()?;
    let name = name.strip_suffix(".slice").unwrap_or(name);
    if let Some(uid) = name.strip_prefix("pod") {
        return uid_of_pod(uid);
    }
    // The group above may have a name of its own, such as `kubelet-kubepods`.
    let (above, uid) = name.rsplit_once("-pod")?;
    above.split('-').any(|word| word == "kubepods").then(|| uid_of_pod(uid))?
}

/// A uid as the API server writes it: a UUID, or for a static pod the 32 digits of a hash.
fn uid_of_pod(text: &str) -> Option<String> {
    let uid = text.to_ascii_lowercase().replace('_', "-");
    let groups: Vec<usize> = uid.split('-').map(str::len).collect();
    let has_shape = groups == [8, 4, 4, 4, 12] || groups == [32];
    (has_shape && uid.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())).then_some(uid)
}

/// Mount points of cgroup hierarchies, from a `mountinfo` (`proc_pid_mountinfo(5)`).
fn cgroup_mounts(mountinfo: &str) -> Vec<&str> {
    mountinfo
        .lines()
        .filter_map(|line| {
            let (mount, source) = line.split_once(" - ")?;
            let point = mount.split(' ').nth(4)?;
            matches!(source.split(' ').next()?, "cgroup" | "cgroup2").then_some(point)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw
31 30 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
32 23 0:28 / /tmp rw - tmpfs tmpfs rw
";
    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn path(given: &str) -> Option<String> {
        CgroupPath::below(given, &cgroup_mounts(MOUNTS)).map(|group| group.path)
    }

    #[test]
    fn a_folder_a_path_and_a_unit_are_all_understood() {
        let unit = Some("system.slice/nginx.service".to_owned());
        assert_eq!(path("/sys/fs/cgroup/system.slice/nginx.service"), unit);
        assert_eq!(path("/sys/fs/cgroup/memory/system.slice/nginx.service/"), unit);
        assert_eq!(path("/system.slice/nginx.service"), unit);
        assert_eq!(path("nginx.service").as_deref(), Some("nginx.service"));
    }

    #[test]
    fn the_root_of_a_hierarchy_is_no_selection() {
        for root in ["/", "", "/sys/fs/cgroup", "/sys/fs/cgroup/memory/"] {
            assert_eq!(path(root), None, "{root}");
        }
    }

    #[test]
    fn a_group_holds_itself_and_what_is_below_but_no_namesake_s_neighbour() {
        let group = CgroupPath { path: "a.slice/b.service".into() };
        assert!(group.is_in("0::/a.slice/b.service\n"));
        assert!(group.is_in("4:memory:/x\n0::/a.slice/b.service/child\n"));
        assert!(!group.is_in("0::/a.slice/b.service-2\n"));
        assert!(!group.is_in("0::/x/a.slice/b.service\n"));
        let unit = CgroupPath { path: "b.service".into() };
        assert!(unit.is_in("0::/a.slice/b.service/child\n"));
        assert!(!unit.is_in("0::/a.slice/ab.service\n"));
    }

    #[test]
    fn a_container_is_selected_by_twelve_digits_of_its_id_or_more() {
        for group in [
            format!("0::/system.slice/docker-{ID}.scope"),
            format!("5:pids:/docker/{ID}"),
            format!("0::/kubepods.slice/cri-containerd-{ID}.scope/child"),
        ] {
            let holds = |given: &str| CgroupPath { path: given.into() }.is_in(&group);
            assert!(holds(&ID[..12]) && holds(&ID[..40]) && holds(ID), "{group}");
            assert!(holds(&ID[..12].to_uppercase()), "{group}");
            assert!(!holds(&ID[..11]) && !holds(&ID[1..13]), "{group}");
        }
    }

    #[test]
    fn containers_of_all_engines_are_known_by_their_id() {
        for group in [
            format!("0::/system.slice/docker-{ID}.scope"),
            format!("5:pids:/docker/{ID}"),
            format!("0::/machine.slice/libpod-{ID}.scope/container"),
            format!("0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope"),
            format!("0::/kubepods/burstable/pod1/{ID}"),
            format!("0::/system.slice/containerd.service/kubepods-pod1.slice:cri-containerd:{ID}"),
        ] {
            let home = Home::read(group.clone());
            assert_eq!(home.container.as_deref(), Some(ID), "{group}");
            assert_eq!(home.short_container(), Some("0123456789ab"), "{group}");
        }
        assert_eq!(Home::read("0::/user.slice/session-1.scope".into()).container, None);
    }

    #[test]
    fn the_innermost_unit_is_named_and_a_container_is_none() {
        let unit = |text: &str| unit_in(text);
        assert_eq!(unit("0::/system.slice/nginx.service\n").as_deref(), Some("nginx.service"));
        let user = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/feed.service\n";
        assert_eq!(unit(user).as_deref(), Some("feed.service"));
        let session = "0::/user.slice/user-1000.slice/session-3.scope\n";
        assert_eq!(unit(session).as_deref(), Some("session-3.scope"));
        assert_eq!(unit(&format!("0::/system.slice/docker-{ID}.scope\n")), None);
        assert_eq!(unit("0::/\n"), None);
    }

    #[test]
    fn pods_are_known_by_their_uid_and_selected_by_it() {
        let uid = "2f41f5a7-9e04-4c4b-9c3f-0a1b2c3d4e5f";
        let low = uid.replace('-', "_");
        let systemd =
            format!("kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{low}.slice");
        for group in [
            format!("0::/kubepods/burstable/pod{uid}/{ID}\n"),
            format!("0::/kubepods/pod{uid}/{ID}\n"),
            format!("12:memory:/kubepods/besteffort/pod{uid}/{ID}\n0::/\n"),
            format!("0::/{systemd}/cri-containerd-{ID}.scope\n"),
            format!("0::/kubelet.slice/kubelet-kubepods-pod{low}.slice/crio-{ID}.scope\n"),
            format!("0::/../../kubepods-pod{low}.slice/cri-containerd-{ID}.scope\n"),
            format!(
                "0::/system.slice/containerd.service/kubepods-besteffort-pod{low}.slice:cri-containerd:{ID}\n"
            ),
        ] {
            let home = Home::read(group.clone());
            assert_eq!(home.pod.as_deref(), Some(uid), "{group}");
            assert_eq!(home.container.as_deref(), Some(ID), "{group}");
            let holds = |given: &str| CgroupPath { path: given.into() }.is_in(&group);
            assert!(holds(uid) && holds(&uid.to_uppercase()) && holds(&low), "{group}");
            assert!(
                !holds(&uid[..35]) && !holds("2f41f5a7-9e04-4c4b-9c3f-0a1b2c3d4e50"),
                "{group}"
            );
        }
        let hash = "4e5f2f41f5a79e044c4b9c3f0a1b2c3d";
        let group = format!("0::/kubepods/burstable/pod{hash}/{ID}");
        assert_eq!(Home::read(group).pod.as_deref(), Some(hash));
        for other in ["podman.service", "podinfo", "kubepods-burstable.slice", "machine-pod1.slice"]
        {
            assert_eq!(Home::read(format!("0::/{other}/x")).pod, None, "{other}");
        }
    }
}
