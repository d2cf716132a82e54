//! Empty programs at the very sites that wstap uses: the floor.

use std::collections::BTreeSet;
use std::process::Command;

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic};
use libbpf_rs::{Link, ObjectBuilder, UprobeMultiOpts};
use object::{Object as _, ObjectSegment as _, ObjectSymbol as _};
use wstap::capture::procfs::image::Image;
use wstap::capture::procfs::planner::Planner;
use wstap::capture::procfs::target::Target;
use wstap_symbols::{Action, Options, Probe};

/// Attached empty programs.
pub(crate) struct Empty {
    _links: Vec<Link>,
    _object: libbpf_rs::Object,
}

/// Where they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sites {
    /// Where wstap's are.
    Own,
    /// There, and at the entry of each read, at an instruction that the kernel emulates: then each call has one
    /// at its entry and one at its end.
    TwoForEachCall,
}

impl Empty {
    /// Attaches to process `pid`; `None` where there is no such instruction.
    pub(crate) fn attach(pid: u32, sites: Sites) -> Option<Self> {
        let object = load();
        let mut planner = Planner::new(Options::default());
        let target = Target::resolve(&mut planner, Default::default(), pid).unwrap();
        let mut links = Vec::new();
        for image in &target.images {
            for program in object.progs_mut() {
                let retprobe = program.name() == "empty_return";
                let is_due = if retprobe { wants_return_probe } else { is_passed_by_messages };
                let mut offsets = offsets(image, is_due);
                if sites == Sites::TwoForEachCall && !retprobe {
                    offsets.extend(entries_of_reads(image)?);
                }
                if offsets.is_empty() {
                    continue;
                }
                let opts = UprobeMultiOpts { offsets, retprobe, ..Default::default() };
                let path = &image.attach_path;
                let pid = pid.cast_signed();
                links.push(program.attach_uprobe_multi_with_opts(pid, path, "", opts).unwrap());
            }
        }
        Some(Self { _links: links, _object: object })
    }
}

fn probes(image: &Image) -> impl Iterator<Item = &Probe> {
    image.plan.libraries.iter().flat_map(|library| &library.probes)
}

fn offsets(image: &Image, is_due: impl Fn(&Action) -> bool) -> Vec<usize> {
    let due = probes(image).filter(|probe| is_due(&probe.action));
    due.map(|probe| probe.offset as usize).collect()
}

/// Whether each message passes there.
fn is_passed_by_messages(action: &Action) -> bool {
    matches!(action, Action::Transfer(_) | Action::TransferReturn(_) | Action::Read(_))
}

fn wants_return_probe(action: &Action) -> bool {
    matches!(action, Action::Transfer(transfer) if transfer.return_probe)
}

/// File offsets of the first instruction that the kernel emulates in each function with which OpenSSL is
/// asked to read; `None` if there is no such function.
fn entries_of_reads(image: &Image) -> Option<Vec<usize>> {
    let bytes = std::fs::read(&image.attach_path).unwrap();
    let elf = object::File::parse(&*bytes).unwrap();
    let reads: BTreeSet<u64> = elf
        .symbols()
        .chain(elf.dynamic_symbols())
        .filter(|it| it.is_definition() && matches!(it.name(), Ok("SSL_read" | "SSL_read_ex")))
        .map(|it| it.address())
        .collect();
    (!reads.is_empty()).then_some(())?;
    reads.into_iter().map(|entry| first_emulated(&elf, &bytes, entry)).collect()
}

/// The file offset of the first instruction behind `entry` that the kernel emulates, if all before it go
/// straight on.
fn first_emulated(elf: &object::File, bytes: &[u8], entry: u64) -> Option<usize> {
    let offset = elf.segments().find_map(|segment| {
        let into = entry.checked_sub(segment.address()).filter(|it| *it < segment.size())?;
        Some(segment.file_range().0 + into)
    })?;
    let code = bytes.get(offset as usize..)?;
    let decoder = Decoder::with_ip(64, code, offset, DecoderOptions::NONE);
    let mut instructions = decoder.into_iter();
    let ends = |it: &Instruction| {
        it.mnemonic() == Mnemonic::Push || it.flow_control() != FlowControl::Next
    };
    let found = instructions.find(ends)?;
    let is_emulated = found.mnemonic() == Mnemonic::Push
        || matches!(found.flow_control(), FlowControl::ConditionalBranch | FlowControl::Call);
    is_emulated.then_some(found.ip() as usize)
}

fn load() -> libbpf_rs::Object {
    let folder = tempfile::tempdir().unwrap();
    let object = folder.path().join("empty.bpf.o");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/tap/empty.bpf.c");
    let compiled = Command::new("clang")
        .args(["-O2", "-g", "-target", "bpf", "-mcpu=v3", "-c", source, "-o"])
        .arg(&object)
        .status();
    assert!(compiled.is_ok_and(|status| status.success()), "clang compiles {source}");
    ObjectBuilder::default().open_file(&object).unwrap().load().unwrap()
}
