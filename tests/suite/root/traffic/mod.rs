//! What is said on the connections: messages, compression, protocols.

/// Compression as every peer negotiates it, and connections older than wstap.
mod decoding;

/// WebSockets on streams of HTTP/2 (RFC 8441).
mod http2;

/// Connections that were open, compressed and busy before wstap came, of every library.
mod open_before;

/// Rules that were learned, judged by peers that they were not learned from.
mod learned;

/// Large and compressed messages.
mod large;

/// What another decoder makes of the same bytes, taken from the network.
mod oracle;

/// Real peers under tap: counts, times and bytes are the peers' own.
mod peers;

/// Real implementations of the built-in protocols, and a protocol of the user's own.
mod protocols;

/// What was said before on compressed connections, taken from the process itself.
mod windows;

/// Peers that break the rules of RFC 6455, and are followed all the same.
mod violations;
