//! Where C meets Rust: ring buffer bytes to [`Event`]s, probes to cookies, steering to words.
//!
//! This is the only file that knows both sides. The types come from `bpf/events.h` through the
//! object's BTF, and no other file uses them.

use std::mem::offset_of;

use wstap_symbols::{
    CallResult, Direction as ProbeDirection, Handles, Read, Transfer, TransferReturn,
};

use super::lifecycle::{Admission, Change, Lifecycle};
use super::skeleton::types::{
    conn_key, wstap_absent, wstap_cookie, wstap_direction, wstap_losses, wstap_memory,
    wstap_memory_bits, wstap_process, wstap_record, wstap_record_kind, wstap_start, wstap_tapped,
    wstap_tapped_flags, wstap_zlib_call, wstap_zlib_verdict,
};
use crate::event::zlib::{RawStream, Window, ZlibCall, ZlibLook};
use crate::event::{
    Absent, BYTES_LOST, CALLS_LEFT_OUT, CONNECTION_END, ConnId, Direction, Event, EventKind, Loss,
    Segment, SegmentStart, TargetId,
};

const HEADER_BYTES: usize = size_of::<wstap_record>();
const _: () = assert!(HEADER_BYTES == 56, "events.h asserts the same size");
const _: () = assert!(size_of::<wstap_process>() == 56, "events.h asserts the same size");
const _: () = assert!(size_of::<wstap_tapped>() == 12, "events.h asserts the same size");
const _: () = assert!(size_of::<wstap_losses>() == 104, "events.h asserts the same size");
const _: () = assert!(size_of::<wstap_zlib_call>() == 592, "events.h asserts the same size");

/// One record of the ring buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// A call that passed bytes, or the end of a connection.
    Passed(Event<'a>),
    /// This socket carries TLS. The kernel side reports nothing more about it.
    Encrypted(ConnId),
    /// A process has forked, run a program, loaded a library or ended.
    Process(Lifecycle),
    /// zlib is called.
    Zlib(ZlibCall<'a>),
}

/// Reads one record of the ring buffer. `None` if its kind is unknown, which would be a bug on the
/// kernel side.
pub(in crate::capture) fn record(record: &[u8]) -> Option<Record<'_>> {
    let (header, payload) = split_header(record)?;
    match wstap_record_kind(header.kind.into()) {
        wstap_record_kind::WSTAP_DATA | wstap_record_kind::WSTAP_CLOSED => {
            event(&header, payload).map(Record::Passed)
        }
        wstap_record_kind::WSTAP_ZLIB_CALL => zlib_call(record).map(Record::Zlib),
        wstap_record_kind::WSTAP_ENCRYPTED => Some(Record::Encrypted(conn(&header))),
        _ => lifecycle(record).map(Record::Process),
    }
}

fn conn(header: &wstap_record) -> ConnId {
    ConnId { tgid: header.tgid, generation: header.generation, handle: header.handle, stream: 0 }
}

fn event<'a>(header: &wstap_record, payload: &'a [u8]) -> Option<Event<'a>> {
    let kind = if u32::from(header.kind) == wstap_record_kind::WSTAP_CLOSED.0 {
        EventKind::Closed { sent: header.offset, received: header.len }
    } else {
        let captured = usize::try_from(header.captured).ok()?;
        EventKind::Data(Segment {
            direction: direction(header.direction),
            offset: header.offset,
            len: header.len,
            bytes: payload.get(..captured)?,
            absent: absent(header.absent),
            start: start(header.start),
        })
    };
    Some(Event {
        conn: conn(header),
        target: TargetId(header.target),
        tid: header.tid,
        at_ns: header.at_ns,
        kind,
    })
}

fn split_header(record: &[u8]) -> Option<(wstap_record, &[u8])> {
    let (header, payload) = record.split_at_checked(HEADER_BYTES)?;
    // SAFETY: `header` is HEADER_BYTES long and `wstap_record` is made of integers only, for
    // which every bit pattern is valid; `read_unaligned` asks for no alignment.
    let header = unsafe { header.as_ptr().cast::<wstap_record>().read_unaligned() };
    Some((header, payload))
}

