//! From a pid to what can be tapped in it.
//!
//! Every file that a process has mapped executable is a candidate, not only those called
//! `libssl`: TLS libraries are linked into interpreters, wheels and servers under any name.

use std::io;

use wstap_symbols::{Companion, Library};

use super::image::{Image, is_refusal};
use super::planner::Planner;
use super::process::{self, Process};
use super::{tcp, translator};
use crate::capture::Error;
use crate::event::TargetId;

/// A process that wstap taps.
#[derive(Clone, Debug)]
pub struct Target {
    /// Index of the selector that it was tapped for.
    pub id: TargetId,
    /// Who it is.
    pub process: Process,
    /// Its mapped files that hold a TLS library; at least one of them can be tapped.
    pub images: Vec<Image>,
    /// Its mapped files that know the version of one.
    pub companions: Vec<Companion>,
    /// Its mapped files that would take too much work to read, with the reason.
    pub refused: Vec<String>,
}

impl Target {
    /// Finds what can be tapped in process `pid`.
    ///
    /// # Errors
    ///
    /// There is no such process, it may not be read, or nothing in it can be tapped.
    pub fn resolve(planner: &mut Planner, id: TargetId, pid: u32) -> Result<Self, Error> {
        let pid = process::of_thread(pid).map_err(|_| Error::NoSuchProcess(pid))?;
        let process = Process::read(pid).map_err(|_| Error::NoSuchProcess(pid))?;
        let survey = survey(planner, pid).map_err(|error| unreadable(&process, &error))?;
        if survey.translator.is_some() || !survey.images.iter().any(has_tappable) {
            let sockets = if has_sockets(pid) {
                "its TCP sockets are tapped without a probe"
            } else {
                "it has no TCP socket"
            };
            return Err(no_tls(&process, &survey, sockets));
        }
        Ok(Self {
            id,
            process,
            images: survey.images,
            companions: survey.companions,
            refused: survey.refused,
        })
    }

    /// The version of a library in this process.
    #[must_use]
    pub fn version<'a>(&'a self, library: &'a Library) -> Option<&'a str> {
        version(library, &self.companions)
    }
}

/// The version of a library in a process that has mapped `companions`. Of a shared libssl, only the
/// libcrypto beside it knows the full version.
#[must_use]
pub fn version<'a>(library: &'a Library, companions: &'a [Companion]) -> Option<&'a str> {
    library.version_beside(companions.iter().find(|it| it.stack == library.stack))
}

/// Whether a process has TCP sockets, listening or connected. `false` where that may not be read.
#[must_use]
pub fn has_sockets(pid: u32) -> bool {
    let sockets = tcp::inodes(pid).and_then(|inodes| tcp::sockets(pid, &inodes));
    sockets.is_ok_and(|sockets| !sockets.is_empty())
}

/// Whether a tap on any library in this image would see plaintext.
#[must_use]
pub fn has_tappable(image: &Image) -> bool {
    image.plan.libraries.iter().any(Library::is_tappable)
}

/// What was found in a process's mapped files.
#[derive(Debug, Default)]
pub struct Survey {
    /// Files that hold a TLS library, tappable or not.
    pub images: Vec<Image>,
    /// What the other files know of a library's version.
    pub companions: Vec<Companion>,
    /// Files that were read.
    pub files: usize,
    /// Files that could not be opened, with the reason.
    pub unreadable: Vec<String>,
    /// Files that would take too much work to read, with the reason.
    pub refused: Vec<String>,
    /// Files that were gone when they were to be read: unmapped or replaced.
    pub gone: Vec<String>,
    /// What translates the code of the process, so that it gets no probes.
    pub translator: Option<&'static str>,
}

