//! From a pid to what can be tapped in it.
//!
//! Every file that a process has mapped executable is a candidate, not only those called
//! `libssl`: TLS libraries are linked into interpreters, wheels and servers under any name.

use std::io;

use wstap_symbols::{Library, Verdict};

use super::Error;
use super::image::{Image, Planner};
use super::process::{self, Process};
use crate::decode::event::TargetId;

/// A process that wstap taps.
#[derive(Clone, Debug)]
pub struct Target {
    /// Index of the selector that it was tapped for.
    pub id: TargetId,
    /// Who it is.
    pub process: Process,
    /// Its mapped files that hold a TLS library; at least one of them can be tapped.
    pub images: Vec<Image>,
}

impl Target {
    /// Finds what can be tapped in process `pid`.
    ///
    /// # Errors
    ///
    /// There is no such process, it may not be looked into, or nothing in it can be tapped.
    pub fn resolve(planner: &mut Planner, id: TargetId, pid: u32) -> Result<Self, Error> {
        let process = Process::read(pid).map_err(|_| Error::NoSuchProcess(pid))?;
        let survey = survey(planner, pid).map_err(|error| unreadable(&process, &error))?;
        if !survey.images.iter().any(has_tappable) {
            return Err(no_tls(&process, &survey));
        }
        Ok(Self { id, process, images: survey.images })
    }
}

/// Whether a tap on this library would see plaintext.
#[must_use]
pub fn is_tappable(library: &Library) -> bool {
    library.verdict == Verdict::Tappable
}

/// Whether a tap on any library in this image would see plaintext.
#[must_use]
pub fn has_tappable(image: &Image) -> bool {
    image.plan.libraries.iter().any(is_tappable)
}

/// What was found in a process's mapped files.
#[derive(Debug, Default)]
pub struct Survey {
    /// Files that hold a TLS library, tappable or not.
    pub images: Vec<Image>,
    /// Files that were looked into.
    pub files: usize,
    /// Files that could not be opened, with the reason.
    pub unreadable: Vec<String>,
}

/// Looks into every file that `pid` has mapped executable.
///
/// # Errors
///
/// The process is gone, or its mappings may not be read.
pub fn survey(planner: &mut Planner, pid: u32) -> io::Result<Survey> {
    let mut survey = Survey::default();
    for mapping in process::executable_files(pid)? {
        survey.files += 1;
        match planner.image(pid, &mapping) {
            Ok(image) if !image.plan.libraries.is_empty() => survey.images.push(image),
            Ok(_) => {}
            Err(error) => {
                survey.unreadable.push(format!("{}: {error}", mapping.path.display()));
            }
        }
    }
    Ok(survey)
}

pub(super) fn unreadable(process: &Process, error: &io::Error) -> Error {
    let (pid, comm) = (process.pid, &process.comm);
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            Error::privilege(&format!("look into pid {pid} ({comm})"), error)
        }
        _ => Error::NoSuchProcess(pid),
    }
}

pub(super) fn no_tls(process: &Process, survey: &Survey) -> Error {
    let who = format!("pid {} ({})", process.pid, process.comm);
    if survey.files == 0 {
        return Error::NoTls(format!("{who} has no executable file mapped: a kernel thread?"));
    }
    let found: Vec<String> = survey
        .images
        .iter()
        .flat_map(|image| image.plan.libraries.iter().map(move |library| (image, library)))
        .map(|(image, library)| {
            let path = image.path.display();
            format!("{} in {path}: {}", library.stack.as_str(), library.verdict.as_str())
        })
        .collect();
    if !found.is_empty() {
        return Error::NoTls(format!("{who} cannot be tapped: {}", found.join("; ")));
    }
    if survey.unreadable.len() == survey.files {
        let first = survey.unreadable.first().map_or("", String::as_str);
        return Error::privilege(&format!("open the files of {who}"), &first);
    }
    Error::NoTls(format!(
        "{who} has no TLS library that wstap knows in its {} mapped files; `wstap ps` lists the \
         processes that have one; with --wait, wstap waits until one is loaded",
        survey.files
    ))
}
