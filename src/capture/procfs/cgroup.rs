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
    /// bare name of a unit or scope, or at least 12 digits of a container's id. `None` for the root
    /// itself, because every process is in it.
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

    /// `text` is a `/proc/PID/cgroup`: `HIERARCHY:CONTROLLERS:/PATH` in each line.
    fn is_in(&self, text: &str) -> bool {
        text.lines().filter_map(|line| line.splitn(3, ':').nth(2)).any(|path| {
            let path = path.trim_start_matches('/');
            if !self.path.contains('/') {
                return path.split('/').any(|component| {
                    component == self.path
                        || container_of(component).is_some_and(|id| self.begins_id(id))
                });
            }
            path.strip_prefix(&self.path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }
}

/// The container that a process runs in: the first 12 digits of its id, as container engines print
/// them. `None` outside of containers, or where the engine names its groups otherwise.
#[must_use]
pub fn container_id(pid: u32) -> Option<String> {
    container_in(&fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?)
}

/// Docker, Podman, containerd and CRI-O put the id, 64 hexadecimal digits, into the group's name:
/// `/docker/ID`, `docker-ID.scope`, `libpod-ID.scope`, `cri-containerd-ID.scope`, `crio-ID.scope`,
/// `kubepods/.../ID`.
fn container_in(text: &str) -> Option<String> {
    text.lines().filter_map(|line| line.splitn(3, ':').nth(2)).find_map(|path| {
        path.rsplit('/').find_map(|component| Some(container_of(component)?[..SHORT_ID].to_owned()))
    })
}

/// The systemd unit that a process runs in: a service, or else a scope that is no container.
#[must_use]
pub fn unit(pid: u32) -> Option<String> {
    unit_in(&fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?)
}

/// Units of users are below `user@1000.service`, so the innermost one counts.
fn unit_in(text: &str) -> Option<String> {
    let paths = || text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    let innermost = |is_unit: fn(&str) -> bool| {
        paths().find_map(|path| path.rsplit('/').find(|name| is_unit(name)).map(str::to_owned))
    };
    innermost(|name| name.ends_with(".service"))
        .or_else(|| innermost(|name| name.ends_with(".scope") && container_of(name).is_none()))
}

/// Digits of a container's id that engines print. A container cannot be selected by fewer.
const SHORT_ID: usize = 12;

/// The container's id in the name of a group, if there is one.
fn container_of(component: &str) -> Option<&str> {
    let name = component.strip_suffix(".scope").unwrap_or(component);
    let id = name.rsplit('-').next()?;
    (id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
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
        ] {
            assert_eq!(container_in(&group).as_deref(), Some("0123456789ab"), "{group}");
        }
        assert_eq!(container_in("0::/user.slice/session-1.scope"), None);
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
}
