//! What the running kernel can do, as far as wstap must choose by it.

use std::fs;
use std::path::Path;

/// The oldest kernel that wstap runs on: uprobe attach cookies came with it.
pub const OLDEST: Version = Version { major: 5, minor: 15 };

/// A kernel's version, as far as features depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// `6` of `6.12.3-cloud`.
    pub major: u32,
    /// `12` of `6.12.3-cloud`.
    pub minor: u32,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The running kernel's release, such as `6.12.3-cloud-amd64`; empty if `/proc` does not say.
#[must_use]
pub fn release() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    release.trim().to_owned()
}

/// Reads major and minor from the start of a release.
#[must_use]
pub fn parse_release(release: &str) -> Option<Version> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let major = numbers.next()?.parse().ok()?;
    let minor = numbers.next()?.parse().ok()?;
    Some(Version { major, minor })
}

/// Whether `/proc` numbers processes as the kernel side does: in the initial pid namespace. `None`
/// where that may not be read.
#[must_use]
pub fn sees_all_processes() -> Option<bool> {
    // PROC_PID_INIT_INO of include/linux/proc_ns.h.
    let namespace = fs::read_link("/proc/1/ns/pid").ok()?;
    Some(namespace.as_os_str() == "pid:[4026531836]")
}

/// `/sys/kernel/security/lockdown`: the mode in brackets, or `None` where there is no lockdown.
#[must_use]
pub fn lockdown() -> Option<String> {
    let modes = fs::read_to_string("/sys/kernel/security/lockdown").ok()?;
    let (_, rest) = modes.split_once('[')?;
    let (mode, _) = rest.split_once(']')?;
    Some(mode.to_owned())
}

/// Where a kernel with BTF describes its own types.
pub const TYPES: &str = "/sys/kernel/btf/vmlinux";

/// Why [`TYPES`] is missing, and what to do about it; `None` if it is there. libbpf fits each program to
/// the kernel by it, and says only "No such process" where it is not found.
#[must_use]
pub fn missing_types() -> Option<(String, &'static str)> {
    if Path::new(TYPES).exists() {
        return None;
    }
    if !Path::new("/sys/kernel").exists() {
        let found = format!("{TYPES} is missing, because /sys is not mounted here");
        return Some((found, "mount -t sysfs sysfs /sys; in a container, give it the host's /sys"));
    }
    Some((format!("{TYPES} is missing"), "use a kernel built with CONFIG_DEBUG_INFO_BTF=y"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_of_all_distributions_parse_and_compare() {
        let parse = |release| parse_release(release).unwrap();
        assert!(parse("5.10.0-31-amd64") < OLDEST);
        assert!(parse("5.15.0") >= OLDEST);
        assert!(parse("6.1.0-37-cloud-amd64") > OLDEST);
        assert!(parse("7.2+deb14") > parse("6.18.44"));
        assert_eq!(parse_release("kernel"), None);
        assert_eq!(parse_release(""), None);
    }
}
