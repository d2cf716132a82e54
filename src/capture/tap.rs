//! The tap itself: loads the BPF programs, attaches them, reads the ring buffer.
//!
//! A [`Tap`] lives on the stack of the thread that reads it. Probes are gone when their
//! [`Attachment`] is dropped, or when the process ends, in whatever way: the kernel owns them.

use std::cell::{Cell, OnceCell};
use std::io;
use std::mem::MaybeUninit;
use std::path::Path;
use std::time::Duration;

use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{
    ErrorKind, Link, MapCore, MapFlags, OpenObject, ProgramAttachType, ProgramMut, RingBuffer,
    RingBufferBuilder, UprobeMultiOpts, UprobeOpts,
};
use wstap_symbols::{Action, Probe};

use super::image::Image;
use super::kernel;
use super::lifecycle::Lifecycle;
use super::process;
use super::shared::Shared;
use super::skeleton::{TracerSkel, TracerSkelBuilder};
use super::socket::SocketPrograms;
use super::steering::Steering;
use super::{Error, wire};
use crate::decode::event::{ConnId, Event, TargetId};

/// Sizes of the kernel side.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Ring buffer, bytes; a power of two of at least 64 KiB.
    pub ring_bytes: u32,
    /// Payload bytes copied of each message.
    pub window_bytes: u32,
    /// Connections that the kernel keeps offsets for; the longest unused goes first.
    pub connections: u32,
    /// How soon the reader hears of a record.
    pub wakeup: Wakeup,
    /// Hear of every program that is run, not only by tapped processes.
    pub watch_execs: bool,
}

impl Settings {
    /// The fill of the ring buffer that wakes the reader; 0: every record does.
    pub(super) fn wake_bytes(&self) -> u64 {
        match self.wakeup {
            Wakeup::Batched => u64::from(self.ring_bytes / 8),
            Wakeup::Immediate => 0,
        }
    }
}

/// How soon the reader hears of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wakeup {
    /// When its timer fires, or the ring buffer is an eighth full: nearly free for the target.
    Batched,
    /// At once: for interactive views.
    Immediate,
}

/// How the programs were loaded: the best that this kernel takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flavour {
    /// Attached with `uprobe_multi` links (6.6 and newer); otherwise a perf event for each probe.
    pub multi: bool,
    /// Sleepable, so that paged-out buffers and `lockdown=confidentiality` do no harm (6.1).
    pub sleepable: bool,
    /// What is not paged out is read without preparing for a fault, which is cheaper.
    /// `lockdown=confidentiality` forbids it.
    pub reads_at_once: bool,
    /// `bpf_loop` bounds the work for one call (5.17); otherwise calls beyond about 350 KiB are
    /// cut.
    pub bounded_loop: bool,
}

/// Best first. Each is tried until one loads: a version number would not tell what a
/// distribution backported or locked down.
pub const FLAVOURS: [Flavour; 9] = [
    Flavour { multi: true, sleepable: true, reads_at_once: true, bounded_loop: true },
    Flavour { multi: true, sleepable: true, reads_at_once: false, bounded_loop: true },
    Flavour { multi: true, sleepable: false, reads_at_once: true, bounded_loop: true },
    Flavour { multi: false, sleepable: true, reads_at_once: true, bounded_loop: true },
    Flavour { multi: false, sleepable: true, reads_at_once: false, bounded_loop: true },
    Flavour { multi: false, sleepable: true, reads_at_once: true, bounded_loop: false },
    Flavour { multi: false, sleepable: true, reads_at_once: false, bounded_loop: false },
    Flavour { multi: false, sleepable: false, reads_at_once: true, bounded_loop: true },
    Flavour { multi: false, sleepable: false, reads_at_once: true, bounded_loop: false },
];

/// `include/uapi/linux/bpf.h`
const BPF_F_SLEEPABLE: u32 = 1 << 4;

/// Loaded programs and their maps.
pub struct Tap<'obj> {
    skel: TracerSkel<'obj>,
    flavour: Flavour,
    shared: Shared<'obj>,
    settings: Settings,
    /// The programs on sockets, once there was a reason to load them, and the room for them.
    sockets: OnceCell<SocketPrograms<'obj>>,
    room: Cell<Option<&'obj mut MaybeUninit<OpenObject>>>,
}

/// One thing that the ring buffer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// A call that passed bytes, or the end of a connection.
    Passed(Event<'a>),
    /// TLS passes on this socket. Nothing more is told of it.
    Encrypted(ConnId),
    /// Something has become of a process.
    Process(Lifecycle),
}

