//! `wstap ps` lists the processes that can be tapped; `wstap probes` shows where probes would go.
//! Neither attaches anything.

use std::collections::BTreeSet;
use std::io::{self, Write};

use serde::Serialize;
use wstap_symbols::{Library, Options, Probe, Verdict};

use super::Failure;
use super::refused::Refused;
use crate::capture::Error;
use crate::capture::procfs::cgroup;
use crate::capture::procfs::image::Image;
use crate::capture::procfs::planner::Planner;
use crate::capture::procfs::process::{self, Process};
use crate::capture::procfs::target::{self, Survey, Target};
use crate::capture::procfs::translator;
use crate::terminal::{self, Page};

/// One process and one TLS library in it, or its TCP sockets where it has no TLS.
#[derive(Debug, Serialize)]
struct PsRow {
    pid: u32,
    comm: String,
    stack: &'static str,
    version: Option<String>,
    linkage: &'static str,
    symbols: &'static str,
    technique: Vec<&'static str>,
    verdict: String,
    file: String,
    /// Id of the container that the process runs in.
    container: Option<String>,
}

/// Refused files that are named; the others are only counted.
const NAMED_MAX: usize = 10;

/// Prints the processes that have a TLS library or TCP sockets.
///
/// # Errors
///
/// `/proc` cannot be listed, or standard output cannot be written.
pub(super) fn ps(json: bool) -> Result<(), Failure> {
    let mut planner = Planner::new(Options::default()).without_own_program();
    let mut rows = Vec::new();
    let mut refused = Refused::default();
    let mut refused_files = BTreeSet::new();
    for process in process::all()? {
        match target::survey(&mut planner, process.pid) {
            Ok(survey) => {
                if survey.images.is_empty() {
                    rows.extend(plain_row(&process));
                } else {
                    rows.extend(ps_rows(&process, &survey));
                }
                refused_files.extend(survey.refused);
            }
            Err(error) => refused.note(&process, &error),
        }
    }
    let mut out = Page::new(!json);
    if json {
        for row in &rows {
            writeln!(out, "{}", serde_json::to_string(row)?)?;
        }
    } else {
        print_table(&mut out, &rows)?;
    }
    out.show()?;
    print_refused(&refused_files);
    if let Some(cause) = refused.cause() {
        terminal::complain(format_args!("wstap: {}; {}", refused.sentence(cause), cause.remedy()));
    }
    Ok(())
}

/// Names the files that were not looked into.
fn print_refused<'a>(files: impl IntoIterator<Item = &'a String>) {
    let mut files = files.into_iter();
    for file in files.by_ref().take(NAMED_MAX) {
        terminal::complain(format_args!("wstap: {file}"));
    }
    let more = files.count();
    if more > 0 {
        terminal::complain(format_args!("wstap: {more} more files could not be looked into"));
    }
}

fn ps_rows(process: &Process, survey: &Survey) -> Vec<PsRow> {
    let libraries = survey
        .images
        .iter()
        .flat_map(|image| image.plan.libraries.iter().map(move |library| (image, library)));
    let container = cgroup::container_id(process.pid);
    libraries
        .map(|(image, library)| PsRow {
            pid: process.pid,
            comm: process.comm.clone(),
            stack: library.stack.as_str(),
            version: target::version(library, &survey.companions).map(str::to_owned),
            linkage: library.linkage.as_str(),
            symbols: library.symbols.as_str(),
            technique: techniques(library),
            verdict: match survey.translator {
                Some(translator) => format!("unsupported: {}", translator::why(translator)),
                None => verdict(library),
            },
            file: image.path.display().to_string(),
            container: container.clone(),
        })
        .collect()
}

/// A process without TLS whose sockets can be tapped.
fn plain_row(process: &Process) -> Option<PsRow> {
    target::has_sockets(process.pid).then(|| PsRow {
        pid: process.pid,
        comm: process.comm.clone(),
        stack: "plain",
        version: None,
        linkage: "-",
        symbols: "-",
        technique: vec!["tracepoint"],
        verdict: String::from("ready"),
        file: process.exe.as_ref().map_or_else(String::new, |exe| exe.display().to_string()),
        container: cgroup::container_id(process.pid),
    })
}

fn techniques(library: &Library) -> Vec<&'static str> {
    let mut techniques: Vec<_> = library.probes.iter().map(|p| p.technique.as_str()).collect();
    techniques.sort_unstable();
    techniques.dedup();
    techniques
}

fn verdict(library: &Library) -> String {
    match (library.refusal(), library.verdict) {
        (Some(why), _) => format!("unsupported: {why}"),
        (None, Verdict::Experimental) => String::from("experimental"),
        (None, _) => String::from("ready"),
    }
}

fn print_table(out: &mut impl Write, rows: &[PsRow]) -> io::Result<()> {
    let (comm, version) = (width(rows, |r| &r.comm, 7), width(rows, version_of, 7));
    writeln!(
        out,
        "{:>7}  {:comm$}  {:9}  {:version$}  {:7}  {:8}  {:24}  {:12}  {:12}  FILE",
        "PID",
        "COMMAND",
        "STACK",
        "VERSION",
        "LINKAGE",
        "SYMBOLS",
        "TECHNIQUE",
        "VERDICT",
        "CONTAINER"
    )?;
    for row in rows {
        writeln!(
            out,
            "{:>7}  {:comm$}  {:9}  {:version$}  {:7}  {:8}  {:24}  {:12}  {:12}  {}",
            row.pid,
            row.comm,
            row.stack,
            version_of(row),
            row.linkage,
            row.symbols,
            or_dash(&row.technique.join("+")),
            row.verdict,
            row.container.as_deref().unwrap_or("-"),
            row.file
        )?;
    }
    Ok(())
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

fn version_of(row: &PsRow) -> &str {
    row.version.as_deref().unwrap_or("-")
}

fn width<'a>(rows: &'a [PsRow], column: impl Fn(&'a PsRow) -> &'a str, least: usize) -> usize {
    rows.iter().map(|row| column(row).chars().count()).max().unwrap_or(0).max(least)
}

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
pub(super) fn probes(pid: u32, mut planner: Planner, json: bool) -> Result<(), Failure> {
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
