//! Whether a process has breakpoints in its code.

/// Whether there is a breakpoint in the code of a library: then the kernel has made a page of it the
/// process's own.
pub(crate) fn is_probed(pid: u32, library: &str) -> bool {
    use std::os::unix::fs::FileExt;
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("mappings");
    let mapping = maps.lines().find(|it| it.contains(library) && it.contains("r-xp"));
    let mapping = mapping.expect("the library is mapped");
    let mut fields = mapping.split_whitespace();
    let (from, to) = fields.next().and_then(|it| it.split_once('-')).expect("a range");
    let offset = fields.nth(1).expect("an offset");
    let number = |text: &str| u64::from_str_radix(text, 16).expect("a number");
    let (from, to, offset) = (number(from), number(to), number(offset));
    let length = usize::try_from(to - from).expect("a length");
    let (mut mapped, mut stored) = (vec![0; length], vec![0; length]);
    let memory = std::fs::File::open(format!("/proc/{pid}/mem")).expect("the memory");
    memory.read_exact_at(&mut mapped, from).expect("the code");
    let file = std::fs::File::open(format!("/proc/{pid}/map_files/{from:x}-{to:x}"));
    let whole = file.expect("the file").read_at(&mut stored, offset).expect("the code");
    mapped[..whole] != stored[..whole]
}