/// In which processes a probe fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In all threads of this one. Others pay nothing; a child is not included.
    Process(u32),
    /// In every process that maps the file, now or later. Those that are not tapped pay for a trap
    /// and are sent on their way.
    Everyone,
}

impl Scope {
    fn pid(self) -> i32 {
        match self {
            Self::Process(pid) => pid.cast_signed(),
            Self::Everyone => -1,
        }
    }
}

/// What the kernel side is told of a process that is to be tapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// The target that it belongs to.
    pub target: TargetId,
    /// Its children are tapped, too, from their first instruction.
    pub follow: bool,
    /// It is stopped whenever it runs a new program or loads a library, until it gets a SIGCONT.
    pub hold: bool,
    /// Its TCP sockets are tapped, too.
    pub sockets: bool,
}

/// Probes in one image; they are removed when this is dropped, which waits for the kernel.
#[derive(Debug)]
pub struct Attachment {
    /// The links that hold the probes.
    _links: Vec<Link>,
}

impl Attachment {
    pub(super) fn new(links: Vec<Link>) -> Self {
        Self { _links: links }
    }
}

/// What the kernel side lost for one reason since it was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Why, as a label says it.
    pub reason: &'static str,
    /// Ring buffer records that were not written; of `untracked` the calls.
    pub records: u64,
    /// Stream bytes that they stood for.
    pub bytes: u64,
}

