//! Empty programs at the very sites that wstap uses: the floor.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::Command;

use iced_x86::{Decoder, DecoderOptions, FlowControl, Mnemonic};
use libbpf_rs::{Link, Object, ObjectBuilder, UprobeMultiOpts};
use wstap::capture::procfs::image::Image;
use wstap::capture::procfs::planner::Planner;
use wstap::capture::procfs::target::Target;
use wstap_symbols::{Action, Options, Probe};

/// Attached empty programs.
pub(crate) struct Empty {
    _links: Vec<Link>,
    _object: Object,
}

/// Where they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sites {
    /// Where wstap's are.
    Own,
    /// There, and at one more instruction of each write that the kernel emulates: then there are as many as if
    /// each call, a read as well, had one at its entry and one at its end.
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
                    offsets.extend(second_pushes(image)?);
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

/// Behind each entry the next instruction that pushes a register.
fn second_pushes(image: &Image) -> Option<Vec<usize>> {
    let file = File::open(&image.attach_path).unwrap();
    let entries = offsets(image, |action| matches!(action, Action::Transfer(_)));
    entries.into_iter().map(|offset| second_push(&file, offset)).collect()
}

/// The first push behind the instruction at `offset`, if that and all before it go straight on.
fn second_push(file: &File, offset: usize) -> Option<usize> {
    let mut code = [0; 64];
    file.read_exact_at(&mut code, offset as u64).unwrap();
    let decoder = Decoder::with_ip(64, &code, offset as u64, DecoderOptions::NONE);
    let mut straight = decoder.into_iter().take_while(|it| it.flow_control() == FlowControl::Next);
    straight.next()?;
    straight.find(|it| it.mnemonic() == Mnemonic::Push).map(|it| it.ip() as usize)
}

fn load() -> Object {
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
