//! Go's crypto/tls, compiled into Go programs.
//!
//! Go has calling conventions and stacks of its own. Stacks move, so a return probe, which changes
//! the return address, would crash the program: the instructions that return are probed instead.
//! A goroutine may return on another thread than it was called on, so calls are matched by the
//! goroutine, not by the thread. See [`Action::GoEnter`] for what is in which register.
//!
//! Some programs have a copy of crypto/tls in another package, such as utls, which looks like a browser's
//! TLS. Its connections have types of their own, so it is not tapped, but named ([`copies`]).

mod buildinfo;
mod convention;
mod pclntab;
mod site;

use iced_x86::Instruction;

use self::convention::{Convention, convention};
use self::pclntab::{LineTable, Place, Said};
use crate::elf::{Image, Machine};
use crate::plan::{
    Action, Direction, Library, Linkage, Probe, Stack, SymbolSource, Technique, Verdict,
};
use crate::site::{body, jumps_out, returns};

/// The methods that move plaintext.
const TRANSFERS: [(Direction, &str); 2] = [
    (Direction::Received, "crypto/tls.(*Conn).Read"),
    (Direction::Sent, "crypto/tls.(*Conn).Write"),
];

/// The words of their arguments that a tap needs: the connection, address and length of the buffer.
const TRANSFER_ARGUMENTS: usize = 3;

/// The method that ends a connection, and of its arguments the connection. Its memory is used again
/// after a garbage collection. Where it is not as it is known, it is not probed.
const CLOSE: &str = "crypto/tls.(*Conn).Close";
const CLOSE_ARGUMENTS: usize = 1;

/// A method that only crypto/tls and copies of it have, and those with which a program writes to a connection. A
/// copy without these serves QUIC, whose plaintext passes elsewhere.
const HANDSHAKE: &str = ".(*Conn).clientHandshake";
const WRITES: [&str; 2] = [".(*Conn).Write", ".(*UConn).Write"];
const CRYPTO_TLS: &str = "crypto/tls";

/// A Go method that was found.
struct Method {
    name: &'static str,
    code: Vec<Instruction>,
    convention: Convention,
}

/// crypto/tls, if it is in the image.
pub(crate) fn search(image: &Image<'_>) -> Option<Library> {
    let Some(table) = Table::find(image) else {
        return is_old(image).then(|| library(image, Verdict::StackArguments, Vec::new()));
    };
    let mut named =
        TRANSFERS.iter().filter(|(_, name)| table.lines.find(name).is_some()).peekable();
    named.peek()?;
    if image.machine() != Machine::X86_64 {
        return Some(library(image, Verdict::UnsupportedMachine, Vec::new()));
    }
    let transfers: Vec<(Direction, Method)> = named
        .map(|&(direction, name)| (direction, table.method(image, name, TRANSFER_ARGUMENTS)))
        .collect();
    let verdict = verdict(&transfers);
    let mut probes = Vec::new();
    if verdict == Verdict::Tappable {
        let close = table.method(image, CLOSE, CLOSE_ARGUMENTS);
        probes.extend(transfers.iter().flat_map(|transfer| transfer_probes(image, transfer)));
        probes.extend(enter_probe(image, &close, Action::GoRelease));
        probes.sort_by_key(|probe: &Probe| probe.offset);
    }
    Some(library(image, verdict, probes))
}

/// Copies of crypto/tls in other packages, which are not tapped. The version of each is its path.
pub(crate) fn copies(image: &Image<'_>) -> Vec<Library> {
    let Some(table) = Table::find(image) else { return Vec::new() };
    let has = |name: String| table.lines.find(&name).is_some();
    let writes = |path: &&str| WRITES.iter().any(|method| has(format!("{path}{method}")));
    let packages = table.lines.packages_with(HANDSHAKE).filter(|path| *path != CRYPTO_TLS);
    let copy = |path: &str| Library {
        stack: Stack::GoCopy,
        version: Some(path.to_owned()),
        ..library(image, Verdict::Copied, Vec::new())
    };
    packages.filter(writes).map(copy).collect()
}

fn library(image: &Image<'_>, verdict: Verdict, probes: Vec<Probe>) -> Library {
    Library {
        stack: Stack::Go,
        version: buildinfo::version(image),
        linkage: Linkage::Static,
        symbols: SymbolSource::GoTable,
        verdict,
        probes,
    }
}

