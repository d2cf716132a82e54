//! One TLS library or build after the other, and connections without TLS.

/// Browsers, large runtimes and slow builds: `make test-stacks`.
mod heavy;

/// Calls that had begun before their probes were in place.
mod in_flight;

/// TLS objects that several processes of a SIP proxy use.
mod kamailio;

/// TLS libraries other than OpenSSL: Go's own, GnuTLS, NSS, BoringSSL, rustls.
mod libraries;

/// nginx terminates wss.
pub(crate) mod nginx;

/// Go's own TLS before Go 1.19.
mod old_go;

/// WebSockets without TLS: ws://.
mod plain;

/// Proxies that speak HTTP/2 in front, and both versions behind.
mod proxies;

/// Libraries without symbols: debug files, offsets given by hand, and what is refused.
pub(crate) mod stripped;