fn zlib_call(record: &[u8]) -> Option<ZlibCall<'_>> {
    let (bytes, window) = record.split_at_checked(size_of::<wstap_zlib_call>())?;
    // SAFETY: `bytes` is as long as a `wstap_zlib_call`, which is made of integers only, for which
    // every bit pattern is valid; `read_unaligned` asks for no alignment.
    let call = unsafe { bytes.as_ptr().cast::<wstap_zlib_call>().read_unaligned() };
    let what = match wstap_zlib_verdict(call.verdict.into()) {
        wstap_zlib_verdict::WSTAP_ZLIB_RAW => ZlibLook::Raw(RawStream {
            total_in: call.total_in,
            total_out: call.total_out,
            input_len: call.input_len.into(),
            input: field(bytes, offset_of!(wstap_zlib_call, input), call.input_bytes)?,
            tail: field(bytes, offset_of!(wstap_zlib_call, tail), call.tail_bytes)?,
            window: window_of(&call, window)?,
        }),
        wstap_zlib_verdict::WSTAP_ZLIB_UNKNOWN => ZlibLook::UnknownLayout,
        _ => ZlibLook::Other,
    };
    Some(ZlibCall {
        tgid: call.tgid,
        tid: call.tid,
        at_ns: call.at_ns,
        missed: call.missed,
        stream: call.stream,
        direction: direction(call.direction),
        what,
    })
}

/// So many bytes of a field of a record.
fn field(record: &[u8], at: usize, length: u32) -> Option<&[u8]> {
    record.get(at..)?.get(..usize::try_from(length).ok()?)
}

/// The window behind a call, in order; `Some(None)` if it was not copied.
fn window_of<'a>(call: &wstap_zlib_call, bytes: &'a [u8]) -> Option<Option<Window<'a>>> {
    if call.window_bytes == 0 {
        return Some(None);
    }
    let bytes = field(bytes, 0, call.window_bytes)?;
    let (newer, older) = bytes.split_at_checked(usize::try_from(call.window_next).ok()?)?;
    let size = usize::try_from(call.window_size).ok()?;
    Some(Some(Window { size, pieces: [older, newer] }))
}

fn lifecycle(record: &[u8]) -> Option<Lifecycle> {
    let record = record.get(..size_of::<wstap_process>())?;
    // SAFETY: `record` is as long as a `wstap_process`, which is made of integers only, for which
    // every bit pattern is valid; `read_unaligned` asks for no alignment.
    let process = unsafe { record.as_ptr().cast::<wstap_process>().read_unaligned() };
    let change = match wstap_record_kind(process.kind.into()) {
        wstap_record_kind::WSTAP_FORKED => Change::Forked { parent: process.parent },
        wstap_record_kind::WSTAP_EXECUTED => Change::Executed,
        wstap_record_kind::WSTAP_LOADED => Change::Loaded,
        wstap_record_kind::WSTAP_EXITED => Change::Exited,
        _ => return None,
    };
    let target = (process.is_tapped != 0).then_some(TargetId(process.target));
    Some(Lifecycle { pid: process.tgid, target, at_ns: process.at_ns, change })
}

/// The entry of a tapped process, whose connections all have generations above `born`.
pub(in crate::capture) fn tapped(
    admission: Admission,
    born: u32,
) -> [u8; size_of::<wstap_tapped>()] {
    let mut flags = 0;
    if admission.follow {
        flags |= wstap_tapped_flags::WSTAP_FOLLOW.0;
    }
    if admission.hold {
        flags |= wstap_tapped_flags::WSTAP_HOLD.0;
    }
    if admission.sockets {
        flags |= wstap_tapped_flags::WSTAP_SOCKETS.0;
    }
    let mut entry = [0; size_of::<wstap_tapped>()];
    entry[..4].copy_from_slice(&born.to_ne_bytes());
    entry[4..6].copy_from_slice(&admission.target.0.to_ne_bytes());
    entry[FLAGS_AT] = flags as u8;
    entry
}

const FLAGS_AT: usize = std::mem::offset_of!(wstap_tapped, flags);
const MEMORY_AT: usize = std::mem::offset_of!(wstap_tapped, memory);

/// How many memories the kernel side has room for. Index 0 stands for none.
const MEMORIES: u32 = wstap_memory_bits::WSTAP_MEMORIES.0;
const _: () = assert!(MEMORIES == 1 << u8::BITS, "an index has 8 bits");

