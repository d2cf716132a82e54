//! `benches/tap/pingpong.rs` as a separate program, with OpenSSL linked into it.
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

#[path = "../tap/pingpong.rs"]
mod pingpong;

fn main() {
    pingpong::run();
}
