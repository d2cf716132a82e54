//! Which processes are tapped. Other processes may have probes too; nothing of them is reported.

use libbpf_rs::{ErrorKind, MapCore, MapFlags};

use super::lifecycle::Admission;
use super::tap::Tap;
use super::wire;
use crate::capture::Error;

impl Tap<'_> {
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

    /// Whether the kernel side taps the TCP sockets of process `pid`. `false` where that cannot be
    /// asked.
    pub fn taps_sockets(&self, pid: u32) -> bool {
        let entry = self.skel.maps.tapped.lookup(&pid.to_ne_bytes(), MapFlags::ANY);
        entry.is_ok_and(|entry| entry.is_some_and(|entry| wire::has_sockets(&entry)))
    }

    /// Taps a process from now on, wherever it has probes. If it is tapped already, nothing changes
    /// and the result is `false`.
    ///
    /// # Errors
    ///
    /// There are too many processes, or privileges are missing.
    pub fn admit(&self, pid: u32, admission: Admission) -> Result<bool, Error> {
        let entry = wire::tapped(admission, self.shared.generations());
        let update = |flags| self.skel.maps.tapped.update(&pid.to_ne_bytes(), &entry, flags);
        match update(MapFlags::NO_EXIST) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                Err(Error::privilege(&format!("tap pid {pid}"), &error))
            }
            result => result
                .map(|()| true)
                .map_err(|error| Error::Other(format!("failed to tap pid {pid}: {error:#}"))),
        }
    }

    /// Taps every program of this name from its first instruction on. The name is as in
    /// `/proc/PID/comm`, of at most 15 bytes.
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

    /// Stops tapping a process, and forgets its connections.
    pub fn dismiss(&self, pid: u32) {
        // It is gone already where the kernel side has seen the process end.
        let _ = self.skel.maps.tapped.delete(&pid.to_ne_bytes());
        self.shared.begin_epoch();
        self.forget_connections(pid);
    }

    /// The kernel side does the same when a tapped process ends. All of `conns` is searched, so
    /// this is done only if the process has connections left.
    fn forget_connections(&self, pid: u32) {
        let maps = &self.skel.maps;
        let count = maps.conns_of_process.lookup_and_delete(&pid.to_ne_bytes());
        if !matches!(count, Ok(Some(count)) if count != [0; 4]) {
            return;
        }
        for key in maps.conns.keys().filter(|key| wire::process_of(key) == Some(pid)) {
            if maps.conns.delete(&key).is_ok() {
                self.shared.count_connection_out();
            }
        }
    }
}
