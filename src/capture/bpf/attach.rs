//! Placing probes: by offset in a file, for one process.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;

use libbpf_rs::{ErrorKind, Link, ProgramMut, UprobeMultiOpts, UprobeOpts};
use wstap_symbols::{Action, Handles, Library, Probe};

use super::Tap;
use super::socket::SocketPrograms;
use super::wire;
use crate::capture::Error;
use crate::capture::clock::monotonic_ns;
use crate::capture::confine::privilege::Powers;
use crate::capture::procfs::image::Image;
use crate::capture::procfs::process;

/// Probes in one image; they are removed when this is dropped, which waits for the kernel.
#[derive(Debug)]
pub struct Attachment {
    /// The links that hold the probes.
    links: Vec<Link>,
    since_ns: u64,
}

impl Attachment {
    /// Removes all of these; returns when the last probe is gone. For each link the kernel waits until
    /// no processor runs its program any more, some tens of milliseconds: the probes of some hundred
    /// files would take a minute one after the other. So several threads wait side by side.
    pub(in crate::capture) fn remove_all(attachments: impl Iterator<Item = Self>) {
        let links: Vec<Link> = attachments.flat_map(|it| it.links).collect();
        // This thread does its part, too, and all of it where no thread can be started.
        let others = links.len().min(REMOVERS_MAX).saturating_sub(1);
        let links = Mutex::new(links);
        thread::scope(|scope| {
            for _ in 0..others {
                let thread = thread::Builder::new().name("wstap-detach".into());
                let started = thread.spawn_scoped(scope, || {
                    let _ = Powers::None.keep_only();
                    close(&links);
                });
                if started.is_err() {
                    break;
                }
            }
            close(&links);
        });
    }

    /// To be called when the last of the links has been made.
    pub(in crate::capture) fn new(links: Vec<Link>) -> Self {
        Self { links, since_ns: monotonic_ns() }
    }

    /// Since when all of them are in place, `CLOCK_MONOTONIC` nanoseconds.
    pub(in crate::capture) fn since_ns(&self) -> u64 {
        self.since_ns
    }
}

/// Threads that close links side by side.
const REMOVERS_MAX: usize = 128;

fn close(links: &Mutex<Vec<Link>>) {
    loop {
        // The lock is released before the link is closed.
        let next = links.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let Some(link) = next else { return };
        drop(link);
    }
}

impl Tap<'_> {
    /// Hears of forks, execs and exits until the result is dropped.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn watch_processes(&self) -> Result<Attachment, Error> {
        let progs = &self.skel.progs;
        let programs = [
            &progs.process_fork,
            &progs.process_fork_too,
            &progs.process_exec,
            &progs.process_exec_too,
            &progs.process_exit,
            &progs.process_exit_too,
        ];
        let links: libbpf_rs::Result<_> = programs.iter().map(|it| it.attach_trace()).collect();
        let links = links.map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied => Error::privilege("watch processes", &error),
            _ => Error::Kernel(format!("failed to watch processes: {error:#}")),
        })?;
        Ok(Attachment::new(links))
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

    /// Hears of libraries that the dynamic loader `image` maps in process `pid`.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn attach_loader(&self, pid: u32, image: &Image) -> Result<Attachment, Error> {
        let mut links = Vec::new();
        let site: Vec<_> = image.plan.loader_notifier.iter().map(|&offset| (offset, 0)).collect();
        let program = &self.skel.progs.loader_changed;
        self.attach_sites(program, pid, &image.attach_path, &site, false, &mut links)
            .map_err(|error| Error::attach(&image.path, &error))?;
        Ok(Attachment::new(links))
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
        let program = &self.skel.progs.tap_release;
        self.attach_sites(program, std::process::id(), path, &[(offset, 0)], false, &mut Vec::new())
            .map_err(|error| Error::attach(path, &error))
    }

    /// Probes every function that `image` has, in all threads of process `pid`, which need not have
    /// mapped it yet. Its child processes are not included.
    ///
    /// # Errors
    ///
    /// The process is gone, or the kernel refuses; then no probe of this image stays.
    pub fn attach(&self, pid: u32, image: &Image) -> Result<Attachment, Error> {
        let mut sites = Sites::default();
        for library in &image.plan.libraries {
            let release = release_cookie(library);
            library.probes.iter().for_each(|probe| sites.add(probe, release));
        }
        let progs = &self.skel.progs;
        let mut links = Vec::new();
        // Return probes first: a return without its entry is ignored, an entry whose return is
        // not yet probed would be kept as in flight.
        for (program, sites, retprobe) in [
            (&progs.tap_return, &sites.return_probes, true),
            (&progs.tap_return_site, &sites.returns, false),
            (&progs.tap_read, &sites.reads, false),
            (&progs.tap_entry, &sites.transfers, false),
            (&progs.tap_release, &sites.releases, false),
            (&progs.go_return, &sites.go_returns, false),
            (&progs.go_enter, &sites.go_enters, false),
            (&progs.go_release, &sites.go_releases, false),
            (&progs.rustls_sent, &sites.rustls_sent, false),
            (&progs.rustls_send, &sites.rustls_sends, false),
            (&progs.rustls_write, &sites.rustls_writes, false),
            (&progs.rustls_read_done, &sites.rustls_reads_done, false),
            (&progs.rustls_read, &sites.rustls_reads, false),
            (&progs.rustls_received, &sites.rustls_received, false),
            (&progs.rustls_release, &sites.rustls_releases, false),
        ] {
            self.attach_sites(program, pid, &image.attach_path, sites, retprobe, &mut links)
                .map_err(|error| Error::attach(&image.path, &error))?;
        }
        Ok(Attachment::new(links))
    }

    fn attach_sites(
        &self,
        program: &ProgramMut<'_>,
        pid: u32,
        path: &Path,
        sites: &[(u64, u64)],
        retprobe: bool,
        links: &mut Vec<Link>,
    ) -> libbpf_rs::Result<()> {
        if sites.is_empty() {
            return Ok(());
        }
        let pid = pid.cast_signed();
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
}

