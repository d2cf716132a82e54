//! Empty programs at the very sites that wstap uses: the floor.

use std::process::Command;

use libbpf_rs::{Link, Object, ObjectBuilder, UprobeMultiOpts};
use wstap::capture::procfs::planner::Planner;
use wstap::capture::procfs::target::Target;
use wstap_symbols::{Action, Options};

/// Attached empty programs.
pub(crate) struct Empty {
    _links: Vec<Link>,
    _object: Object,
}

impl Empty {
    /// Attaches to process `pid` where a plan with `options` says.
    pub(crate) fn attach(pid: u32, options: Options) -> Self {
        let object = load();
        let mut planner = Planner::new(options);
        let target = Target::resolve(&mut planner, Default::default(), pid).unwrap();
        let mut links = Vec::new();
        for image in &target.images {
            let probes = || image.plan.libraries.iter().flat_map(|library| &library.probes);
            for program in object.progs_mut() {
                let retprobe = program.name() == "empty_return";
                let is_due = if retprobe { wants_return_probe } else { is_passed_by_messages };
                let probes = probes().filter(|probe| is_due(&probe.action));
                let offsets: Vec<usize> = probes.map(|probe| probe.offset as usize).collect();
                if offsets.is_empty() {
                    continue;
                }
                let opts = UprobeMultiOpts { offsets, retprobe, ..Default::default() };
                let path = &image.attach_path;
                let pid = pid.cast_signed();
                links.push(program.attach_uprobe_multi_with_opts(pid, path, "", opts).unwrap());
            }
        }
        Self { _links: links, _object: object }
    }
}

/// Whether each message passes there.
fn is_passed_by_messages(action: &Action) -> bool {
    matches!(action, Action::Transfer(_) | Action::TransferReturn(_) | Action::Read(_))
}

fn wants_return_probe(action: &Action) -> bool {
    matches!(action, Action::Transfer(transfer) if transfer.return_probe)
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
