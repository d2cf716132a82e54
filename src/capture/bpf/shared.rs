//! Words in memory that the kernel side and userspace both map: no `bpf()` call, so no privilege.

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::skeleton::types::{bss_shared, wstap_losses};

/// The kernel side's variables.
#[derive(Debug)]
pub(in crate::capture) struct Shared<'obj> {
    words: NonNull<bss_shared>,
    object: PhantomData<&'obj mut bss_shared>,
}

// SAFETY: nothing in it belongs to a thread. Its words are read as volatile or changed as atomics, and
// the kernel side is one more that changes them at the same time.
unsafe impl Send for Shared<'_> {}
// SAFETY: as above.
unsafe impl Sync for Shared<'_> {}

impl<'obj> Shared<'obj> {
    /// From here on all access goes through this type. The kernel side changes the words at any
    /// time, and a Rust reference would promise that nobody does.
    pub(in crate::capture) fn new(words: &'obj mut bss_shared) -> Self {
        Self { words: NonNull::from(words), object: PhantomData }
    }

    /// The last generation that was given to a connection.
    pub(in crate::capture) fn generations(&self) -> u32 {
        // SAFETY: the memory is mapped as long as the object lives, and aligned.
        unsafe { (&raw const (*self.words.as_ptr()).generations).read_volatile() }
    }

    /// What was lost so far.
    pub(in crate::capture) fn losses(&self) -> wstap_losses {
        // SAFETY: as above. The counters are read one after the other, and nobody needs them to be
        // of one moment.
        unsafe { (&raw const (*self.words.as_ptr()).losses).read_volatile() }
    }

    /// Counts one connection less that is followed.
    pub(in crate::capture) fn count_connection_out(&self) {
        // SAFETY: as above. The kernel side changes this word with atomic operations only.
        let open = unsafe { AtomicU32::from_ptr(&raw mut (*self.words.as_ptr()).connections_open) };
        open.fetch_sub(1, Ordering::Relaxed);
    }

    /// The next record is to wake the reader.
    pub(in crate::capture) fn set_reader_sleeps(&self) {
        // SAFETY: as above. The kernel side only writes 0, and what it misses costs a short delay.
        let sleeps = unsafe { AtomicU32::from_ptr(&raw mut (*self.words.as_ptr()).reader_sleeps) };
        sleeps.store(1, Ordering::Relaxed);
    }

    /// Makes each thread ask again whether its process is tapped.
    pub(in crate::capture) fn begin_epoch(&self) {
        // SAFETY: as above. The kernel side changes this word with atomic operations only.
        let epoch = unsafe { AtomicU64::from_ptr(&raw mut (*self.words.as_ptr()).epoch) };
        epoch.fetch_add(1, Ordering::Release);
    }
}
