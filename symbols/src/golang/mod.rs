//! Go's crypto/tls, compiled into Go programs.
//!
//! Go has calling conventions and stacks of its own. Stacks move, so a return probe, which changes
//! the return address, would crash the program: the instructions that return are probed instead.
//! A goroutine may return on another thread than it was called on, so calls are matched by the
//! goroutine, not by the thread. See [`Action::GoEnter`] for what is in which register.

mod pclntab;
mod site;

use self::pclntab::LineTable;
use crate::elf::{Image, Machine};
use crate::plan::{
    Action, Direction, Library, Linkage, Probe, Stack, SymbolSource, Technique, Verdict,
};

/// The functions that move plaintext.
const FUNCTIONS: [(Direction, &str); 2] = [
    (Direction::Received, "crypto/tls.(*Conn).Read"),
    (Direction::Sent, "crypto/tls.(*Conn).Write"),
];

/// A Go function with its addresses.
struct GoFunction {
    direction: Direction,
    name: &'static str,
    start: u64,
    end: u64,
    /// Addresses of the instructions that return; at least one.
    returns: Vec<u64>,
}

/// crypto/tls, if it is in the image.
pub(crate) fn search(image: &Image<'_>) -> Option<Library> {
    let (address, table) = line_table(image)?;
    let text = text_address(image, address, &table)?;
    let functions: Vec<GoFunction> = FUNCTIONS
        .iter()
        .filter_map(|&(direction, name)| {
            let place = table.find(name)?;
            let (start, end) = (text.checked_add(place.start)?, text.checked_add(place.end)?);
            let returns = site::returns(image, start, end);
            (!returns.is_empty()).then_some(GoFunction { direction, name, start, end, returns })
        })
        .collect();
    if functions.is_empty() {
        return None;
    }
    let verdict = verdict(image, &functions);
    let mut probes = Vec::new();
    if verdict == Verdict::Tappable {
        probes = functions.iter().flat_map(|function| probes_of(image, function)).collect();
        probes.sort_by_key(|probe: &Probe| probe.offset);
    }
    Some(Library {
        stack: Stack::Go,
        version: version(image),
        linkage: Linkage::Static,
        symbols: SymbolSource::GoTable,
        verdict,
        probes,
    })
}

fn verdict(image: &Image<'_>, functions: &[GoFunction]) -> Verdict {
    let has = |direction| functions.iter().any(|function| function.direction == direction);
    match (image.machine(), has(Direction::Received), has(Direction::Sent)) {
        (Machine::X86_64, true, true) => Verdict::Tappable,
        (Machine::X86_64, true, false) => Verdict::NoWrite,
        (Machine::X86_64, false, _) => Verdict::NoRead,
        _ => Verdict::UnsupportedMachine,
    }
}

/// One probe where the arguments are, and one at every instruction that returns.
fn probes_of(image: &Image<'_>, function: &GoFunction) -> Vec<Probe> {
    let enter = site::enter(image, function.start, function.end);
    let technique =
        if enter.address == function.start { Technique::Symbol } else { Technique::Prologue };
    let probe = |address, action, technique, reason: &str| {
        Some(Probe {
            covers: vec![function.name],
            offset: image.code_offset(address)?,
            action,
            technique,
            reason: reason.to_owned(),
        })
    };
    let entered =
        probe(enter.address, Action::GoEnter(function.direction), technique, enter.reason);
    let returned = function.returns.iter().filter_map(|&address| {
        let reason = "a Go function is left here; a return probe would break its stack";
        probe(address, Action::GoReturn(function.direction), Technique::Return, reason)
    });
    entered.into_iter().chain(returned).collect()
}

/// The table of functions and its address.
fn line_table<'data>(image: &Image<'data>) -> Option<(u64, LineTable<'data>)> {
    let own = [".gopclntab", ".data.rel.ro.gopclntab"];
    let found = own.iter().find_map(|name| {
        let (address, data) = image.section(name)?;
        Some((address, LineTable::parse(data)?))
    });
    found.or_else(|| {
        // Position-independent and linked by another linker: somewhere in the relocated data.
        let (address, data) = image.section(".data.rel.ro")?;
        let places = memchr::memmem::find_iter(data, b"\xff\xff\xff\0\0\x01\x08");
        places.filter_map(|at| at.checked_sub(1)).find_map(|at| {
            Some((address.checked_add(at as u64)?, LineTable::parse(data.get(at..)?)?))
        })
    })
}

/// The address from which the table counts.
///
/// Since Go 1.26 the table does not say, but the module data do (runtime.moduledata). They also
/// say it a second time, and where the table is; all must agree, because a wrong base would put
/// probes into the middle of instructions.
fn text_address(image: &Image<'_>, table_address: u64, table: &LineTable<'_>) -> Option<u64> {
    const LOWEST_PC: u64 = 160;
    const TEXT: u64 = 176;
    if table.text != 0 {
        return Some(table.text);
    }
    let (module, _) = image.section(".go.module")?;
    let word = |offset: u64| image.relocated_word(module.checked_add(offset)?);
    let text = word(TEXT)?;
    (word(0)? == table_address && word(LOWEST_PC)? == text).then_some(text)
}

/// The version of Go, without its `go`: from `.go.buildinfo`, where it follows 32 bytes of header
/// with its length before it (debug/buildinfo).
fn version(image: &Image<'_>) -> Option<String> {
    const MAGIC: &[u8] = b"\xff Go buildinf:";
    const INLINE: u8 = 2;
    let (_, info) = image.section(".go.buildinfo")?;
    let flags = *info.strip_prefix(MAGIC)?.get(1)?;
    let (&len, text) = info.get(32..)?.split_first()?;
    // Longer ones have a length of two bytes and hold more than a version.
    let version = text.get(..usize::from(len)).filter(|_| flags & INLINE != 0 && len < 0x80)?;
    let version = std::str::from_utf8(version).ok()?.strip_prefix("go")?;
    // Experiments and the like come after a space.
    let version = version.split(' ').next()?;
    version.bytes().all(|byte| byte.is_ascii_graphic()).then(|| version.to_owned())
}
