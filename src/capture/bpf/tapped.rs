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
        let changed = self.change(pid, |entry| {
            wire::set_sockets(entry, tapped);
            true
        });
        changed.map(drop).map_err(|error| refusal(&format!("tap the sockets of pid {pid}"), error))
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

    /// Tells the kernel side that a tapped process shares the memory with this index ([`Tap::place_memory`]); 0
    /// is none.
    ///
    /// # Errors
    ///
    /// Privileges are missing.
    pub fn share_memory(&self, pid: u32, memory: u8) -> Result<(), Error> {
        let changed = self.change(pid, |entry| {
            let is_new = wire::memory(entry) != memory;
            wire::set_memory(entry, memory);
            is_new
        });
        match changed {
            Ok(true) => self.shared.begin_epoch(),
            Ok(false) => {}
            Err(error) => {
                return Err(refusal(&format!("say which memory pid {pid} shares"), error));
            }
        }
        Ok(())
    }

    /// Says where the memory with this index lies: processes that share it have it at these addresses.
    ///
    /// # Errors
    ///
    /// Privileges are missing.
    pub fn place_memory(&self, memory: u8, range: (u64, u64)) -> Result<(), Error> {
        let (map, key) = (&self.skel.maps.memories, u32::from(memory).to_ne_bytes());
        map.update(&key, &wire::memory_at(range), MapFlags::ANY)
            .map_err(|error| refusal("say where shared memory lies", error))
    }

    /// Nobody shares the memory with this index any more. Its connections are forgotten.
    pub fn forget_memory(&self, memory: u8) {
        self.forget_connections(wire::owner_in_memory(memory));
    }

    /// Changes the entry of a tapped process, if `change` says that it did. `false` if nothing was changed, or
    /// the process has ended.
    fn change(
        &self,
        pid: u32,
        change: impl FnOnce(&mut [u8]) -> bool,
    ) -> Result<bool, libbpf_rs::Error> {
        let (map, key) = (&self.skel.maps.tapped, pid.to_ne_bytes());
        let Some(mut entry) = map.lookup(&key, MapFlags::ANY)? else { return Ok(false) };
        if !change(&mut entry) {
            return Ok(false);
        }
        match map.update(&key, &entry, MapFlags::EXIST) {
            // It has ended meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            result => result.map(|()| true),
        }
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
    fn forget_connections(&self, owner: u32) {
        let maps = &self.skel.maps;
        let count = maps.conns_of_process.lookup_and_delete(&owner.to_ne_bytes());
        if !matches!(count, Ok(Some(count)) if count != [0; 4]) {
            return;
        }
        for key in maps.conns.keys().filter(|key| wire::owner_of(key) == Some(owner)) {
            if maps.conns.delete(&key).is_ok() {
                self.shared.count_connection_out();
            }
        }
    }
}

/// What the kernel does not let wstap do.
fn refusal(what: &str, error: libbpf_rs::Error) -> Error {
    match error.kind() {
        ErrorKind::PermissionDenied => Error::privilege(what, &error),
        _ => Error::Other(format!("failed to {what}: {error:#}")),
    }
}
