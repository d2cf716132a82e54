//! The probes that are in place, and those that a program will need as soon as it runs.

use super::foresight::Foresight;
use crate::capture::Error;
use crate::capture::bpf::Tap;
use crate::capture::bpf::links::Links;
use crate::capture::procfs::image::Image;
use crate::capture::procfs::target::has_tappable;

/// All probes of all tapped processes.
#[derive(Debug, Default)]
pub(super) struct Probes {
    links: Links,
    foresight: Foresight,
}

impl Probes {
    /// Places the probes that `image` asks for in process `pid`. Returns since when those are in
    /// place that plaintext passes, `CLOCK_MONOTONIC` nanoseconds, if there are any.
    ///
    /// # Errors
    ///
    /// The process is gone, or the kernel refuses.
    pub(super) fn place(
        &mut self,
        tap: &Tap<'_>,
        image: &Image,
        pid: u32,
    ) -> Result<Option<u64>, Error> {
        let since_ns = self.attach(tap, image, pid)?;
        self.foresight.learn(pid, image);
        Ok(since_ns)
    }

    /// Process `pid` has just begun to run a program. Places the probes that earlier processes of
    /// this program had, before it maps the libraries. Removes those of the program before.
    pub(super) fn place_ahead(&mut self, tap: &Tap<'_>, pid: u32, may_attach: bool) {
        let expected = self.foresight.images(pid);
        self.links.keep(pid, |file| expected.iter().any(|image| image.file == file));
        if !may_attach {
            return;
        }
        for image in &expected {
            if let Err(error) = self.attach(tap, image, pid) {
                tracing::debug!("pid {pid}: {error}");
            }
        }
    }

    /// Places the probes of a TLS library that a child process has inherited. Returns since when
    /// they are in place, `CLOCK_MONOTONIC` nanoseconds.
    ///
    /// # Errors
    ///
    /// The process is gone, or the kernel refuses.
    pub(super) fn inherit(&mut self, tap: &Tap<'_>, image: &Image, pid: u32) -> Result<u64, Error> {
        self.links.tap(tap, image, pid)
    }

    /// Places the probes on the zlib in `image` in process `pid`.
    ///
    /// # Errors
    ///
    /// The process is gone, or the kernel refuses.
    pub(super) fn place_on_zlib(
        &mut self,
        tap: &Tap<'_>,
        image: &Image,
        pid: u32,
    ) -> Result<(), Error> {
        self.links.watch_zlib(tap, image, pid)
    }

    /// Removes those. Does not wait for the kernel.
    pub(super) fn leave_zlib(&mut self, pid: u32) {
        self.links.leave_zlib(pid);
    }

    /// Removes the probes of process `pid`. Does not wait for the kernel.
    pub(super) fn remove(&mut self, pid: u32) {
        self.links.forget(pid);
    }

    /// Removes all probes. Returns when the last one is gone.
    pub(super) fn clear(&mut self) {
        self.links.clear();
    }

    fn attach(&mut self, tap: &Tap<'_>, image: &Image, pid: u32) -> Result<Option<u64>, Error> {
        if image.plan.loader_notifier.is_some() {
            self.links.watch_loader(tap, image, pid)?;
        }
        if !has_tappable(image) {
            return Ok(None);
        }
        self.links.tap(tap, image, pid).map(Some)
    }
}
