//! `benches/tap/pingpong.rs` as a program of its own.
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

#[path = "../tap/pingpong.rs"]
mod pingpong;

fn main() {
    pingpong::run();
}
