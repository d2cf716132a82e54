//! Plans images without making the tap wait.
//!
//! The files belong to others, and their file systems may answer late or never, for example over a
//! network that is gone. So files are opened, read and planned on another thread. The caller says
//! how long it waits; whatever takes longer is finished in the background, and is asked for again
//! later. A file that does not answer for a long time is reported by name. Threads that hang are
//! bounded for each process and each file system, so one of them cannot keep others from being
//! planned.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};
use std::{fs, io};

use wstap_symbols::Options;

use super::file::mounts;
use super::file::progress::{Progress, Stage};
use super::image::{Image, Recipe, UserLibrary};
use super::process::{self, FileId, Mapping};
use crate::capture::confine::privilege::Powers;

/// How long a caller waits for one image if it can do nothing else meanwhile.
pub const PATIENT: Duration = Duration::from_secs(2);
/// How long a caller waits for one image if other processes wait for the caller. The largest
/// programs are planned within it, and a file system that hangs costs it once.
pub const BRIEF: Duration = Duration::from_millis(250);
/// A file system that has not passed a byte for this long is reported.
const ANSWER: Duration = Duration::from_secs(2);
/// An image that has taken longer than this is reported, although its file system answers. A slow disk
/// or a busy machine may take so long.
const WORK: Duration = Duration::from_secs(10);
/// How soon an unfinished image is asked for again.
const AGAIN: Duration = Duration::from_millis(20);
/// What is known of mounts is read again after this long.
const MOUNTS_AGE: Duration = Duration::from_millis(500);
/// Unfinished images of one process; others of it wait.
const BY_PROCESS_MAX: usize = 4;
/// Files of one process that are begun ahead; the largest programs map some hundred.
const AHEAD_MAX: usize = 512;
/// Unfinished images in all, a bound for threads and memory.
const MAX: usize = 64;

/// Plans images on a thread of its own.
#[derive(Debug)]
pub struct Planner {
    recipe: Arc<Recipe>,
    powers: Powers,
    worker: Option<Sender<Job>>,
    unfinished: Vec<Unfinished>,
    /// A file that counts as empty.
    passed_over: Option<FileId>,
    mounts: Option<Mounts>,
    /// No file is begun ahead any more.
    is_ahead_over: Arc<AtomicBool>,
}

/// The file systems of one process that may never answer, as read at one moment.
#[derive(Debug)]
struct Mounts {
    pid: u32,
    read: Instant,
    fuse: BTreeSet<u64>,
}

/// An image whose caller does not wait for it any longer.
#[derive(Debug)]
struct Unfinished {
    pid: u32,
    file: FileId,
    since: Instant,
    progress: Arc<Progress>,
}

impl Unfinished {
    /// Whether its file system is being waited for, and has passed nothing for long.
    fn hangs(&self) -> bool {
        self.progress.is(Stage::Reading) && self.progress.silence() >= ANSWER
    }

    /// Why there is no plan yet.
    fn error(&self) -> io::Error {
        let (text, longest) = if self.hangs() {
            ("its file system did not answer for", self.progress.silence())
        } else if self.since.elapsed() < WORK {
            return io::ErrorKind::WouldBlock.into();
        } else if self.progress.is(Stage::Reading) {
            ("reading it has taken more than", self.since.elapsed())
        } else {
            ("looking for its TLS functions has taken more than", self.since.elapsed())
        };
        io::Error::new(io::ErrorKind::TimedOut, format!("{text} {} s", longest.as_secs()))
    }
}

struct Job {
    pid: u32,
    mapping: Mapping,
    progress: Arc<Progress>,
    answer: Sender<io::Result<Image>>,
}

impl Job {
    fn run(self, recipe: &Recipe) {
        let image = recipe.image(self.pid, &self.mapping, &self.progress);
        self.progress.enter(Stage::Done);
        // The caller may have given up; then the plan is kept for the next time it asks.
        let _ = self.answer.send(image);
    }
}

impl Default for Planner {
    fn default() -> Self {
        Self::new(Options::default())
    }
}

