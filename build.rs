//! Compiles the objects in `bpf/`, generates their Rust skeletons in `OUT_DIR`, and finds out the
//! source revision.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, process};

use libbpf_cargo::SkeletonBuilder;

fn main() {
    println!("cargo::rustc-env=WSTAP_REVISION={}", revision());
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
    // The object names its sources: not by the folder that this checkout happens to be in.
    let folder = "-fdebug-compilation-dir=.";
    let built = SkeletonBuilder::new()
        .source(&source)
        .clang_args([
            "-mcpu=v3",
            "-Ibpf",
            "-Wall",
            "-Wextra",
            "-Werror",
            frames,
            folder,
            target_arch.as_str(),
        ])
        .build_and_generate(out.join(format!("{object}.skel.rs")));
    if let Err(error) = built {
        eprintln!("failed to compile {source}: {error:#}");
        eprintln!("this needs clang 14 or newer: apt-get install clang libelf-dev zlib1g-dev");
        process::exit(1);
    }
}

/// What `WSTAP_REVISION` says, else the commit of this checkout, else `unknown`: there may be no git,
/// and sources may come without their history.
fn revision() -> String {
    println!("cargo::rerun-if-env-changed=WSTAP_REVISION");
    if let Some(given) = env::var("WSTAP_REVISION").ok().filter(|it| !it.is_empty()) {
        return given;
    }
    commit().unwrap_or_else(|| String::from("unknown"))
}

fn commit() -> Option<String> {
    // Sources inside of somebody else's repository are not that repository.
    let top = git(&["rev-parse", "--show-toplevel"])?;
    if Path::new(&top).canonicalize().ok()? != env::current_dir().ok()?.canonicalize().ok()? {
        return None;
    }
    // Written by every commit, checkout and rebase.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    if Path::new(&log).exists() {
        println!("cargo::rerun-if-changed={log}");
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