/// Reads every file that `pid` has mapped executable.
///
/// # Errors
///
/// The process is gone, or its mappings may not be read.
pub fn survey(planner: &mut Planner, pid: u32) -> io::Result<Survey> {
    let mappings = process::executable_files(pid)?;
    let translator = Process::read(pid).ok().and_then(|it| translator::of(&it, &mappings));
    let mut survey = Survey { translator, ..Survey::default() };
    for mapping in mappings {
        survey.files += 1;
        match planner.image_at_leisure(pid, &mapping) {
            Ok(image) if !image.plan.libraries.is_empty() => survey.images.push(image),
            Ok(image) => survey.companions.extend(image.plan.companion.clone()),
            Err(error) if is_refusal(&error) => {
                survey.refused.push(format!("{}: {error}", mapping.path.display()));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                survey.refused.push(format!("{}: it is still being read", mapping.path.display()));
            }
            // It is unmapped again or replaced, or the process has ended.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                survey.gone.push(format!("{}: {error}", mapping.path.display()));
            }
            Err(error) => {
                survey.unreadable.push(format!("{}: {error}", mapping.path.display()));
            }
        }
    }
    Ok(survey)
}

pub(in crate::capture) fn unreadable(process: &Process, error: &io::Error) -> Error {
    let (pid, comm) = (process.pid, &process.comm);
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            Error::privilege(&format!("look into pid {pid} ({comm})"), error)
        }
        _ => Error::NoSuchProcess(pid),
    }
}

/// Why the TLS libraries in these images cannot be tapped; `None` where there are none.
pub(in crate::capture) fn refusals(images: &[Image]) -> Option<String> {
    let found: Vec<String> = images
        .iter()
        .flat_map(|image| image.plan.libraries.iter().map(move |library| (image, library)))
        .filter_map(|(image, library)| {
            Some(format!("{} ({})", library.refusal()?, image.path.display()))
        })
        .collect();
    (!found.is_empty()).then(|| found.join("; "))
}

/// Why a 32-bit program is refused.
pub(in crate::capture) const A_32_BIT_PROGRAM: &str =
    "it is a 32-bit program, and wstap taps 64-bit programs";

/// `sockets` says why those are not tapped either.
pub(in crate::capture) fn no_tls(process: &Process, survey: &Survey, sockets: &str) -> Error {
    let who = format!("pid {} ({})", process.pid, process.comm);
    if survey.files == 0 {
        return Error::NoTls(format!("{who} has no executable file mapped: a kernel thread?"));
    }
    if process::is_32_bit(process.pid) {
        return Error::NoTls(format!("{who} cannot be tapped: {A_32_BIT_PROGRAM}"));
    }
    if let Some(translator) = survey.translator {
        let why = translator::why(translator);
        return Error::NoTls(format!("{who} cannot be tapped: {why}; {sockets}"));
    }
    if let Some(found) = refusals(&survey.images) {
        return Error::NoTls(format!("{who} cannot be tapped: {found}; {sockets}"));
    }
    if let Some(first) = survey.refused.first() {
        return Error::NoTls(format!("{who} cannot be tapped: {first}; {sockets}"));
    }
    if survey.unreadable.len() == survey.files {
        let first = survey.unreadable.first().map_or("", String::as_str);
        return Error::privilege(&format!("open the files of {who}"), &first);
    }
    if let Some(image) = survey.images.iter().find(|image| has_tappable(image)) {
        let file = image.path.display();
        return Error::NoTls(format!(
            "{who} has a TLS library in {file}, and no probe is in place there yet; {sockets}; with \
             --wait, wstap tries again until it is"
        ));
    }
    let unread = not_looked_into(survey).unwrap_or_default();
    Error::NoTls(format!(
        "{who} has no TLS library that wstap knows in its {} mapped files{unread}, and {sockets}; \
         `wstap ps` lists the processes that can be tapped; with --wait, wstap waits until this one \
         can",
        survey.files
    ))
}

/// How many files were not looked into, where there are any, and why the first was not: a TLS library in
/// it would not be found.
fn not_looked_into(survey: &Survey) -> Option<String> {
    let mut unread = survey.unreadable.iter().chain(&survey.gone);
    let first = unread.next()?;
    let count = 1 + unread.count();
    Some(format!(" ({count} of them could not be looked into; {first})"))
}
