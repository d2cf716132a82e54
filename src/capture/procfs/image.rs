//! From a mapping to a probe plan: reads the very file that a process has mapped, and asks
//! `wstap-symbols` what is in it.
//!
//! A probe on the wrong inode attaches without an error and never fires, and so does a probe at a
//! place that the process does not execute from this file. So a path is only trusted when device
//! and inode are those of the mapping, and a plan only where its places are mapped executable.
//! Everything here may wait for a file system. [`super::planner`] sees to it that the tap does not.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha1::{Digest, Sha1};
use wstap_symbols::{Evidence, Library, Options, Plan, UserOffset, Verdict, Zlib};

use super::file::progress::{Progress, Stage};
use super::file::{self, Opened};
use super::plans::{Planned, SharedPlans};
use super::process::{FileId, Mapping};
use super::{debug, large_pages};

/// A mapped file of a process, and what can be probed in it.
#[derive(Clone, Debug)]
pub struct Image {
    /// Which file.
    pub file: FileId,
    /// Its path as the process sees it: for people.
    pub path: PathBuf,
    /// A path that leads wstap to the file: for the kernel.
    pub attach_path: PathBuf,
    /// What is in it. In two processes it may differ: see [`Verdict::NotExecuted`].
    pub plan: Arc<Plan>,
}

/// Functions that a user has found in one build of a program or library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserLibrary {
    /// The build id, or the SHA-1 of an image that has none; in lower-case hexadecimal.
    pub build: String,
    /// The functions.
    pub functions: Vec<UserOffset>,
}

/// Makes plans, each file's once however many processes map it.
///
/// A plan is kept for a file, not for a build id: a process may have mapped a file that only claims
/// to be of a certain build, and a plan made from it would put probes into the middle of
/// instructions of the real one. It is not kept on disk either, since planning 300 MB takes less
/// than half a second of processor time, most of it to read them.
#[derive(Debug, Default)]
pub(super) struct Recipe {
    options: Options,
    user_libraries: Vec<UserLibrary>,
    plans: SharedPlans,
}

impl Recipe {
    pub(super) fn new(options: Options, user_libraries: Vec<UserLibrary>) -> Self {
        Self { options, user_libraries, plans: SharedPlans::default() }
    }

    /// Reads and plans the file behind `mapping` of process `pid`. Tells `progress` how
    /// far it is.
    ///
    /// A file that is no ELF image, or a damaged one, has an empty plan: the loader accepted
    /// something else there, and other mappings may still hold a TLS library.
    ///
    /// # Errors
    ///
    /// The file cannot be opened or read; or it is refused, because planning it would take far more
    /// work than any honest file does.
    pub(super) fn image(
        &self,
        pid: u32,
        mapping: &Mapping,
        progress: &Arc<Progress>,
    ) -> io::Result<Image> {
        let (attach_path, opened) = file::open_mapped(pid, mapping)?;
        let key = (mapping.file, opened.metadata.len(), opened.metadata.modified().ok());
        let make = || self.plan(opened, pid, &mapping.path, progress);
        let plan = self.plans.get_or_make(key, progress, make)?;
        let plan = plan.map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidData, format!("refused: {error}"))
        })?;
        let plan = executed(plan, pid, mapping);
        Ok(Image { file: mapping.file, path: mapping.path.clone(), attach_path, plan })
    }

    fn plan(
        &self,
        opened: Opened,
        pid: u32,
        path: &Path,
        progress: &Progress,
    ) -> io::Result<Planned> {
        let bytes = opened.read_elf(progress)?;
        progress.enter(Stage::Planning);
        // The planner does not panic, whatever the bytes are. If it does, only this image is lost.
        let planned = catch_unwind(|| wstap_symbols::plan(&bytes, &self.options));
        let planned = planned.map_err(|_| io::Error::other("looking into it failed; a bug"))?;
        let plan = match planned {
            Ok(plan) => plan,
            Err(error) if error.is_refusal() => return Ok(Err(error)),
            Err(error) => {
                tracing::debug!("{}: not planned: {error}", path.display());
                Plan::default()
            }
        };
        Ok(Ok(Arc::new(self.with_evidence(&bytes, pid, path, &plan).unwrap_or(plan))))
    }

    /// What the user has found in this build.
    fn user_library(&self, build_id: Option<&str>, bytes: &[u8]) -> Option<&UserLibrary> {
        // Hashing a large program takes a while, and is for those who ask for it.
        if self.user_libraries.is_empty() {
            return None;
        }
        let build = build_id.map_or_else(|| sha1_hex(bytes), str::to_owned);
        self.user_libraries.iter().find(|library| library.build == build)
    }

    /// A plan that needs more than the image: the user's functions, or else a debug file where a
    /// library was found and its functions were not.
    fn with_evidence(&self, bytes: &[u8], pid: u32, path: &Path, plan: &Plan) -> Option<Plan> {
        let build_id = plan.build_id.as_ref().map(ToString::to_string);
        if let Some(library) = self.user_library(build_id.as_deref(), bytes) {
            let evidence = Evidence { user_offsets: &library.functions, debug: None };
            return wstap_symbols::plan_with(bytes, evidence, &self.options).ok();
        }
        if plan.libraries.is_empty() || plan.libraries.iter().any(Library::is_tappable) {
            return None;
        }
        let debug = debug::find(pid, path, bytes, build_id.as_deref())?;
        let evidence = Evidence { debug: Some(&debug), user_offsets: &[] };
        wstap_symbols::plan_with(bytes, evidence, &self.options).ok()
    }
}