/// Loads the tap and runs `body` with it.
///
/// # Errors
///
/// The kernel is too old or refuses the programs, or privileges are missing; else what `body`
/// returns.
pub fn with_tap<R>(
    settings: &Settings,
    body: impl FnOnce(&Tap<'_>) -> Result<R, Error>,
) -> Result<R, Error> {
    with_best(&FLAVOURS, settings, body)
}

/// [`with_tap`] with the first of `flavours` that loads.
///
/// # Errors
///
/// None loads; else as [`with_tap`].
pub fn with_best<R>(
    flavours: &[Flavour],
    settings: &Settings,
    body: impl FnOnce(&Tap<'_>) -> Result<R, Error>,
) -> Result<R, Error> {
    libbpf_rs::set_print(Some((libbpf_rs::PrintLevel::Debug, |_, text| {
        tracing::trace!("libbpf: {}", text.trim_end());
    })));
    let mut last = None;
    for &flavour in flavours {
        let (mut object, mut room) = (MaybeUninit::uninit(), MaybeUninit::uninit());
        match Tap::load(&mut object, &mut room, settings, flavour) {
            Ok(tap) => {
                tracing::debug!("programs loaded: {flavour:?}");
                return body(&tap);
            }
            // The verifier's refusal is EACCES as well.
            Err(error)
                if error.kind() == ErrorKind::PermissionDenied
                    && !super::privilege::missing().is_empty() =>
            {
                return Err(Error::privilege("load the BPF programs", &error));
            }
            Err(error) => {
                tracing::debug!("{flavour:?} does not load: {error:#}");
                last = Some(error);
            }
        }
    }
    Err(refused(&last.map_or_else(String::new, |error| format!("{error:#}"))))
}

/// Old kernels are told by their number, but only after trying: distributions backport.
fn refused(reason: &str) -> Error {
    let release = kernel::release();
    match kernel::parse_release(&release) {
        Some(version) if version < kernel::OLDEST => Error::Kernel(format!(
            "this is kernel {release}, and wstap needs {} or newer (uprobe attach cookies)",
            kernel::OLDEST
        )),
        _ => Error::Kernel(format!(
            "kernel {release} refuses the BPF programs ({reason}); `wstap doctor` tells more"
        )),
    }
}

impl<'obj> Tap<'obj> {
    fn load(
        object: &'obj mut MaybeUninit<OpenObject>,
        room: &'obj mut MaybeUninit<OpenObject>,
        settings: &Settings,
        flavour: Flavour,
    ) -> libbpf_rs::Result<Self> {
        let mut open = TracerSkelBuilder::default().open(object)?;
        open.maps.events.set_max_entries(settings.ring_bytes)?;
        open.maps.conns.set_max_entries(settings.connections)?;
        open.maps.go_calls.set_max_entries(settings.connections)?;
        let Some(rodata) = open.maps.rodata_data.as_deref_mut() else {
            return Err(libbpf_rs::Error::from(io::Error::other("the object has no settings")));
        };
        rodata.window_bytes = settings.window_bytes;
        rodata.wake_bytes = settings.wake_bytes();
        // The verifier drops the branches that these switch off.
        rodata.sleepable = flavour.sleepable;
        rodata.reads_at_once = flavour.reads_at_once;
        rodata.has_loop = flavour.bounded_loop;
        rodata.watch_execs = settings.watch_execs;
        let progs = &mut open.progs;
        for program in [
            &mut progs.tap_entry,
            &mut progs.tap_return,
            &mut progs.tap_release,
            &mut progs.go_enter,
            &mut progs.go_return,
            &mut progs.go_release,
            &mut progs.rustls_send,
            &mut progs.rustls_sent,
            &mut progs.rustls_received,
            &mut progs.rustls_release,
        ] {
            if flavour.multi {
                program.set_attach_type(ProgramAttachType::TraceUprobeMulti);
            }
            if flavour.sleepable {
                program.set_flags(BPF_F_SLEEPABLE);
            }
        }
        if flavour.multi {
            progs.loader_changed.set_attach_type(ProgramAttachType::TraceUprobeMulti);
        }
        let mut skel = open.load()?;
        let Some(words) = skel.maps.bss_shared_data.take() else {
            return Err(libbpf_rs::Error::from(io::Error::other("the object has no counters")));
        };
        let tap = Self {
            skel,
            flavour,
            shared: Shared::new(words),
            settings: *settings,
            sockets: OnceCell::new(),
            room: Cell::new(Some(room)),
        };
        if flavour.multi {
            tap.probe_multi()?;
        }
        Ok(tap)
    }

    /// Whether `uprobe_multi` links exist. Old kernels load such programs all the same and refuse
    /// the link with `EINVAL`; new ones get as far as finding that `/` is no regular file.
    fn probe_multi(&self) -> libbpf_rs::Result<()> {
        let opts = UprobeMultiOpts { offsets: vec![0], cookies: vec![0], ..Default::default() };
        match self.skel.progs.tap_release.attach_uprobe_multi_with_opts(-1, "/", "", opts) {
            Err(error) if error.kind() == ErrorKind::InvalidInput => Err(error),
            _ => Ok(()),
        }
    }

    /// How the programs were loaded.
    #[must_use]
    pub fn flavour(&self) -> Flavour {
        self.flavour
    }

    /// Hears of forks, execs and exits until the result is dropped.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn watch_processes(&self) -> Result<Attachment, Error> {
        let progs = &self.skel.progs;
        let programs = [&progs.process_fork, &progs.process_exec, &progs.process_exit];
        let links: libbpf_rs::Result<_> = programs.iter().map(|it| it.attach_trace()).collect();
        let links = links.map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied => Error::privilege("watch processes", &error),
            _ => Error::Kernel(format!("failed to watch processes: {error:#}")),
        })?;
        Ok(Attachment { _links: links })
    }

    /// Attaches the programs on TCP sockets, until the result is dropped. They heed the processes
    /// that [`Tap::tap_sockets`] was called for, or that were admitted so.
    ///
    /// # Errors
    ///
    /// The kernel refuses them, or has before; or privileges are missing.
    pub fn attach_sockets(&self) -> Result<Attachment, Error> {
        if let Some(programs) = self.sockets.get() {
            return programs.attach();
        }
        let Some(room) = self.room.take() else {
            return Err(Error::Kernel("the kernel has refused to let sockets be tapped".into()));
        };
        let programs = SocketPrograms::load(room, &self.skel.maps, &self.settings, self.flavour)?;
        self.sockets.get_or_init(|| programs).attach()
    }

    /// Taps, or taps no more, the TCP sockets of a process that is tapped.
    ///
    /// # Errors
    ///
    /// Privileges are missing.
    pub fn tap_sockets(&self, pid: u32, tapped: bool) -> Result<(), Error> {
        let (map, key) = (&self.skel.maps.tapped, pid.to_ne_bytes());
        let failed = |error: libbpf_rs::Error| match error.kind() {
            ErrorKind::PermissionDenied => {
                Error::privilege(&format!("tap the sockets of pid {pid}"), &error)
            }
            _ => Error::Other(format!("failed to tap the sockets of pid {pid}: {error:#}")),
        };
        let Some(mut entry) = map.lookup(&key, MapFlags::ANY).map_err(failed)? else {
            return Ok(());
        };
        wire::set_sockets(&mut entry, tapped);
        match map.update(&key, &entry, MapFlags::EXIST) {
            // It has ended meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            result => result.map_err(failed),
        }
    }

    /// Taps a process from now on, wherever probes are. One that is tapped already stays as it is.
    ///
    /// # Errors
    ///
    /// There are too many processes, or privileges are missing.
    pub fn admit(&self, pid: u32, admission: Admission) -> Result<(), Error> {
        let entry = wire::tapped(admission, self.shared.generations());
        let update = |flags| self.skel.maps.tapped.update(&pid.to_ne_bytes(), &entry, flags);
        match update(MapFlags::NO_EXIST) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                Err(Error::privilege(&format!("tap pid {pid}"), &error))
            }
            result => {
                result.map_err(|error| Error::Other(format!("failed to tap pid {pid}: {error:#}")))
            }
        }
    }

    /// Taps every program of this name from its first instruction on: as `/proc/PID/comm` has it,
    /// at most 15 bytes.
    ///
    /// # Errors
    ///
    /// There are more than 256 names.
    pub fn admit_comm(&self, comm: &[u8], admission: Admission) -> Result<(), Error> {
        let mut key = [0; 16];
        let length = comm.len().min(key.len() - 1);
        key[..length].copy_from_slice(&comm[..length]);
        self.skel
            .maps
            .comms
            .update(&key, &wire::tapped(admission, 0), MapFlags::ANY)
            .map_err(|error| Error::Other(format!("failed to select by name: {error:#}")))
    }

    /// Taps a process no more.
    pub fn dismiss(&self, pid: u32) {
        // It is gone already where the kernel side has seen the process end.
        let _ = self.skel.maps.tapped.delete(&pid.to_ne_bytes());
        self.shared.begin_epoch();
    }

    /// Forks, execs, loads and exits that could not be reported since the start.
    #[must_use]
    pub fn unheard(&self) -> u64 {
        self.shared.losses().process_records
    }

    /// Hears of libraries that the dynamic loader `image` maps, in any tapped process.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn attach_loader(&self, image: &Image) -> Result<Attachment, Error> {
        let mut links = Vec::new();
        let site: Vec<_> = image.plan.loader_notifier.iter().map(|&offset| (offset, 0)).collect();
        let program = &self.skel.progs.loader_changed;
        self.attach_sites(program, Scope::Everyone, &image.attach_path, &site, false, &mut links)
            .map_err(|error| Error::attach(&image.path, &error))?;
        Ok(Attachment { _links: links })
    }

    /// Probes an instruction of wstap itself that is never executed again, to learn whether
    /// attaching is permitted.
    ///
    /// # Errors
    ///
    /// It is not.
    pub fn try_attach(&self) -> Result<(), Error> {
        let path = Path::new("/proc/self/exe");
        let own = process::executable_files(std::process::id()).unwrap_or_default();
        // SAFETY: the call reads no memory of ours.
        let start = unsafe { libc::getauxval(libc::AT_ENTRY) };
        let Some(offset) = own.iter().find_map(|mapping| mapping.file_offset(start)) else {
            return Err(Error::Other("the entry point of wstap itself is not mapped".into()));
        };
        let (program, scope) = (&self.skel.progs.tap_release, Scope::Process(std::process::id()));
        self.attach_sites(program, scope, path, &[(offset, 0)], false, &mut Vec::new())
            .map_err(|error| Error::attach(path, &error))
    }

    /// Probes every function that `image` has.
    ///
    /// # Errors
    ///
    /// The process is gone, or the kernel refuses; then no probe of this image stays.
    pub fn attach(&self, scope: Scope, image: &Image) -> Result<Attachment, Error> {
        let probes = image.plan.libraries.iter().flat_map(|library| &library.probes);
        let mut sites = Sites::default();
        for probe in probes {
            sites.add(probe);
        }
        let progs = &self.skel.progs;
        let mut links = Vec::new();
        // Return probes first: a return without its entry is ignored, an entry whose return is
        // not yet probed would be kept as in flight.
        for (program, sites, retprobe) in [
            (&progs.tap_return, &sites.transfers, true),
            (&progs.tap_entry, &sites.transfers, false),
            (&progs.tap_release, &sites.releases, false),
            (&progs.go_return, &sites.go_returns, false),
            (&progs.go_enter, &sites.go_enters, false),
            (&progs.go_release, &sites.go_releases, false),
            (&progs.rustls_sent, &sites.rustls_sent, false),
            (&progs.rustls_send, &sites.rustls_sends, false),
            (&progs.rustls_received, &sites.rustls_received, false),
            (&progs.rustls_release, &sites.rustls_releases, false),
        ] {
            self.attach_sites(program, scope, &image.attach_path, sites, retprobe, &mut links)
                .map_err(|error| Error::attach(&image.path, &error))?;
        }
        Ok(Attachment { _links: links })
    }

    fn attach_sites(
        &self,
        program: &ProgramMut<'_>,
        scope: Scope,
        path: &Path,
        sites: &[(u64, u64)],
        retprobe: bool,
        links: &mut Vec<Link>,
    ) -> libbpf_rs::Result<()> {
        if sites.is_empty() {
            return Ok(());
        }
        let pid = scope.pid();
        if self.flavour.multi {
            let (offsets, cookies) =
                sites.iter().map(|&(offset, cookie)| (offset as usize, cookie)).unzip();
            let opts = UprobeMultiOpts { offsets, cookies, retprobe, ..Default::default() };
            links.push(program.attach_uprobe_multi_with_opts(pid, path, "", opts)?);
            return Ok(());
        }
        for &(offset, cookie) in sites {
            let opts = UprobeOpts { cookie, retprobe, ..Default::default() };
            links.push(program.attach_uprobe_with_opts(pid, path, offset as usize, opts)?);
        }
        Ok(())
    }

    /// A reader of the ring buffer that hands every record to `sink`, in the order in which the
    /// kernel reserved them.
    ///
    /// # Errors
    ///
    /// The ring buffer cannot be mapped.
    pub fn reader<'tap>(
        &'tap self,
        mut sink: impl FnMut(&Record<'_>) + 'tap,
    ) -> Result<Reader<'tap>, Error> {
        let mut builder = RingBufferBuilder::new();
        builder
            .add(&self.skel.maps.events, move |record| {
                match wire::record(record) {
                    Some(record) => sink(&record),
                    None => tracing::error!("a record of {} bytes is not ours", record.len()),
                }
                0
            })
            .and_then(|builder| std::mem::take(builder).build())
            .map(|ring| Reader { ring })
            .map_err(|error| Error::Other(format!("failed to map the ring buffer: {error}")))
    }

    /// The words that tell the kernel side where frames begin.
    ///
    /// # Errors
    ///
    /// The map cannot be mapped.
    pub fn steering(&self) -> Result<Steering, Error> {
        Steering::map(&self.skel.maps.steering)
            .map_err(|error| Error::Other(format!("failed to map the steering words: {error}")))
    }

    /// What the kernel side lost so far. Read from mapped memory, so no privilege is needed.
    #[must_use]
    pub fn losses(&self) -> [Loss; 4] {
        wire::losses(&self.shared.losses())
    }
}

