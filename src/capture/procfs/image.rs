//! From a mapping to a probe plan: open the very file that a process has mapped, and ask
//! `wstap-symbols` what is in it.
//!
//! A probe on the wrong inode attaches without an error and never fires, so a path is only
//! trusted when device and inode are those of the mapping.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;
use wstap_symbols::{Evidence, Library, Options, Plan, UserOffset};

use super::debug;
use super::plans::{Planned, Plans};
use super::process::{FileId, Mapping};

/// A mapped file of a process, and what can be probed in it.
#[derive(Clone, Debug)]
pub struct Image {
    /// Which file.
    pub file: FileId,
    /// Its path as the process sees it: for people.
    pub path: PathBuf,
    /// A path that leads wstap to the file: for the kernel.
    pub attach_path: PathBuf,
    /// What is in it.
    pub plan: Arc<Plan>,
}

/// Functions that a user has found in one build of a program or library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserLibrary {
    /// The build id, in lower-case hexadecimal.
    pub build_id: String,
    /// The functions.
    pub functions: Vec<UserOffset>,
}

/// Plans images, each file once however many processes map it.
///
/// A plan is kept for a file, not for a build id: a process may have mapped a file that only claims
/// to be of a certain build, and a plan made from it would put probes into the middle of
/// instructions of the real one. It is not kept on disk either, since planning 300 MB takes less
/// than half a second of processor time, most of it to read them.
#[derive(Debug, Default)]
pub struct Planner {
    options: Options,
    user_libraries: Vec<UserLibrary>,
    plans: Plans,
}

impl Planner {
    /// A planner with an empty cache.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options, ..Self::default() }
    }

    /// The same, with functions that a user has found.
    #[must_use]
    pub fn with_user_libraries(options: Options, user_libraries: Vec<UserLibrary>) -> Self {
        Self { options, user_libraries, plans: Plans::default() }
    }

    /// Opens and plans the file behind `mapping` of process `pid`.
    ///
    /// A file that is no ELF image, or a damaged one, has an empty plan: the loader accepted
    /// something else there, and other mappings may still hold a TLS library.
    ///
    /// # Errors
    ///
    /// The file cannot be reached or read; or it was refused ([`is_refusal`]), because to read it
    /// would take far more work than any honest file does.
    pub fn image(&mut self, pid: u32, mapping: &Mapping) -> io::Result<Image> {
        let (attach_path, file) = open(pid, mapping)?;
        let metadata = file.metadata()?;
        let key = (mapping.file, metadata.len(), metadata.modified().ok());
        let plan = match self.plans.get(&key) {
            Some(plan) => plan,
            None => {
                let plan = self.plan(&file, pid, &mapping.path)?;
                self.plans.insert(key, plan.clone());
                plan
            }
        };
        let plan = plan.map_err(|error| io::Error::new(REFUSED, format!("refused: {error}")))?;
        Ok(Image { file: mapping.file, path: mapping.path.clone(), attach_path, plan })
    }

    fn plan(&self, file: &File, pid: u32, path: &Path) -> io::Result<Planned> {
        // SAFETY: the map is private, read only and dropped before this function returns. Its
        // bytes may still change under us, or vanish, if someone rewrites a mapped program in
        // place; that kills the traced process too, and package managers do not do it.
        let bytes = unsafe { Mmap::map(file) }?;
        let plan = match wstap_symbols::plan(&bytes, &self.options) {
            Ok(plan) => plan,
            Err(error) if error.is_refusal() => return Ok(Err(error)),
            Err(error) => {
                tracing::debug!("{}: not planned: {error}", path.display());
                Plan::default()
            }
        };
        Ok(Ok(Arc::new(self.with_evidence(&bytes, pid, path, &plan).unwrap_or(plan))))
    }

    /// A plan that needs more than the image: the user's functions, or else a debug file where a
    /// library was found and its functions were not.
    fn with_evidence(&self, bytes: &[u8], pid: u32, path: &Path, plan: &Plan) -> Option<Plan> {
        let build_id = plan.build_id.as_ref().map(ToString::to_string);
        let library = self.user_libraries.iter().find(|it| Some(&it.build_id) == build_id.as_ref());
        if let Some(library) = library {
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

const REFUSED: io::ErrorKind = io::ErrorKind::InvalidData;

/// Whether [`Planner::image`] failed because the file was refused: then a person is to be told.
#[must_use]
pub fn is_refusal(error: &io::Error) -> bool {
    error.kind() == REFUSED
}

/// Opens the file of a mapping: through the mapping itself where that is permitted, because it
/// works for deleted and replaced files too, else through the process's own root.
fn open(pid: u32, mapping: &Mapping) -> io::Result<(PathBuf, File)> {
    let (start, end) = mapping.range;
    let by_mapping = PathBuf::from(format!("/proc/{pid}/map_files/{start:x}-{end:x}"));
    if let Ok(file) = File::open(&by_mapping) {
        return Ok((by_mapping, file));
    }
    let mut by_root = PathBuf::from(format!("/proc/{pid}/root"));
    by_root.push(mapping.path.strip_prefix("/").unwrap_or(&mapping.path));
    let file = File::open(&by_root)?;
    let metadata = file.metadata()?;
    let found = FileId { device: metadata.dev(), inode: metadata.ino() };
    if found != mapping.file {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "the path leads to another file than the mapped one (replaced on disk?)",
        ));
    }
    Ok((by_root, file))
}