/// What stands for the build of an image that has no build id: the SHA-1 of its bytes, as `sha1sum`
/// prints it.
fn sha1_hex(bytes: &[u8]) -> String {
    Sha1::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a person must hear why reading or planning a file failed: a TLS library in it would not
/// be seen. Other failures come from processes that have just ended, or from missing privileges,
/// which are reported elsewhere.
#[must_use]
pub fn is_refusal(error: &io::Error) -> bool {
    !matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::WouldBlock
    )
}

impl Image {
    /// A file in which there is nothing to find.
    pub(super) fn empty(mapping: &Mapping) -> Self {
        let (file, path) = (mapping.file, mapping.path.clone());
        Self { file, attach_path: path.clone(), path, plan: Arc::default() }
    }

    /// Refuses the libraries that the process does not execute from this file, by its current
    /// mappings. `true` if one is newly refused.
    pub(in crate::capture) fn keep_executed(&mut self, pid: u32, mapping: &Mapping) -> bool {
        let before = Arc::as_ptr(&self.plan);
        self.plan = executed(Arc::clone(&self.plan), pid, mapping);
        before != Arc::as_ptr(&self.plan)
    }
}

/// The plan, without the libraries whose code this process does not execute from the file, or soon
/// will not: Node.js copies its own to large pages, for example. A probe in the file would not fire
/// then, or be copied.
fn executed(plan: Arc<Plan>, pid: u32, mapping: &Mapping) -> Arc<Plan> {
    let is_refused = |library: &Library| !library.is_tappable();
    if plan.libraries.iter().all(is_refused) && plan.zlib.is_none() {
        return plan;
    }
    let is_copied = is_program(pid, mapping.file) && large_pages::copies_program(pid);
    let is_executed = |library: &Library| {
        !is_copied && library.probes.iter().all(|probe| mapping.executes(probe.offset))
    };
    let is_zlib_executed =
        |zlib: &Zlib| !is_copied && zlib.probes.iter().all(|probe| mapping.executes(probe.offset));
    if plan.libraries.iter().all(|library| is_refused(library) || is_executed(library))
        && plan.zlib.iter().all(is_zlib_executed)
    {
        return plan;
    }
    let mut plan = Arc::unwrap_or_clone(plan);
    plan.zlib = plan.zlib.filter(is_zlib_executed);
    for library in plan.libraries.iter_mut().filter(|library| !is_executed(library)) {
        if library.is_tappable() {
            library.verdict = Verdict::NotExecuted;
            library.probes.clear();
        }
    }
    Arc::new(plan)
}

/// Whether this file is the program that process `pid` runs.
fn is_program(pid: u32, file: FileId) -> bool {
    let program = fs::metadata(format!("/proc/{pid}/exe"));
    program.is_ok_and(|it| FileId { device: it.dev(), inode: it.ino() } == file)
}
