//! Placing probes: by offset in a file, for one process.

use std::path::Path;

use libbpf_rs::{ErrorKind, Link, ProgramMut, UprobeMultiOpts, UprobeOpts};
use wstap_symbols::ZlibProbe;

use super::attachment::Attachment;
use crate::capture::Error;
use crate::capture::bpf::programs::tracepoints;
use crate::capture::bpf::programs::uprobes::{Placement, Site, Uprobe};
use crate::capture::bpf::socket::SocketPrograms;
use crate::capture::bpf::tap::Tap;
use crate::capture::bpf::wire;
use crate::capture::procfs::image::Image;
use crate::capture::procfs::process;

impl Tap<'_> {
    /// Lets the kernel report forks, execs and exits until the result is dropped.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn watch_processes(&self) -> Result<Attachment, Error> {
        let links = tracepoints::attach(&tracepoints::of_processes(&self.skel.progs));
        let links = links.map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied => Error::privilege("watch processes", &error),
            _ => Error::Kernel(format!("failed to watch processes: {error:#}")),
        })?;
        Ok(Attachment::new(links))
    }

    /// Attaches the programs on TCP sockets, until the result is dropped. They report the processes
    /// that [`Tap::tap_sockets`] was called for, and those that were admitted with sockets.
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

    /// Lets the kernel report when the dynamic loader `image` of process `pid` has mapped a library.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn attach_loader(&self, pid: u32, image: &Image) -> Result<Attachment, Error> {
        let site = |&offset| Site { offset, cookie: 0 };
        let sites: Vec<Site> = image.plan.loader_notifier.iter().map(site).collect();
        let program = &self.skel.progs.loader_changed;
        let links = self.attach_sites(program, pid, &image.attach_path, &sites, false);
        links.map(Attachment::new).map_err(|error| Error::attach(&image.path, &error))
    }

    /// Finds out whether attaching is permitted: probes an instruction of wstap itself that is
    /// never executed again.
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
        let program = Uprobe::tap_release.loaded(&self.skel.progs);
        let sites = [Site { offset, cookie: 0 }];
        let links = self.attach_sites(program, std::process::id(), path, &sites, false);
        links.map(drop).map_err(|error| Error::attach(path, &error))
    }

    /// Probes every function that `image` has, in all threads of process `pid`, which need not have
    /// mapped it yet. Its child processes are not included.
    ///
    /// # Errors
    ///
    /// The process is gone, or the kernel refuses; then no probe of this image stays.
    pub fn attach(&self, pid: u32, image: &Image) -> Result<Attachment, Error> {
        let mut links = Vec::new();
        for placement in Placement::all(&image.plan) {
            let program = placement.uprobe.loaded(&self.skel.progs);
            let (sites, at_return) = (&placement.sites, placement.is_at_return());
            let placed = self.attach_sites(program, pid, &image.attach_path, sites, at_return);
            links.extend(placed.map_err(|error| Error::attach(&image.path, &error))?);
        }
        Ok(Attachment::new(links))
    }

    /// Probes the functions of zlib in `image`, in all threads of process `pid`.
    ///
    /// # Errors
    ///
    /// The process is gone, or the kernel refuses.
    pub fn attach_zlib(&self, pid: u32, image: &Image) -> Result<Attachment, Error> {
        let probes = image.plan.zlib.iter().flat_map(|zlib| &zlib.probes);
        let site = |it: &ZlibProbe| Site {
            offset: it.offset,
            cookie: wire::direction_cookie(it.direction),
        };
        let sites: Vec<Site> = probes.map(site).collect();
        let program = Uprobe::zlib_call.loaded(&self.skel.progs);
        let links = self.attach_sites(program, pid, &image.attach_path, &sites, false);
        links.map(Attachment::new).map_err(|error| Error::attach(&image.path, &error))
    }

    fn attach_sites(
        &self,
        program: &ProgramMut<'_>,
        pid: u32,
        path: &Path,
        sites: &[Site],
        retprobe: bool,
    ) -> libbpf_rs::Result<Vec<Link>> {
        if sites.is_empty() {
            return Ok(Vec::new());
        }
        let pid = pid.cast_signed();
        if self.flavour.multi {
            let (offsets, cookies) =
                sites.iter().map(|site| (site.offset as usize, site.cookie)).unzip();
            let opts = UprobeMultiOpts { offsets, cookies, retprobe, ..Default::default() };
            return Ok(vec![program.attach_uprobe_multi_with_opts(pid, path, "", opts)?]);
        }
        let attach = |&Site { offset, cookie }: &Site| {
            let opts = UprobeOpts { cookie, retprobe, ..Default::default() };
            program.attach_uprobe_with_opts(pid, path, offset as usize, opts)
        };
        sites.iter().map(attach).collect()
    }
}
