//! A zlib in an image: where its windows can be read.

use super::Direction;

/// The zlib in an image, or a library that does its work in another way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zlib {
    /// From the notice in the image, such as `1.2.13`.
    pub version: Option<String>,
    /// Where the window of a stream can be read, by rising offset; empty if it cannot.
    pub probes: Vec<ZlibProbe>,
    /// Why not: the name of a library whose state is not laid out as zlib's.
    pub refusal: Option<&'static str>,
}

/// The first instruction of a function of zlib. Its first argument is a `z_stream *` (zlib.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZlibProbe {
    /// The name of the function.
    pub function: &'static str,
    /// Offset of the instruction in the file, in bytes.
    pub offset: u64,
    /// What the function works on: an inflater takes what was received, a deflater what is sent.
    pub direction: Direction,
}