/// Offsets and cookies, as the kernel wants them.
#[derive(Debug, Default)]
struct Sites {
    transfers: Vec<(u64, u64)>,
    returns: Vec<(u64, u64)>,
    reads: Vec<(u64, u64)>,
    /// Those of `transfers` that need a return probe.
    return_probes: Vec<(u64, u64)>,
    releases: Vec<(u64, u64)>,
    go_enters: Vec<(u64, u64)>,
    go_returns: Vec<(u64, u64)>,
    go_releases: Vec<(u64, u64)>,
    rustls_sends: Vec<(u64, u64)>,
    rustls_sent: Vec<(u64, u64)>,
    rustls_received: Vec<(u64, u64)>,
    rustls_writes: Vec<(u64, u64)>,
    rustls_reads: Vec<(u64, u64)>,
    rustls_reads_done: Vec<(u64, u64)>,
    rustls_releases: Vec<(u64, u64)>,
}

impl Sites {
    /// `release` is the cookie of a function that ends connections.
    fn add(&mut self, probe: &Probe, release: u64) {
        if let Action::Transfer(transfer) = &probe.action
            && transfer.return_probe
        {
            self.return_probes.push((probe.offset, wire::transfer_cookie(transfer)));
        }
        let (sites, cookie) = match &probe.action {
            Action::Transfer(transfer) => (&mut self.transfers, wire::transfer_cookie(transfer)),
            Action::TransferReturn(site) => (&mut self.returns, wire::return_cookie(site)),
            Action::Read(read) => (&mut self.reads, wire::read_cookie(read)),
            Action::Release => (&mut self.releases, release),
            Action::Handshake => (&mut self.releases, wire::HANDSHAKE_COOKIE),
            Action::GoEnter(direction) => (&mut self.go_enters, wire::direction_cookie(*direction)),
            Action::GoReturn(direction) => {
                (&mut self.go_returns, wire::direction_cookie(*direction))
            }
            Action::GoRelease => (&mut self.go_releases, wire::RELEASE_COOKIE),
            Action::RustlsSend(identity) => (&mut self.rustls_sends, identity.offset.into()),
            Action::RustlsSent => (&mut self.rustls_sent, wire::RELEASE_COOKIE),
            Action::RustlsReceived(identity) => (&mut self.rustls_received, identity.offset.into()),
            Action::RustlsWrite(identity) => (&mut self.rustls_writes, identity.offset.into()),
            // The kernel side adds it, so a negative one wraps.
            Action::RustlsRead(distance) => {
                (&mut self.rustls_reads, i64::from(distance.bytes).cast_unsigned())
            }
            Action::RustlsReadDone => (&mut self.rustls_reads_done, wire::RELEASE_COOKIE),
            Action::RustlsRelease(identity) => (&mut self.rustls_releases, identity.offset.into()),
        };
        sites.push((probe.offset, cookie));
    }
}

/// Functions of one library take the same kind of handle.
fn release_cookie(library: &Library) -> u64 {
    let through_layers = |probe: &Probe| matches!(&probe.action, Action::Transfer(transfer) if transfer.handles == Handles::Layers);
    let layers = library.probes.iter().any(through_layers);
    if layers { wire::LAYER_RELEASE_COOKIE } else { wire::RELEASE_COOKIE }
}
