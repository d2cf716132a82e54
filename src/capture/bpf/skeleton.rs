//! The BPF objects and their types, generated from `bpf/` by `build.rs`, which deflates the objects.
#![allow(
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    clippy::unwrap_used,
    dead_code,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unsafe_op_in_unsafe_fn,
    unused_imports,
    reason = "generated code"
)]

use std::io::Read;

use flate2::read::ZlibDecoder;

include!(concat!(env!("OUT_DIR"), "/tracer.skel.rs"));

/// The object with the programs on sockets.
pub(in crate::capture) mod socket {
    include!(concat!(env!("OUT_DIR"), "/socket.skel.rs"));
}

/// The object as libbpf reads it. It is empty if the bytes are damaged; libbpf then says that it is no object.
fn inflated(deflated: &[u8]) -> Vec<u8> {
    let mut object = Vec::new();
    match ZlibDecoder::new(deflated).read_to_end(&mut object) {
        Ok(_) => object,
        Err(_) => Vec::new(),
    }
}
