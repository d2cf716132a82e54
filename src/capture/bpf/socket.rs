//! The programs on TCP sockets, for what a process reads and writes without TLS.
//!
//! They are an object of their own. It shares the maps of the other object, and a kernel that
//! refuses it still taps TLS. It is loaded unless sockets are to be left alone. Nothing here is per
//! process: the map of tapped processes says whose sockets are tapped.

use std::mem::MaybeUninit;
use std::os::fd::AsFd;

use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{ErrorKind, MapMut, OpenMapMut, OpenObject};

use super::links::attachment::Attachment;
use super::programs::tracepoints;
use super::settings::{Flavour, ReadOnlyData, Settings};
use super::skeleton::TracerMaps;
use super::skeleton::socket::{OpenSocketMaps, OpenSocketSkel, SocketSkel, SocketSkelBuilder};
use crate::capture::confine::privilege;
use crate::capture::{Error, kernel};

/// The kernel's tracepoints that report bytes on sockets, for people.
pub const TRACEPOINTS: [&str; 2] = ["sock_send_length", "sock_recv_length"];

/// Loaded programs.
pub(in crate::capture) struct SocketPrograms<'obj> {
    skel: SocketSkel<'obj>,
}

impl<'obj> SocketPrograms<'obj> {
    /// Loads the programs. They write into `maps`, as the programs on TLS do.
    pub(in crate::capture) fn load(
        object: &'obj mut MaybeUninit<OpenObject>,
        maps: &TracerMaps<'_>,
        settings: &Settings,
        flavour: Flavour,
    ) -> Result<Self, Error> {
        Self::try_load(object, maps, settings, flavour).map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied if !privilege::missing().is_empty() => {
                Error::privilege("load the BPF programs for sockets", &error)
            }
            _ => refused(&format_args!("{error:#}")),
        })
    }

    fn try_load(
        object: &'obj mut MaybeUninit<OpenObject>,
        maps: &TracerMaps<'_>,
        settings: &Settings,
        flavour: Flavour,
    ) -> libbpf_rs::Result<Self> {
        let mut open = SocketSkelBuilder::default().open(object)?;
        leave_out_others(&mut open);
        share(&mut open.maps, maps)?;
        let Some(rodata) = open.maps.rodata_data.as_deref_mut() else {
            return Err(std::io::Error::other("the object has no settings").into());
        };
        // A program on a tracepoint may not sleep.
        rodata.fill_in(settings, Flavour { sleepable: false, reads_at_once: true, ..flavour });
        Ok(Self { skel: open.load()? })
    }

    /// Attaches them, for every process whose sockets are tapped, until the result is dropped.
    pub(in crate::capture) fn attach(&self) -> Result<Attachment, Error> {
        let links = tracepoints::attach(&tracepoints::of_sockets(&self.skel.progs));
        links.map(Attachment::new).map_err(|error| refused(&format_args!("{error:#}")))
    }
}

/// Both objects include the header with the programs on processes. The other object's are attached, so
/// these are not loaded.
fn leave_out_others(open: &mut OpenSocketSkel<'_>) {
    for mut program in open.open_object_mut().progs_mut() {
        let is_of_sockets = program.name().as_encoded_bytes().starts_with(b"socket_");
        program.set_autoload(is_of_sockets);
    }
}

/// Lets this object use the maps of the other one.
fn share(open: &mut OpenSocketMaps<'_>, maps: &TracerMaps<'_>) -> libbpf_rs::Result<()> {
    let pairs: [(&mut OpenMapMut<'_>, &MapMut<'_>); 9] = [
        (&mut open.events, &maps.events),
        (&mut open.conns, &maps.conns),
        (&mut open.http2_streams, &maps.http2_streams),
        (&mut open.conns_of_process, &maps.conns_of_process),
        (&mut open.closings, &maps.closings),
        (&mut open.steering, &maps.steering),
        (&mut open.tapped, &maps.tapped),
        (&mut open.memories, &maps.memories),
        (&mut open.bss_shared, &maps.bss_shared),
    ];
    for (own, shared) in pairs {
        own.reuse_fd(shared.as_fd())?;
    }
    Ok(())
}

fn refused(reason: &dyn std::fmt::Display) -> Error {
    let why = why_refused(kernel::lockdown().as_deref());
    Error::Kernel(format!(
        "this kernel does not let TCP sockets be tapped ({reason}): {why}; TLS can be tapped all the \
         same, without `--plain on`"
    ))
}

/// A program on a tracepoint may not sleep. In this mode a program that does not sleep may not read
/// an application's memory (security/lockdown, LOCKDOWN_BPF_READ_KERNEL).
fn why_refused(lockdown: Option<&str>) -> &'static str {
    match lockdown {
        Some("confidentiality") => {
            "lockdown=confidentiality forbids programs on tracepoints to read an application's memory"
        }
        _ => {
            "plain ws:// needs the tracepoints sock_send_length and sock_recv_length, which came \
             with 6.3"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::why_refused;

    #[test]
    fn a_refusal_names_the_lockdown_if_there_is_one() {
        assert!(why_refused(Some("confidentiality")).contains("lockdown"));
        for mode in [None, Some("none"), Some("integrity")] {
            assert!(why_refused(mode).contains("6.3"));
        }
    }
}
