//! The `wstap` program.

fn main() {}
