//! `wstap ps`: asks `/proc` about every process. How the list looks is left to `views`.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;

use tracing::Level;
use wstap_symbols::{Library, Options, Verdict};

use super::plain::PlainEnds;
use super::print_refused;
use crate::capture::procfs::cgroup::Home;
use crate::capture::procfs::planner::Planner;
use crate::capture::procfs::process::{self, Process};
use crate::capture::procfs::target::{self, Survey};
use crate::capture::procfs::tcp::{OpenSockets, Tables};
use crate::capture::procfs::translator;
use crate::run::Failure;
use crate::run::refused::Refused;
use crate::terminal::{self, Page};
use crate::views::processes::{self, Place, ProcessRow, Sockets};

/// Prints the processes that have a TLS library or TCP sockets.
///
/// # Errors
///
/// `/proc` cannot be listed, or standard output cannot be written.
pub(in crate::run) fn ps(json: bool) -> Result<(), Failure> {
    let mut planner = Planner::new(Options::default()).without_own_program();
    let mut tables = Tables::default();
    let mut found = Vec::new();
    let mut refused = Refused::default();
    let mut refused_files = BTreeSet::new();
    let own_program = program("self");
    for process in process::all()? {
        // Nobody looks for wstap, in whatever process it runs.
        if own_program.is_some() && program(&process.pid.to_string()) == own_program {
            continue;
        }
        match target::survey(&mut planner, process.pid) {
            Ok(survey) => {
                // What may not be read shows as no socket: the process itself could be looked into.
                let sockets = tables.of(process.pid).unwrap_or_default();
                refused_files.extend(survey.refused.iter().cloned());
                found.push(Found { process, survey, sockets });
            }
            Err(error) => refused.note(&process, &error),
        }
    }
    let mut plain_ends = PlainEnds::default();
    for it in &found {
        plain_ends.add(&it.sockets, may_have_tls(&it.survey));
    }
    let mut rows: Vec<_> = found.iter().flat_map(|it| process_rows(it, &plain_ends)).collect();
    processes::sort(&mut rows);
    let mut out = Page::new(!json);
    if json {
        for row in &rows {
            writeln!(out, "{}", serde_json::to_string(row)?)?;
        }
    } else {
        out.write_all(processes::table(&rows, terminal::columns()).as_bytes())?;
    }
    out.show()?;
    print_refused(&refused_files);
    if let Some(cause) = refused.cause() {
        terminal::complain(
            Level::WARN,
            format_args!("{}; {}", refused.sentence(cause), cause.remedy()),
        );
    }
    Ok(())
}

/// A process that could be looked into.
struct Found {
    process: Process,
    survey: Survey,
    sockets: OpenSockets,
}

/// Whether there is TLS in a process, or code of it that could not be read.
fn may_have_tls(survey: &Survey) -> bool {
    let is_all_read = survey.refused.is_empty() && survey.unreadable.is_empty();
    !is_all_read || !survey.images.is_empty() || survey.translator.is_some()
}

/// Device and inode of the program that a process runs.
fn program(pid: &str) -> Option<(u64, u64)> {
    let file = fs::metadata(format!("/proc/{pid}/exe")).ok()?;
    Some((file.dev(), file.ino()))
}

/// A row for each TLS library; where there is none, one for the sockets, where there are any.
fn process_rows(found: &Found, plain_ends: &PlainEnds) -> Vec<ProcessRow> {
    let Found { process, survey, sockets } = found;
    if survey.images.is_empty() && !sockets.has_any {
        return Vec::new();
    }
    let home = Home::of(process.pid);
    let place = Place {
        container: home.short_container().map(str::to_owned),
        unit: home.unit,
        arguments: process::arguments(process.pid).unwrap_or_default(),
        sockets: shown(sockets, plain_ends),
    };
    if survey.images.is_empty() {
        return vec![plain_row(process, place)];
    }
    let libraries = survey
        .images
        .iter()
        .flat_map(|image| image.plan.libraries.iter().map(move |library| (image, library)));
    libraries
        .map(|(image, library)| ProcessRow {
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
            place: place.clone(),
        })
        .collect()
}

fn shown(open: &OpenSockets, plain_ends: &PlainEnds) -> Sockets {
    let accepted = open.connections.iter().filter(|it| it.is_accepted).count();
    let plain = open.connections.iter().filter(|it| plain_ends.have(it.ends)).count();
    Sockets {
        listening: open.listening.iter().copied().collect(),
        connections_in: accepted,
        connections_out: open.connections.len() - accepted,
        connections_plain: plain,
        connections_maybe_tls: open.connections.len() - plain,
    }
}

/// A process without TLS whose sockets can be tapped.
fn plain_row(process: &Process, place: Place) -> ProcessRow {
    ProcessRow {
        pid: process.pid,
        comm: process.comm.clone(),
        stack: "plain",
        version: None,
        linkage: "-",
        symbols: "-",
        technique: vec!["tracepoint"],
        verdict: String::from("ready"),
        file: process.exe.as_ref().map_or_else(String::new, |exe| exe.display().to_string()),
        place,
    }
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
