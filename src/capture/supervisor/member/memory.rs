//! Memory that several processes share. A TLS object that lies there is one connection, whichever of them uses
//! it: the kernel side is told where that memory is.

use std::collections::{HashMap, HashSet};

use crate::capture::Error;
use crate::capture::bpf::Tap;
use crate::capture::procfs::shared_memory::SharedMemory;

/// Every such memory of the processes that are tapped, as far as the kernel side has room for it.
#[derive(Debug, Default)]
pub(in crate::capture::supervisor) struct Memories {
    known: HashMap<SharedMemory, Users>,
    /// It was said that there are too many.
    is_full_said: bool,
}

#[derive(Debug)]
struct Users {
    /// Its index on the kernel side, never 0.
    index: u8,
    pids: HashSet<u32>,
}

impl Memories {
    /// Process `pid` shares this memory, or none, from now on.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub(in crate::capture::supervisor) fn share(
        &mut self,
        tap: &Tap<'_>,
        pid: u32,
        memory: Option<SharedMemory>,
    ) -> Result<(), Error> {
        if memory.is_some_and(|memory| self.is_user(memory, pid)) {
            return Ok(());
        }
        let shared_another = self.leave(tap, pid);
        let Some(memory) = memory else {
            return if shared_another { tap.share_memory(pid, 0) } else { Ok(()) };
        };
        let (index, is_new) = self.join(memory, pid);
        if is_new {
            tap.place_memory(index, memory.range)?;
        }
        if index == 0 {
            self.say_full(pid);
        }
        tap.share_memory(pid, index)
    }

    /// Process `pid` shares none any more, or has ended. Whether it shared one.
    pub(in crate::capture::supervisor) fn leave(&mut self, tap: &Tap<'_>, pid: u32) -> bool {
        let mut shared = false;
        self.known.retain(|_, users| {
            shared |= users.pids.remove(&pid);
            if users.pids.is_empty() {
                tap.forget_memory(users.index);
            }
            !users.pids.is_empty()
        });
        shared
    }

    /// Says once that a memory was left out.
    fn say_full(&mut self, pid: u32) {
        if !std::mem::replace(&mut self.is_full_said, true) {
            tracing::warn!(
                "pid {pid} shares memory with other processes, and wstap keeps {} such memories apart: a TLS \
                 object in it counts as a connection of each process that uses it. Tap fewer processes to \
                 have it counted once",
                u8::MAX
            );
        }
    }

    fn is_user(&self, memory: SharedMemory, pid: u32) -> bool {
        self.known.get(&memory).is_some_and(|users| users.pids.contains(&pid))
    }

    /// The index of a memory, and whether it is new. It is 0 where there are too many: then what lies there is
    /// a connection of each process that uses it.
    fn join(&mut self, memory: SharedMemory, pid: u32) -> (u8, bool) {
        if let Some(users) = self.known.get_mut(&memory) {
            users.pids.insert(pid);
            return (users.index, false);
        }
        let taken: HashSet<u8> = self.known.values().map(|users| users.index).collect();
        let Some(index) = (1..=u8::MAX).find(|index| !taken.contains(index)) else {
            return (0, false);
        };
        self.known.insert(memory, Users { index, pids: HashSet::from([pid]) });
        (index, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::procfs::process::FileId;

    fn memory(inode: u64) -> SharedMemory {
        SharedMemory { range: (0x1000, 0x2000), file: FileId { device: 1, inode } }
    }

    #[test]
    fn processes_that_share_a_memory_have_one_index() {
        let mut memories = Memories::default();
        assert_eq!(memories.join(memory(7), 10), (1, true));
        assert_eq!(memories.join(memory(7), 11), (1, false));
        assert_eq!(memories.join(memory(8), 12), (2, true));
        assert!(memories.is_user(memory(7), 11) && !memories.is_user(memory(8), 11));
    }

    #[test]
    fn there_are_no_more_memories_than_the_kernel_side_has_room_for() {
        let mut memories = Memories::default();
        for inode in 1..=255 {
            assert_eq!(memories.join(memory(inode), 1), (inode as u8, true));
        }
        assert_eq!(memories.join(memory(256), 1), (0, false));
    }
}