/// Changes the entry of a tapped process: the index of the memory that it shares with others.
pub(in crate::capture) fn set_memory(entry: &mut [u8], memory: u8) {
    if let Some(index) = entry.get_mut(MEMORY_AT) {
        *index = memory;
    }
}

/// The index of the memory that a process shares, as its entry says.
pub(in crate::capture) fn memory(entry: &[u8]) -> u8 {
    entry.get(MEMORY_AT).copied().unwrap_or(0)
}

/// The entry of memory at these addresses.
pub(in crate::capture) fn memory_at(range: (u64, u64)) -> [u8; size_of::<wstap_memory>()] {
    let mut entry = [0; size_of::<wstap_memory>()];
    entry[..8].copy_from_slice(&range.0.to_ne_bytes());
    entry[8..].copy_from_slice(&range.1.to_ne_bytes());
    entry
}

/// What stands for a process in the keys of connections whose objects lie in this memory.
pub(in crate::capture) fn owner_in_memory(memory: u8) -> u32 {
    wstap_memory_bits::WSTAP_IN_MEMORY.0 | u32::from(memory)
}

/// The process that the connection with this key belongs to, or what stands for it.
pub(in crate::capture) fn owner_of(key: &[u8]) -> Option<u32> {
    let at = std::mem::offset_of!(conn_key, tgid);
    let tgid = key.get(at..at + size_of::<u32>())?;
    Some(u32::from_ne_bytes(tgid.try_into().ok()?))
}

/// Changes the entry of a tapped process.
pub(in crate::capture) fn set_sockets(entry: &mut [u8], tapped: bool) {
    let bit = wstap_tapped_flags::WSTAP_SOCKETS.0 as u8;
    if let Some(flags) = entry.get_mut(FLAGS_AT) {
        *flags = if tapped { *flags | bit } else { *flags & !bit };
    }
}

/// Whether the entry of a tapped process says that its sockets are tapped.
pub(in crate::capture) fn has_sockets(entry: &[u8]) -> bool {
    let bit = wstap_tapped_flags::WSTAP_SOCKETS.0 as u8;
    entry.get(FLAGS_AT).is_some_and(|flags| flags & bit != 0)
}

fn direction(value: u8) -> Direction {
    if u32::from(value) == wstap_direction::WSTAP_SENT.0 {
        Direction::Sent
    } else {
        Direction::Received
    }
}

fn absent(value: u8) -> Absent {
    match wstap_absent(value.into()) {
        wstap_absent::WSTAP_COPY_FAILED => Absent::CopyFailed,
        wstap_absent::WSTAP_CALL_TOO_LARGE => Absent::CallTooLarge,
        _ => Absent::Skipped,
    }
}

fn start(value: u8) -> SegmentStart {
    match wstap_start(value.into()) {
        wstap_start::WSTAP_CALL => SegmentStart::Call,
        wstap_start::WSTAP_FRAME_HEADER => SegmentStart::FrameHeader,
        wstap_start::WSTAP_STREAM_FRAME_HEADER => SegmentStart::StreamFrameHeader,
        wstap_start::WSTAP_HTTP2_HEADER => SegmentStart::Http2Header,
        _ => SegmentStart::Middle,
    }
}

/// The attach cookie of a function that passes plaintext.
pub(in crate::capture) fn transfer_cookie(transfer: &Transfer) -> u64 {
    let mut cookie = direction_cookie(transfer.direction)
        | u64::from(transfer.handle.get()) << wstap_cookie::WSTAP_COOKIE_HANDLE_SHIFT.0
        | u64::from(transfer.buffer.get()) << wstap_cookie::WSTAP_COOKIE_BUFFER_SHIFT.0;
    if transfer.handles == Handles::Layers {
        cookie |= u64::from(wstap_cookie::WSTAP_COOKIE_LAYERS.0);
    }
    if transfer.passes_all_of_few {
        cookie |= four_bits(transfer.length.get(), wstap_cookie::WSTAP_COOKIE_LENGTH_SHIFT);
    }
    cookie | result_bits(transfer.result)
}