fn verdict(transfers: &[(Direction, Method)]) -> Verdict {
    if transfers.iter().any(|(_, method)| method.convention == Convention::Stack) {
        return Verdict::StackArguments;
    }
    if !transfers.iter().all(|(_, method)| method.is_proven()) {
        return Verdict::Unproven;
    }
    let has = |direction| transfers.iter().any(|&(it, _)| it == direction);
    match (has(Direction::Received), has(Direction::Sent)) {
        (true, true) => Verdict::Tappable,
        (true, false) => Verdict::NoWrite,
        (false, _) => Verdict::NoRead,
    }
}

impl Method {
    /// Whether it is known how it is entered, and where it is left. (A jump through a table stays
    /// inside: Go has no other.)
    fn is_proven(&self) -> bool {
        let (Some(first), Some(last)) = (self.code.first(), self.code.last()) else { return false };
        let leaves = |it: &Instruction| jumps_out(it, first.ip(), last.next_ip());
        matches!(self.convention, Convention::Registers { .. })
            && !returns(&self.code).is_empty()
            && !self.code.iter().any(leaves)
    }
}

/// One probe where the arguments are, and one at every instruction that returns.
fn transfer_probes(image: &Image<'_>, (direction, method): &(Direction, Method)) -> Vec<Probe> {
    let entered = enter_probe(image, method, Action::GoEnter(*direction));
    let returned = returns(&method.code).into_iter().filter_map(|address| {
        Some(Probe {
            covers: vec![method.name],
            offset: image.code_offset(address)?,
            action: Action::GoReturn(*direction),
            technique: Technique::Return,
            reason: "a Go function is left here; a return probe would break its stack".to_owned(),
        })
    });
    entered.into_iter().chain(returned).collect()
}

/// The probe where the arguments are.
fn enter_probe(image: &Image<'_>, method: &Method, action: Action) -> Option<Probe> {
    let Convention::Registers { check } = method.convention else { return None };
    let enter = site::enter(&method.code, check)?;
    Some(Probe {
        covers: vec![method.name],
        offset: image.code_offset(enter.address)?,
        action,
        technique: Technique::Prologue,
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

/// The table of functions in an image.
struct Table<'data> {
    address: u64,
    lines: LineTable<'data>,
}

impl<'data> Table<'data> {
    fn find(image: &Image<'data>) -> Option<Self> {
        let found = TABLE_SECTIONS.iter().find_map(|name| {
            let (address, data) = image.section(name)?;
            Some(Self { address, lines: LineTable::parse(data)? })
        });
        found.or_else(|| {
            // Position-independent and linked by another linker: somewhere in the relocated data.
            let (address, data) = image.section(".data.rel.ro")?;
            let places = memchr::memmem::find_iter(data, b"\xff\xff\xff\0\0\x01\x08");
            places.filter_map(|at| at.checked_sub(1)).find_map(|at| {
                let lines = LineTable::parse(data.get(at..)?)?;
                Some(Self { address: address.checked_add(at as u64)?, lines })
            })
        })
    }

    /// The method of this name; without code if there is none, or not all of it is instructions.
    fn method(&self, image: &Image<'_>, name: &'static str, arguments: usize) -> Method {
        let code = self.range(image, name).and_then(|(start, end)| body(image, start, end));
        let code = code.unwrap_or_default();
        let convention = convention(&code, arguments);
        Method { name, code, convention }
    }

    /// Addresses of the first instruction of a method, and of the next function's; `None` unless the
    /// table says the same of the first wherever it says it.
    fn range(&self, image: &Image<'_>, name: &str) -> Option<(u64, u64)> {
        let Said { start: [listed, described], end } = match self.lines.find(name)? {
            Place::Offsets(Said { start, end }) => {
                let text = self.text_address(image)?;
                let address = |offset: u64| text.checked_add(offset);
                Said { start: start.map(address), end: address(end) }
            }
            Place::Addresses(Said { start, end }) => {
                let word = |at: usize| image.relocated_word(self.address.checked_add(at as u64)?);
                Said { start: start.map(word), end: word(end) }
            }
        };
        Some((listed.filter(|_| listed == described)?, end?))
    }

    /// The address from which the table counts.
    ///
    /// Since Go 1.26 the table does not say, but the module data do (runtime.moduledata). They also
    /// say it a second time, and where the table is; all must agree, because a wrong base would put
    /// probes into the middle of instructions.
    fn text_address(&self, image: &Image<'_>) -> Option<u64> {
        const LOWEST_PC: u64 = 160;
        const TEXT: u64 = 176;
        if self.lines.text != 0 {
            return Some(self.lines.text);
        }
        let (module, _) = image.section(".go.module")?;
        let word = |offset: u64| image.relocated_word(module.checked_add(offset)?);
        let text = word(TEXT)?;
        (word(0)? == self.address && word(LOWEST_PC)? == text).then_some(text)
    }
}