impl Planner {
    /// A planner that has planned nothing yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self::with_user_libraries(options, Vec::new())
    }

    /// The same, with functions that a user has found.
    #[must_use]
    pub fn with_user_libraries(options: Options, libraries: Vec<UserLibrary>) -> Self {
        Self {
            recipe: Arc::new(Recipe::new(options, libraries)),
            powers: Powers::All,
            worker: None,
            unfinished: Vec::new(),
            passed_over: None,
            mounts: None,
            is_ahead_over: Arc::default(),
        }
    }

    /// The same, but wstap's own program counts as empty: it names the functions of TLS libraries and
    /// has none. A command that wstap has not started yet still runs it.
    #[must_use]
    pub fn without_own_program(self) -> Self {
        let own = fs::metadata("/proc/self/exe").ok();
        let id = |it: fs::Metadata| FileId { device: it.dev(), inode: it.ino() };
        Self { passed_over: own.map(id), ..self }
    }

    /// Begins to plan the first [`AHEAD_MAX`] files of each of these processes, while the caller does
    /// something else. Whoever asks for one of them later finds it planned, or waits for the rest. No
    /// file is begun any more once the powers are reduced ([`Planner::keep_only`]).
    pub fn plan_ahead(&self, pids: &[u32]) {
        let mappings: Vec<(u32, Mapping)> =
            pids.iter().flat_map(|&pid| self.readable(pid).map(move |it| (pid, it))).collect();
        let (recipe, is_over) = (Arc::clone(&self.recipe), Arc::clone(&self.is_ahead_over));
        // If there can be no thread, all is planned when it is asked for.
        let _ = thread::Builder::new().name("wstap-ahead".into()).spawn(move || {
            let is_over = || is_over.load(Ordering::Relaxed);
            for (pid, mapping) in mappings.iter().take_while(|_| !is_over()) {
                let _ = recipe.image(*pid, mapping, &Arc::default());
            }
        });
    }

    /// The executable files of a process whose file systems may be asked.
    fn readable(&self, pid: u32) -> impl Iterator<Item = Mapping> + use<> {
        let fuse = mounts::fuse_devices(pid);
        let passed_over = self.passed_over;
        let mappings = process::executable_files(pid).unwrap_or_default();
        mappings
            .into_iter()
            .filter(move |it| passed_over != Some(it.file) && !fuse.contains(&it.file.device))
            .take(AHEAD_MAX)
    }

    /// Plans with these powers from now on. To be called after the calling thread has reduced its
    /// own: the next thread inherits them.
    pub(in crate::capture) fn keep_only(&mut self, powers: Powers) {
        self.powers = powers;
        self.worker = None;
        self.is_ahead_over.store(true, Ordering::Relaxed);
    }

    /// The image behind `mapping` of process `pid`, if it is planned within `patience`.
    ///
    /// # Errors
    ///
    /// `WouldBlock`: it is not planned yet; ask again. `TimedOut`: its file system does not answer;
    /// asking again does no harm. Others: it cannot be opened or read.
    pub fn image(&mut self, pid: u32, mapping: &Mapping, patience: Duration) -> io::Result<Image> {
        if self.passed_over == Some(mapping.file) {
            return Ok(Image::empty(mapping));
        }
        if self.is_on_fuse(pid, mapping.file) {
            let text = "it is on a FUSE file system, which may never answer, so it is not read";
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        self.unfinished.retain(|it| !it.progress.is(Stage::Done));
        self.make_room_for(pid, mapping.file)?;
        let (answer, answered) = channel();
        let progress = Arc::<Progress>::default();
        let job = Job { pid, mapping: mapping.clone(), progress: Arc::clone(&progress), answer };
        self.hand_over(job)?;
        let unfinished = Unfinished { pid, file: mapping.file, since: Instant::now(), progress };
        match answered.recv_timeout(patience / (1 + self.unfinished.len() as u32)) {
            Ok(image) => image,
            Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("its thread has ended")),
            Err(RecvTimeoutError::Timeout) => {
                // The thread stays with this image. Others get a new one.
                self.worker = None;
                let error = unfinished.error();
                self.unfinished.push(unfinished);
                Err(error)
            }
        }
    }

    /// The same for a caller whom nobody waits for: asks until the image is planned, or its file system is
    /// silent, or it has taken too long.
    ///
    /// # Errors
    ///
    /// As above; `WouldBlock` only where other images of the process are in the way for long.
    pub fn image_at_leisure(&mut self, pid: u32, mapping: &Mapping) -> io::Result<Image> {
        let began = Instant::now();
        loop {
            match self.image(pid, mapping, PATIENT) {
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock && began.elapsed() < WORK =>
                {
                    thread::sleep(AGAIN);
                }
                result => return result,
            }
        }
    }

    /// Mounts are read once for the files of a process that are asked for together.
    fn is_on_fuse(&mut self, pid: u32, file: FileId) -> bool {
        let is_known = |it: &Mounts| it.pid == pid && it.read.elapsed() < MOUNTS_AGE;
        if !self.mounts.as_ref().is_some_and(is_known) {
            let fuse = mounts::fuse_devices(pid);
            self.mounts = Some(Mounts { pid, read: Instant::now(), fuse });
        }
        self.mounts.as_ref().is_some_and(|mounts| mounts.fuse.contains(&file.device))
    }

    /// Whether an image of this process may be begun, and not one more of a file system that hangs.
    fn make_room_for(&self, pid: u32, file: FileId) -> io::Result<()> {
        let is_in_the_way = |it: &&Unfinished| {
            let waits = it.progress.is(Stage::Reading) && it.progress.silence() >= BRIEF;
            it.file == file || (waits && it.file.device == file.device)
        };
        if let Some(other) = self.unfinished.iter().find(is_in_the_way) {
            return Err(other.error());
        }
        let of_process = || self.unfinished.iter().filter(|it| it.pid == pid);
        if of_process().count() < BY_PROCESS_MAX && self.unfinished.len() < MAX {
            return Ok(());
        }
        let oldest = of_process().chain(&self.unfinished).next();
        Err(oldest.map_or_else(|| io::ErrorKind::WouldBlock.into(), Unfinished::error))
    }

    fn hand_over(&mut self, job: Job) -> io::Result<()> {
        let job = match &self.worker {
            // It has ended only if it has panicked.
            Some(worker) => match worker.send(job) {
                Ok(()) => return Ok(()),
                Err(refused) => refused.0,
            },
            None => job,
        };
        let (jobs, incoming) = channel::<Job>();
        let (recipe, powers) = (Arc::clone(&self.recipe), self.powers);
        thread::Builder::new().name("wstap-planner".into()).spawn(move || {
            for job in incoming {
                let _raised = powers.raise();
                job.run(&recipe);
            }
        })?;
        let _ = jobs.send(job);
        self.worker = Some(jobs);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::procfs::process::executable_files;

    fn stuck(pid: u32, device: u64, inode: u64, seconds: u64) -> Unfinished {
        let since = Instant::now() - Duration::from_secs(seconds);
        let progress = Arc::new(Progress::since(since));
        Unfinished { pid, file: FileId { device, inode }, since, progress }
    }

    #[test]
    fn an_image_is_planned_and_a_file_system_that_hangs_does_not_keep_it_from_that() {
        let me = std::process::id();
        let own = executable_files(me).unwrap();
        let mut planner = Planner::default();
        planner.unfinished.push(stuck(me, u64::MAX, 1, 60));
        let image = planner.image(me, &own[0], 60 * PATIENT).unwrap();
        assert_eq!(image.file, own[0].file);
        assert_eq!(planner.unfinished.len(), 1);
    }

    #[test]
    fn a_file_system_that_hangs_is_asked_for_one_file_and_reported_for_all() {
        let mut planner = Planner::default();
        planner.unfinished.push(stuck(7, 1, 1, 60));
        let kind = |planner: &Planner, device, inode| {
            planner.make_room_for(8, FileId { device, inode }).map_err(|error| error.kind())
        };
        assert_eq!(kind(&planner, 1, 2), Err(io::ErrorKind::TimedOut));
        assert_eq!(kind(&planner, 2, 2), Ok(()));
        // It has answered, and its planning takes long.
        planner.unfinished[0].progress.enter(Stage::Planning);
        assert_eq!(kind(&planner, 1, 2), Ok(()));
        assert_eq!(kind(&planner, 1, 1), Err(io::ErrorKind::TimedOut), "the file itself");
    }

    /// A slow disk is no reason to call a file unreadable, nor another one of the same disk.
    #[test]
    fn a_file_system_that_answers_slowly_is_waited_for() {
        let slow = stuck(7, 1, 1, 5);
        assert!(slow.error().to_string().contains("did not answer"), "{}", slow.error());
        slow.progress.has_answered();
        assert_eq!(slow.error().kind(), io::ErrorKind::WouldBlock);
        let mut planner = Planner::default();
        planner.unfinished.push(slow);
        assert!(planner.make_room_for(8, FileId { device: 1, inode: 2 }).is_ok());

        let too_slow = stuck(7, 1, 1, 60);
        too_slow.progress.has_answered();
        assert!(too_slow.error().to_string().contains("reading it"), "{}", too_slow.error());
    }

    #[test]
    fn one_process_cannot_take_all_threads() {
        let mut planner = Planner::default();
        let of_one = (0..BY_PROCESS_MAX as u64).map(|device| stuck(7, device, 1, 0));
        planner.unfinished.extend(of_one);
        let other = FileId { device: 100, inode: 1 };
        let refused = planner.make_room_for(7, other).map_err(|error| error.kind());
        assert_eq!(refused, Err(io::ErrorKind::WouldBlock));
        assert!(planner.make_room_for(8, other).is_ok());
    }
}