/// The attach cookie of an instruction where calls of such a function return.
pub(in crate::capture) fn return_cookie(site: &TransferReturn) -> u64 {
    let mut cookie = direction_cookie(site.direction)
        | result_bits(site.result)
        | four_bits(site.register.unwrap_or(FAILED), wstap_cookie::WSTAP_COOKIE_REGISTER_SHIFT)
        | u64::from(site.distance.cast_unsigned()) << wstap_cookie::WSTAP_COOKIE_DISTANCE_SHIFT.0;
    if let Some(condition) = site.condition {
        cookie |= u64::from(wstap_cookie::WSTAP_COOKIE_CONDITIONAL.0)
            | four_bits(condition, wstap_cookie::WSTAP_COOKIE_CONDITION_SHIFT);
    }
    if site.is_shared {
        cookie |= u64::from(wstap_cookie::WSTAP_COOKIE_SHARED.0);
    }
    cookie
}

/// The number of the stack pointer, which has no result: the call failed.
const FAILED: u8 = 4;

/// A number of a register or a condition at its place in a cookie.
fn four_bits(number: u8, shift: wstap_cookie) -> u64 {
    u64::from(number & 15) << shift.0
}

/// The attach cookie of an instruction at which all arguments and the result of a read are in
/// registers.
pub(in crate::capture) fn read_cookie(read: &Read) -> u64 {
    let cookie = direction_cookie(ProbeDirection::Received)
        | u64::from(wstap_cookie::WSTAP_COOKIE_STATUS.0)
        | four_bits(read.handle, wstap_cookie::WSTAP_COOKIE_HANDLE_SHIFT)
        | four_bits(read.buffer, wstap_cookie::WSTAP_COOKIE_BUFFER_SHIFT)
        | four_bits(read.count, wstap_cookie::WSTAP_COOKIE_COUNT_SHIFT);
    read.peek.map_or(cookie, |peek| {
        cookie
            | u64::from(wstap_cookie::WSTAP_COOKIE_PEEK.0)
            | four_bits(peek, wstap_cookie::WSTAP_COOKIE_PEEK_SHIFT)
    })
}

fn result_bits(result: CallResult) -> u64 {
    match result {
        CallResult::Count => 0,
        CallResult::LongCount => u64::from(wstap_cookie::WSTAP_COOKIE_LONG.0),
        CallResult::Status { count } => {
            u64::from(wstap_cookie::WSTAP_COOKIE_STATUS.0)
                | u64::from(count.get()) << wstap_cookie::WSTAP_COOKIE_COUNT_SHIFT.0
        }
    }
}

/// The attach cookie of a function that has nothing to say but its direction.
pub(in crate::capture) fn direction_cookie(direction: ProbeDirection) -> u64 {
    match direction {
        ProbeDirection::Sent => 0,
        ProbeDirection::Received => u64::from(wstap_cookie::WSTAP_COOKIE_DIRECTION.0),
    }
}

/// The attach cookie of a function about which nothing is to be said, such as one that ends the life
/// of the handle in its first argument.
pub(in crate::capture) const NO_COOKIE: u64 = 0;

/// The same where the handle is a layer of NSPR.
pub(in crate::capture) const LAYERS_COOKIE: u64 = wstap_cookie::WSTAP_COOKIE_LAYERS.0 as u64;

/// The attach cookie of a function that every connection begins with, and whose first argument is
/// the handle.
pub(in crate::capture) const HANDSHAKE_COOKIE: u64 = wstap_cookie::WSTAP_COOKIE_USED.0 as u64;

/// The loss counters, by reason.
pub(in crate::capture) fn losses(losses: &wstap_losses) -> [Loss; 7] {
    let loss = |reason, records, bytes| Loss { reason, records, bytes };
    let [ring_full, copy_failed, call_too_large] = BYTES_LOST;
    let [untracked, too_many_connections, in_flight] = CALLS_LEFT_OUT;
    [
        loss(ring_full, losses.ring_full_records, losses.ring_full_bytes),
        loss(copy_failed, losses.copy_failed_records, losses.copy_failed_bytes),
        loss(call_too_large, losses.call_too_large_records, losses.call_too_large_bytes),
        loss(untracked, losses.untracked_calls, 0),
        loss(too_many_connections, losses.too_many_calls, losses.too_many_bytes),
        loss(in_flight, losses.in_flight_calls, losses.in_flight_bytes),
        loss(CONNECTION_END, losses.connection_ends, 0),
    ]
}
