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

/// The methods that move plaintext.
const TRANSFERS: [(Direction, &str); 2] = [
    (Direction::Received, "crypto/tls.(*Conn).Read"),
    (Direction::Sent, "crypto/tls.(*Conn).Write"),
];

/// The method that ends a connection. Its memory is used again after a garbage collection.
const CLOSE: &str = "crypto/tls.(*Conn).Close";

/// A Go method with its addresses.
struct Method {
    name: &'static str,
    start: u64,
    end: u64,
}

/// A method that moves plaintext.
struct Transfer {
    direction: Direction,
    method: Method,
    /// Addresses of the instructions that return; at least one.
    returns: Vec<u64>,
}

/// crypto/tls, if it is in the image.
pub(crate) fn search(image: &Image<'_>) -> Option<Library> {
    let Some((address, table)) = line_table(image) else {
        return is_old(image).then(|| library(image, Verdict::OldGo, Vec::new()));
    };
    if image.machine() != Machine::X86_64 {
        let is_there = TRANSFERS.iter().any(|(_, name)| table.find(name).is_some());
        return is_there.then(|| library(image, Verdict::UnsupportedMachine, Vec::new()));
    }
    let text = text_address(image, address, &table)?;
    let method = |name| {
        let place = table.find(name)?;
        let (start, end) = (text.checked_add(place.start)?, text.checked_add(place.end)?);
        Some(Method { name, start, end })
    };
    let transfers: Vec<Transfer> = TRANSFERS
        .iter()
        .filter_map(|&(direction, name)| {
            let method = method(name)?;
            let returns = site::returns(image, method.start, method.end);
            (!returns.is_empty()).then_some(Transfer { direction, method, returns })
        })
        .collect();
    if transfers.is_empty() {
        return None;
    }
    let verdict = verdict(&transfers);
    let mut probes = Vec::new();
    if verdict == Verdict::Tappable {
        probes = transfers.iter().flat_map(|transfer| transfer_probes(image, transfer)).collect();
        let close = method(CLOSE);
        probes.extend(close.and_then(|close| enter_probe(image, &close, Action::GoRelease)));
        probes.sort_by_key(|probe: &Probe| probe.offset);
    }
    Some(library(image, verdict, probes))
}

fn library(image: &Image<'_>, verdict: Verdict, probes: Vec<Probe>) -> Library {
    Library {
        stack: Stack::Go,
        version: version(image),
        linkage: Linkage::Static,
        symbols: SymbolSource::GoTable,
        verdict,
        probes,
    }
}

fn verdict(transfers: &[Transfer]) -> Verdict {
    let has = |direction| transfers.iter().any(|transfer| transfer.direction == direction);
    match (has(Direction::Received), has(Direction::Sent)) {
        (true, true) => Verdict::Tappable,
        (true, false) => Verdict::NoWrite,
        (false, _) => Verdict::NoRead,
    }
}

/// One probe where the arguments are, and one at every instruction that returns.
fn transfer_probes(image: &Image<'_>, transfer: &Transfer) -> Vec<Probe> {
    let entered = enter_probe(image, &transfer.method, Action::GoEnter(transfer.direction));
    let returned = transfer.returns.iter().filter_map(|&address| {
        Some(Probe {
            covers: vec![transfer.method.name],
            offset: image.code_offset(address)?,
            action: Action::GoReturn(transfer.direction),
            technique: Technique::Return,
            reason: "a Go function is left here; a return probe would break its stack".to_owned(),
        })
    });
    entered.into_iter().chain(returned).collect()
}

/// The probe where the arguments are.
fn enter_probe(image: &Image<'_>, method: &Method, action: Action) -> Option<Probe> {
    let enter = site::enter(image, method.start, method.end);
    let technique =
        if enter.address == method.start { Technique::Symbol } else { Technique::Prologue };
    Some(Probe {
        covers: vec![method.name],
        offset: image.code_offset(enter.address)?,
        action,
        technique,
        reason: enter.reason.to_owned(),
    })
}

/// The sections that are a table of functions, where the linker was Go's own.
const TABLE_SECTIONS: [&str; 2] = [".gopclntab", ".data.rel.ro.gopclntab"];

/// Whether crypto/tls is there in a layout that is not read.
fn is_old(image: &Image<'_>) -> bool {
    let mut tables = TABLE_SECTIONS.iter().filter_map(|name| image.section(name));
    tables.any(|(_, data)| TRANSFERS.iter().any(|(_, name)| pclntab::is_old_with(data, name)))
}

/// The table of functions and its address.
fn line_table<'data>(image: &Image<'data>) -> Option<(u64, LineTable<'data>)> {
    let found = TABLE_SECTIONS.iter().find_map(|name| {
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
