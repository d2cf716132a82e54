//! Programs that run another program by translating its machine code.
//!
//! They read the code of the other program as data, and a probe is a breakpoint instruction in it.
//! They would translate the breakpoint, and the other program would end by SIGTRAP. So a process
//! that runs in one of them gets no probes.

use std::path::Path;

use super::process::{Mapping, Process};

/// Tools of Valgrind. Their files are called `TOOL-MACHINE-linux`.
const VALGRIND_TOOLS: [&str; 11] = [
    "memcheck",
    "cachegrind",
    "callgrind",
    "helgrind",
    "drd",
    "massif",
    "dhat",
    "lackey",
    "none",
    "exp-bbv",
    "exp-sgcheck",
];

/// Programs that translate others, by their file names.
const PROGRAMS: [(&str, &str); 7] = [
    ("valgrind", "Valgrind"),
    ("valgrind.bin", "Valgrind"),
    ("drrun", "DynamoRIO"),
    ("pinbin", "Intel Pin"),
    ("box64", "Box64"),
    ("FEXInterpreter", "FEX"),
    ("FEX", "FEX"),
];

/// Libraries that translate the program that they are loaded into, by the beginning of their file
/// names.
const LIBRARIES: [(&str, &str); 2] =
    [("libdynamorio.so", "DynamoRIO"), ("libpinvm.so", "Intel Pin")];

/// What translates the code of a process that has mapped these files, if anything does.
#[must_use]
pub fn of(process: &Process, mappings: &[Mapping]) -> Option<&'static str> {
    // A process that runs another program since it was read has mapped that one.
    let by_path = |path: &Path| by_library(path).or_else(|| by_file_name(path));
    by_program(process).or_else(|| mappings.iter().find_map(|mapping| by_path(&mapping.path)))
}

/// The same, as far as the name of its program tells.
#[must_use]
pub fn by_program(process: &Process) -> Option<&'static str> {
    by_file_name(process.exe.as_deref()?)
}

/// Why a process in such a program gets no probes, for people.
#[must_use]
pub fn why(translator: &str) -> String {
    format!(
        "it runs in {translator}, which reads the code that it runs as data and would fail over a \
         probe; run it without {translator} to tap it"
    )
}

fn by_file_name(exe: &Path) -> Option<&'static str> {
    let name = exe.file_name()?.to_str()?;
    let tool = name.strip_suffix("-linux").and_then(|name| name.rsplit_once('-'));
    if tool.is_some_and(|(tool, _)| VALGRIND_TOOLS.contains(&tool)) {
        return Some("Valgrind");
    }
    // qemu-system-x86_64 is a virtual machine. The code in it comes from no file that wstap could
    // probe.
    let is_system = name.starts_with("qemu-system") || name.starts_with("qemu-kvm");
    let emulated = name.strip_prefix("qemu-").filter(|_| !is_system);
    if emulated
        .is_some_and(|machine| is_machine(machine.strip_suffix("-static").unwrap_or(machine)))
    {
        return Some("QEMU's user mode");
    }
    PROGRAMS.iter().find(|(program, _)| *program == name).map(|&(_, translator)| translator)
}

/// Whether this is a machine that QEMU's user mode emulates. `img`, as in `qemu-img`, is none.
fn is_machine(name: &str) -> bool {
    const BEGINNINGS: [&str; 16] = [
        "x86_64",
        "i386",
        "aarch64",
        "arm",
        "riscv",
        "ppc",
        "s390x",
        "mips",
        "sparc",
        "alpha",
        "hppa",
        "m68k",
        "sh4",
        "loongarch64",
        "or1k",
        "hexagon",
    ];
    BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
}

fn by_library(path: &Path) -> Option<&'static str> {
    let name = path.file_name()?.to_str()?;
    LIBRARIES.iter().find(|(library, _)| name.starts_with(library)).map(|&(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_that_translate_are_known_by_their_names() {
        let by = |path: &str| by_file_name(Path::new(path));
        assert_eq!(by("/usr/libexec/valgrind/memcheck-amd64-linux"), Some("Valgrind"));
        assert_eq!(by("/usr/lib/valgrind/callgrind-arm64-linux"), Some("Valgrind"));
        assert_eq!(by("/usr/bin/valgrind.bin"), Some("Valgrind"));
        assert_eq!(by("/usr/bin/qemu-aarch64-static"), Some("QEMU's user mode"));
        assert_eq!(by("/usr/bin/qemu-x86_64"), Some("QEMU's user mode"));
        for other in
            ["/usr/bin/qemu-system-x86_64", "/usr/bin/qemu-img", "/usr/bin/none", "/a-linux"]
        {
            assert_eq!(by(other), None, "{other}");
        }
    }

    #[test]
    fn libraries_that_translate_are_known_by_their_names() {
        let by = |path: &str| by_library(Path::new(path));
        assert_eq!(by("/opt/dr/lib64/release/libdynamorio.so.11.0"), Some("DynamoRIO"));
        assert_eq!(by("/usr/lib/libssl.so.3"), None);
    }
}
