//! The probes of each tapped process.
//!
//! Every link has a pid filter. The kernel then writes its breakpoints into the memory of that
//! process only. Without a filter they would be in the memory of every process that maps the file.
//! A program that reads its own code, as Valgrind does, would fail because of them.
//!
//! A filter holds across `exec` and covers libraries that are mapped later, but no child process.
//! So each child gets links of its own.

mod attach;
pub(super) mod attachment;
mod detach;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use detach::Detacher;

use super::tap::Tap;
use crate::capture::Error;
use crate::capture::procfs::image::Image;
use crate::capture::procfs::process::FileId;

pub use attachment::Attachment;

/// All probes in TLS libraries and dynamic loaders.
#[derive(Debug, Default)]
pub(in crate::capture) struct Links {
    processes: BTreeMap<u32, ProcessLinks>,
    detacher: Detacher,
}

/// The probes in one process, by the file that they are in.
#[derive(Debug, Default)]
struct ProcessLinks {
    tls: HashMap<FileId, Attachment>,
    loaders: HashMap<FileId, Attachment>,
    /// Only while a connection of the process waits for its window.
    zlib: HashMap<FileId, Attachment>,
}

/// Attaches what is not attached yet.
fn place(
    entry: Entry<'_, FileId, Attachment>,
    attach: impl FnOnce() -> Result<Attachment, Error>,
) -> Result<(), Error> {
    if let Entry::Vacant(free) = entry {
        free.insert(attach()?);
    }
    Ok(())
}

impl Links {
    /// Probes the TLS library in `image` for process `pid`, which need not have mapped it yet.
    /// Returns since when the probes are in place, `CLOCK_MONOTONIC` nanoseconds.
    pub(in crate::capture) fn tap(
        &mut self,
        tap: &Tap<'_>,
        image: &Image,
        pid: u32,
    ) -> Result<u64, Error> {
        let links = self.processes.entry(pid).or_default();
        if let Some(known) = links.tls.get(&image.file) {
            return Ok(known.since_ns());
        }
        let placed = tap.attach(pid, image)?;
        let since_ns = placed.since_ns();
        links.tls.insert(image.file, placed);
        Ok(since_ns)
    }

    /// Probes the dynamic loader in `image`, which reports that process `pid` has loaded a library.
    pub(in crate::capture) fn watch_loader(
        &mut self,
        tap: &Tap<'_>,
        image: &Image,
        pid: u32,
    ) -> Result<(), Error> {
        let links = self.processes.entry(pid).or_default();
        place(links.loaders.entry(image.file), || tap.attach_loader(pid, image))
    }

    /// Probes the zlib in `image` for process `pid`.
    pub(in crate::capture) fn watch_zlib(
        &mut self,
        tap: &Tap<'_>,
        image: &Image,
        pid: u32,
    ) -> Result<(), Error> {
        let links = self.processes.entry(pid).or_default();
        place(links.zlib.entry(image.file), || tap.attach_zlib(pid, image))
    }

    /// Removes the probes of process `pid` in zlib. Does not wait for the kernel.
    pub(in crate::capture) fn leave_zlib(&mut self, pid: u32) {
        let Some(links) = self.processes.get_mut(&pid) else { return };
        links.zlib.drain().for_each(|(_, attachment)| self.detacher.detach(attachment));
    }

    /// Removes the probes of process `pid` in TLS libraries that are not to be kept. Those in dynamic
    /// loaders stay: the next program has mostly the same. Does not wait for the kernel.
    pub(in crate::capture) fn keep(&mut self, pid: u32, is_kept: impl Fn(FileId) -> bool) {
        let Some(links) = self.processes.get_mut(&pid) else { return };
        let gone = links.tls.extract_if(|&file, _| !is_kept(file));
        gone.chain(links.zlib.drain()).for_each(|(_, attachment)| self.detacher.detach(attachment));
    }

    /// Removes the probes of process `pid`. Does not wait for the kernel.
    pub(in crate::capture) fn forget(&mut self, pid: u32) {
        if let Some(links) = self.processes.remove(&pid) {
            links.into_attachments().for_each(|it| self.detacher.detach(it));
        }
    }

    /// Removes every probe; returns when the last one is gone.
    pub(in crate::capture) fn clear(&mut self) {
        for links in std::mem::take(&mut self.processes).into_values() {
            links.into_attachments().for_each(|it| self.detacher.detach(it));
        }
        self.detacher.finish();
    }
}

impl ProcessLinks {
    fn into_attachments(self) -> impl Iterator<Item = Attachment> {
        self.tls.into_values().chain(self.loaders.into_values()).chain(self.zlib.into_values())
    }
}
