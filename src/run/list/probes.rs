//! `wstap probes`: where probes would go in a process, and why there.

use std::io::{self, Write};

use serde::Serialize;
use wstap_symbols::{Library, Probe};

use super::print_refused;
use crate::capture::Error;
use crate::capture::procfs::image::Image;
use crate::capture::procfs::planner::Planner;
use crate::capture::procfs::process::{self, Process};
use crate::capture::procfs::target::{self, Target};
use crate::run::Failure;
use crate::terminal::Page;

/// One line of the probe plan.
#[derive(Debug, Serialize)]
struct ProbeRow<'a> {
    file: String,
    build_id: Option<String>,
    stack: &'static str,
    version: Option<&'a str>,
    linkage: &'static str,
    symbols: &'static str,
    functions: &'a [&'static str],
    offset: u64,
    technique: &'static str,
    reason: &'a str,
}

/// Prints the probe plan of process `pid`. Nothing is attached.
///
/// # Errors
///
/// As [`Target::resolve`], or standard output cannot be written.
pub(in crate::run) fn probes(pid: u32, mut planner: Planner, json: bool) -> Result<(), Failure> {
    let target = Target::resolve(&mut planner, Default::default(), pid)
        .map_err(|error| with_children(error, pid, &mut planner))?;
    print_refused(&target.refused);
    let mut out = Page::new(!json);
    for image in &target.images {
        for library in &image.plan.libraries {
            if json {
                for probe in &library.probes {
                    let row = probe_row(&target, image, library, probe);
                    writeln!(out, "{}", serde_json::to_string(&row)?)?;
                }
            } else {
                print_library(&mut out, &target, image, library)?;
            }
        }
    }
    Ok(out.show()?)
}

/// What cannot be tapped in a process itself may be tapped in its children.
fn with_children(error: Error, pid: u32, planner: &mut Planner) -> Error {
    let Error::NoTls(why) = error else { return error };
    let descendants = process::descendants(pid).unwrap_or_default();
    let child = descendants.into_iter().find(|child| {
        target::survey(planner, child.pid)
            .is_ok_and(|survey| survey.images.iter().any(target::has_tappable))
    });
    Error::NoTls(match child {
        Some(Process { pid: child, comm, .. }) => format!(
            "{why}; its child pid {child} ({comm}) has one, which `--pid {pid}` taps, too: \
             `wstap probes --pid {child}` shows its probes"
        ),
        None => why,
    })
}

fn probe_row<'a>(
    target: &'a Target,
    image: &Image,
    library: &'a Library,
    probe: &'a Probe,
) -> ProbeRow<'a> {
    ProbeRow {
        file: image.path.display().to_string(),
        build_id: image.plan.build_id.as_ref().map(ToString::to_string),
        stack: library.stack.as_str(),
        version: target.version(library),
        linkage: library.linkage.as_str(),
        symbols: library.symbols.as_str(),
        functions: &probe.covers,
        offset: probe.offset,
        technique: probe.technique.as_str(),
        reason: &probe.reason,
    }
}

fn print_library(
    out: &mut impl Write,
    target: &Target,
    image: &Image,
    library: &Library,
) -> io::Result<()> {
    let build_id = image.plan.build_id.as_ref().map_or("none".into(), ToString::to_string);
    writeln!(
        out,
        "{}\n  {} {}, {}, symbols from {}, build id {build_id}",
        image.path.display(),
        library.stack.as_str(),
        target.version(library).unwrap_or("of unknown version"),
        library.linkage.as_str(),
        library.symbols.as_str(),
    )?;
    if library.probes.is_empty() {
        return writeln!(out, "  no probes: {}", library.verdict.as_str());
    }
    writeln!(out, "  {:>11}  {:11}  {:30}  REASON", "FILE OFFSET", "TECHNIQUE", "FUNCTIONS")?;
    for probe in &library.probes {
        writeln!(
            out,
            "  {:>#11x}  {:11}  {:30}  {}",
            probe.offset,
            probe.technique.as_str(),
            probe.covers.join(", "),
            probe.reason
        )?;
    }
    Ok(())
}