/// Offsets and cookies, as the kernel wants them.
#[derive(Debug, Default)]
struct Sites {
    transfers: Vec<(u64, u64)>,
    releases: Vec<(u64, u64)>,
    go_enters: Vec<(u64, u64)>,
    go_returns: Vec<(u64, u64)>,
    go_releases: Vec<(u64, u64)>,
    rustls_sends: Vec<(u64, u64)>,
    rustls_sent: Vec<(u64, u64)>,
    rustls_received: Vec<(u64, u64)>,
    rustls_releases: Vec<(u64, u64)>,
}

impl Sites {
    fn add(&mut self, probe: &Probe) {
        let (sites, cookie) = match &probe.action {
            Action::Transfer(transfer) => (&mut self.transfers, wire::transfer_cookie(transfer)),
            Action::Release => (&mut self.releases, wire::RELEASE_COOKIE),
            Action::Handshake => (&mut self.releases, wire::HANDSHAKE_COOKIE),
            Action::GoEnter(direction) => (&mut self.go_enters, wire::direction_cookie(*direction)),
            Action::GoReturn(direction) => {
                (&mut self.go_returns, wire::direction_cookie(*direction))
            }
            Action::GoRelease => (&mut self.go_releases, wire::RELEASE_COOKIE),
            Action::RustlsSend(identity) => (&mut self.rustls_sends, identity.offset.into()),
            Action::RustlsSent => (&mut self.rustls_sent, wire::RELEASE_COOKIE),
            Action::RustlsReceived(identity) => (&mut self.rustls_received, identity.offset.into()),
            Action::RustlsRelease(identity) => (&mut self.rustls_releases, identity.offset.into()),
        };
        sites.push((probe.offset, cookie));
    }
}

/// Reads the ring buffer.
#[derive(Debug)]
pub struct Reader<'tap> {
    ring: RingBuffer<'tap>,
}

/// Records handed out before [`Reader::read`] returns to let its caller look at the clock.
const BATCH: usize = 4096;

impl Reader<'_> {
    /// Hands out what is there, at most a batch. `true` if there may be more.
    pub fn read(&self) -> bool {
        self.ring.consume_raw_n(BATCH) >= BATCH as i32
    }

    /// Waits until the kernel side asks to be read, or `timeout` has passed.
    pub fn wait(&self, timeout: Duration) {
        self.ring.poll_raw(timeout);
    }
}
