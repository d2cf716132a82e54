//! Compiles the objects in `bpf/`, deflates them, generates their Rust skeletons in `OUT_DIR`, gzips the page
//! and the built-in protocols, and finds out the source revision.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, process};

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use libbpf_cargo::SkeletonBuilder;

/// Folders whose files are part of the program, and the folders of `OUT_DIR` in which their gzipped forms are.
const GZIPPED: [(&str, &str); 2] =
    [("page", "src/export/http/page"), ("protocols", "src/matching/protocols")];

fn main() {
    println!("cargo::rustc-env=WSTAP_REVISION={}", revision());
    println!("cargo::rerun-if-changed=bpf");
    for object in ["tracer", "socket"] {
        compile(object);
    }
    for (name, files) in GZIPPED {
        println!("cargo::rerun-if-changed={files}");
        if let Err(error) = gzip(Path::new(files), name) {
            eprintln!("failed to gzip {files}: {error}");
            process::exit(1);
        }
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
    let skeleton = out.join(format!("{object}.skel.rs"));
    let built = SkeletonBuilder::new()
        .source(&source)
        .obj(out.join(format!("{object}.bpf.o")))
        .reference_obj(true)
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
        .build_and_generate(&skeleton);
    if let Err(error) = built {
        eprintln!("failed to compile {source}: {error:#}");
        eprintln!("this needs clang 14 or newer: apt-get install clang libelf-dev zlib1g-dev");
        process::exit(1);
    }
    if let Err(error) = deflate(&out, object) {
        eprintln!("failed to deflate {source}: {error}");
        process::exit(1);
    }
}

/// Lets the skeleton hold the object deflated, in a quarter of the bytes. `src/capture/bpf/skeleton.rs`
/// inflates it.
fn deflate(out: &Path, object: &str) -> io::Result<()> {
    let mut deflated = ZlibEncoder::new(Vec::new(), Compression::best());
    deflated.write_all(&fs::read(out.join(format!("{object}.bpf.o")))?)?;
    fs::write(out.join(format!("{object}.z")), deflated.finish()?)?;

    let skeleton = out.join(format!("{object}.skel.rs"));
    let text = fs::read_to_string(&skeleton)?;
    let whole = text.split_once("#[unsafe(link_section").and_then(|(before, rest)| {
        let (_, after) = rest.split_once(");")?;
        Some((before, after))
    });
    let (before, after) = whole.ok_or_else(|| io::Error::other("its skeleton has another form"))?;
    let data = format!(
        "static DATA: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| \
         crate::capture::bpf::skeleton::inflated(include_bytes!(\"{object}.z\")));"
    );
    fs::write(&skeleton, [before, data.as_str(), after].concat())
}

/// Writes the files of this folder and those below it, gzipped, into one folder of `OUT_DIR`.
fn gzip(folder: &Path, name: &str) -> io::Result<()> {
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join(name);
    fs::create_dir_all(&out)?;
    for entry in fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()? {
        if entry.file_type()?.is_dir() {
            gzip(&entry.path(), name)?;
            continue;
        }
        let mut gzipped = GzEncoder::new(Vec::new(), Compression::best());
        gzipped.write_all(&fs::read(entry.path())?)?;
        let file = format!("{}.gz", entry.file_name().display());
        fs::write(out.join(file), gzipped.finish()?)?;
    }
    Ok(())
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
