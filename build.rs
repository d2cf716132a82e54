//! Compiles the objects in `bpf/` and generates their Rust skeletons in `OUT_DIR`.

use std::path::PathBuf;
use std::{env, process};

use libbpf_cargo::SkeletonBuilder;

fn main() {
    println!("cargo::rerun-if-changed=bpf");
    for object in ["tracer", "socket"] {
        compile(object);
    }
}

fn compile(object: &str) {
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let source = format!("bpf/{object}.bpf.c");
    let arch = match env::var("CARGO_CFG_TARGET_ARCH").as_deref() {
        Ok("aarch64") => "arm64",
        _ => "x86",
    };
    let target_arch = format!("-D__TARGET_ARCH_{arch}");
    // bpf/maps.bpf.h says why no stack frame may be large. The verifier rounds up to 16.
    let frames = "-Wframe-larger-than=48";
    let built = SkeletonBuilder::new()
        .source(&source)
        .clang_args([
            "-mcpu=v3",
            "-Ibpf",
            "-Wall",
            "-Wextra",
            "-Werror",
            frames,
            target_arch.as_str(),
        ])
        .build_and_generate(out.join(format!("{object}.skel.rs")));
    if let Err(error) = built {
        eprintln!("failed to compile {source}: {error:#}");
        eprintln!("this needs clang 14 or newer: apt-get install clang libelf-dev zlib1g-dev");
        process::exit(1);
    }
}
