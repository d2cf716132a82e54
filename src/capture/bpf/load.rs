//! Loading the programs in the best form that this kernel takes.
//!
//! Trying finds that form. A version number would not tell what a distribution has backported or
//! locked down.

use std::cell::{Cell, OnceCell};
use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;

use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{ErrorKind, OpenObject, UprobeMultiOpts, libbpf_sys};

use super::programs::uprobes::{self, Uprobe};
use super::settings::{FLAVOURS, Flavour, ReadOnlyData, Settings};
use super::shared::Shared;
use super::skeleton::TracerSkelBuilder;
use super::tap::Tap;
use crate::capture::confine::privilege;
use crate::capture::{Error, kernel};

/// The version of libbpf that this program was linked with, such as `1.7`.
#[must_use]
pub fn libbpf_version() -> String {
    // SAFETY: libbpf returns a string that lives as long as the program (`src/libbpf.c`).
    let version = unsafe { CStr::from_ptr(libbpf_sys::libbpf_version_string()) };
    version.to_string_lossy().trim_start_matches('v').to_owned()
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
                    && !privilege::missing().is_empty() =>
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

/// Names the version only after trying: a distribution may have backported what an old kernel
/// lacks.
fn refused(reason: &str) -> Error {
    let release = kernel::release();
    match kernel::parse_release(&release) {
        Some(version) if version < kernel::OLDEST => Error::Kernel(format!(
            "this is kernel {release}, and wstap needs {} or newer (uprobe attach cookies)",
            kernel::OLDEST
        )),
        _ => Error::Kernel(match kernel::missing_types() {
            Some((found, remedy)) => format!("the BPF programs do not load: {found}; {remedy}"),
            None => format!(
                "kernel {release} refuses the BPF programs ({reason}); `wstap doctor` tells more"
            ),
        }),
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
        // Each connection may wait in a call to read while another thread is in one to write.
        open.maps.go_calls.set_max_entries(settings.connections.saturating_mul(2))?;
        open.maps.more_calls.set_max_entries(settings.connections)?;
        let Some(rodata) = open.maps.rodata_data.as_deref_mut() else {
            return Err(libbpf_rs::Error::from(io::Error::other("the object has no settings")));
        };
        rodata.fill_in(settings, flavour);
        uprobes::prepare(&mut open.progs, flavour);
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

    /// Whether `uprobe_multi` links exist. Kernels without them load the programs and refuse the
    /// link with `EINVAL`. Kernels with them get further, and find that `/` is no regular file.
    fn probe_multi(&self) -> libbpf_rs::Result<()> {
        let opts = UprobeMultiOpts { offsets: vec![0], cookies: vec![0], ..Default::default() };
        match Uprobe::tap_release
            .loaded(&self.skel.progs)
            .attach_uprobe_multi_with_opts(-1, "/", "", opts)
        {
            Err(error) if error.kind() == ErrorKind::InvalidInput => Err(error),
            _ => Ok(()),
        }
    }
}
