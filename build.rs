//! Compiles `bpf/tracer.bpf.c` and generates its Rust skeleton in `OUT_DIR`.

use std::path::PathBuf;
use std::{env, process};

use libbpf_cargo::SkeletonBuilder;

fn main() {
    println!("cargo::rerun-if-changed=bpf");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("tracer.skel.rs");
    let arch = match env::var("CARGO_CFG_TARGET_ARCH").as_deref() {
        Ok("aarch64") => "arm64",
        _ => "x86",
    };
    let target_arch = format!("-D__TARGET_ARCH_{arch}");
    // bpf/maps.bpf.h says why no frame may be large; the verifier rounds up to 16.
    let frames = "-Wframe-larger-than=48";
    let built = SkeletonBuilder::new()
        .source("bpf/tracer.bpf.c")
        .clang_args(["-mcpu=v3", "-Wall", "-Wextra", "-Werror", frames, target_arch.as_str()])
        .build_and_generate(&out);
    if let Err(error) = built {
        eprintln!("failed to compile bpf/tracer.bpf.c: {error:#}");
        eprintln!("this needs clang 14 or newer: apt-get install clang libelf-dev zlib1g-dev");
        process::exit(1);
    }
}
