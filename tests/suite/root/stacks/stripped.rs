use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use sha1::{Digest, Sha1};

use crate::suite::common::peers::wss_pair::{self, Pair};
use crate::suite::common::peers::{Scene, installed};
use crate::suite::common::wstap::{Monitor, privileged, program, wait_for};

/// Others may have the usual one.
const ANY_PORT: [&str; 2] = ["--listen", "127.0.0.1:0"];

/// What `wstap ps` says of a process: a row for each TLS library.
pub(crate) fn ps(pid: u32) -> Vec<Value> {
    let output = program().args(["ps", "--json"]).output().expect("wstap runs");
    let rows = String::from_utf8(output.stdout).expect("text");
    let rows = rows.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    rows.filter(|row: &Value| row["pid"] == pid).collect()
}

/// Standard output of a tool that ends well.
fn tool(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// A program with OpenSSL inside and no symbol, and its symbols in a file of their own.
///
/// OpenSSL's error messages would lead to its functions all the same, so they are changed. Its
/// build id is its own.
struct Stripped {
    program: PathBuf,
    symbols: PathBuf,
    build_id: String,
}

/// The file that the program names.
const LINK: &str = "stripped.debug";

impl Stripped {
    /// `None` where the test is to be skipped.
    fn make(scene: &Scene) -> Option<Self> {
        if !privileged() {
            return None;
        }
        let folder = &scene.path("");
        let mut bytes = fs::read(wss_pair::static_program()?).expect("a program");
        for name in [b"\0ssl_read_internal\0", b"\0ssl_write_internal".as_slice()] {
            let places: Vec<usize> = memchr::memmem::find_iter(&bytes, name).collect();
            assert!(!places.is_empty(), "OpenSSL says which function fails");
            places.iter().for_each(|at| bytes[at + 1] = b'x');
        }
        let build_id = change_build_id(&mut bytes, folder);
        let [whole, program, symbols] = ["whole", "stripped", LINK].map(|name| folder.join(name));
        fs::copy(wss_pair::static_program()?, &whole).expect("a copy");
        fs::write(&whole, bytes).expect("a file");
        tool(Command::new("objcopy").arg("--only-keep-debug").args([&whole, &symbols]));
        let link = format!("--add-gnu-debuglink={}", symbols.display());
        tool(Command::new("objcopy").args(["--strip-all", &link]).args([&whole, &program]));
        // Where nothing looks for it.
        let elsewhere = folder.join("elsewhere");
        fs::rename(&symbols, &elsewhere).expect("a file");
        Some(Self { program, symbols: elsewhere, build_id })
    }

    /// Puts the symbols where GDB looks for them.
    fn install_symbols(&self) {
        let folder = self.program.with_file_name(".debug");
        fs::create_dir(&folder).expect("a folder");
        fs::copy(&self.symbols, folder.join(LINK)).expect("a file");
    }

    fn start(&self) -> Pair {
        Pair::start(&self.program, &RUN)
    }

    /// Starts it where `/usr/lib` is its own to write to: what is put there is seen by no other
    /// process, and goes with it.
    fn start_in_a_root_of_its_own(&self) -> Pair {
        let [upper, work] = ["upper", "work"].map(|name| self.program.with_file_name(name));
        for folder in [&upper, &work] {
            fs::create_dir(folder).expect("a folder");
        }
        let script = format!(
            "mount -t overlay overlay -o lowerdir=/usr/lib,upperdir={},workdir={} /usr/lib && \
             exec {} {}",
            upper.display(),
            work.display(),
            self.program.display(),
            RUN.join(" "),
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script]);
        let pair = Pair::spawn(command);
        let exe = PathBuf::from(format!("/proc/{}/exe", pair.pid()));
        wait_for("the program", || (fs::read_link(&exe).ok()? == self.program).then_some(()));
        pair
    }

    /// Where the symbols are looked for by the build id, in the root of process `pid`.
    fn named_by_id(&self, pid: u32) -> PathBuf {
        let (folder, file) = self.build_id.split_at(2);
        format!("/proc/{pid}/root/usr/lib/debug/.build-id/{folder}/{file}.debug").into()
    }
}

const RUN: [&str; 3] = ["go", "requests=40", "linger"];

/// Gives a program a build id that no other one has, made of the name of its folder.
fn change_build_id(program: &mut [u8], folder: &Path) -> String {
    // Of an ELF note: length of its name, of what it says, its type, its name.
    let note = b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0";
    let at = memchr::memmem::find(program, note).expect("a build id") + note.len();
    let id = Sha1::digest(folder.as_os_str().as_encoded_bytes());
    program[at..at + id.len()].copy_from_slice(&id);
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Panics unless `wstap ps` says that there is no way to the functions of this process.
fn assert_unsupported(pid: u32) {
    let row = &ps(pid)[0];
    let verdict = row["verdict"].as_str().expect("a verdict");
    assert!(verdict.starts_with("unsupported: OpenSSL"), "{row}");
    assert!(verdict.ends_with("inside, symbols stripped"), "{row}");
}

/// Panics unless it says that a debug file leads to them.
fn assert_ready(pid: u32) {
    let row = &ps(pid)[0];
    assert_eq!((&row["verdict"], &row["symbols"]), (&"ready".into(), &"debug".into()), "{row}");
}

/// Taps it and counts every message that it says it exchanged.
fn is_counted(pair: &mut Pair, options: &[&str]) {
    let tap = Monitor::attach(pair.pid(), options);
    pair.go();
    assert_eq!(pair.answers(), 40);
    // Both ends are in one process.
    tap.metrics_when("80", |m| m.sum("turnaround_count", &[]) == 80.0).assert_flawless();
}

#[test]
fn root_a_stripped_openssl_is_named_and_tapped_once_its_debug_file_is_installed() {
    let scene = Scene::new();
    let Some(stripped) = Stripped::make(&scene) else { return };
    let mut pair = stripped.start();
    assert_unsupported(pair.pid());
    let output = program()
        .args(["--pid", &pair.pid().to_string()])
        .args(ANY_PORT)
        .output()
        .expect("wstap runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("inside, symbols stripped"), "{said}");

    stripped.install_symbols();
    assert_ready(pair.pid());
    is_counted(&mut pair, &[]);
}

/// The debug file that the build id names, as distributions install them, in the process's own
/// root. One of another build is not believed, whatever its name.
#[test]
fn root_a_stripped_openssl_is_tapped_by_the_debug_file_of_its_build_id() {
    let (scene, other) = (Scene::new(), Scene::new());
    let Some(stripped) = Stripped::make(&scene) else { return };
    let Some(other) = Stripped::make(&other) else { return };
    let mut pair = stripped.start_in_a_root_of_its_own();
    assert_unsupported(pair.pid());
    let file = stripped.named_by_id(pair.pid());
    fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
    fs::copy(&other.symbols, &file).expect("a file");
    assert_unsupported(pair.pid());
    fs::copy(&stripped.symbols, &file).expect("a file");
    assert_ready(pair.pid());
    is_counted(&mut pair, &[]);
    assert!(!stripped.named_by_id(std::process::id()).exists(), "it was installed for one process");
}

/// The debug file that the program names, beside it. One with another checksum is not believed.
#[test]
fn root_a_stripped_openssl_is_tapped_by_the_debug_file_beside_it() {
    let scene = Scene::new();
    let Some(stripped) = Stripped::make(&scene) else { return };
    let mut pair = stripped.start();
    assert_unsupported(pair.pid());
    let file = stripped.program.with_file_name(LINK);
    let symbols = fs::read(&stripped.symbols).expect("a file");
    fs::write(&file, [&symbols[..], b"x"].concat()).expect("a file");
    assert_unsupported(pair.pid());
    fs::write(&file, symbols).expect("a file");
    assert_ready(pair.pid());
    is_counted(&mut pair, &[]);
}

#[test]
fn root_offsets_given_by_hand_are_checked_and_used() {
    let scene = Scene::new();
    let Some(stripped) = Stripped::make(&scene) else { return };
    check_offsets(&scene, &stripped, &format!("build_id = \"{}\"", stripped.build_id));
}

/// Some images have no build id. The checksum of the whole file stands for it.
#[test]
fn root_offsets_given_by_hand_are_used_where_an_image_has_no_build_id() {
    let scene = Scene::new();
    let Some(stripped) = Stripped::make(&scene) else { return };
    tool(Command::new("objcopy").args(["-R", ".note.gnu.build-id"]).arg(&stripped.program));
    let notes = tool(Command::new("readelf").args(["-nW"]).arg(&stripped.program));
    assert!(!notes.contains("Build ID"), "{notes}");
    let sum = tool(Command::new("sha1sum").arg(&stripped.program));
    let sum = sum.split(' ').next().expect("a sum");
    check_offsets(&scene, &stripped, &format!("sha1 = \"{sum}\""));
}

fn check_offsets(scene: &Scene, stripped: &Stripped, build: &str) {
    let mut pair = stripped.start();
    // A user would find them with a disassembler.
    let symbols = tool(Command::new("nm").arg(&stripped.symbols));
    let address = |name: &str| {
        let line = symbols.lines().find(|line| line.ends_with(&format!(" {name}")));
        let address = line.and_then(|line| line.split(' ').next()).expect("a symbol");
        u64::from_str_radix(address, 16).expect("an address")
    };
    let headers = tool(Command::new("readelf").args(["-lWn"]).arg(&stripped.program));
    let (code_address, code_offset) = code_segment(&headers);
    let config = |wrong: u64| {
        let offset = |name| address(name) - code_address + code_offset + wrong;
        let text = format!(
            "[[library]]\n{build}\nSSL_read = {:#x}\nSSL_write = {:#x}\nSSL_free = {:#x}\n",
            offset("SSL_read"),
            offset("SSL_write"),
            offset("SSL_free"),
        );
        let path = scene.path(&format!("offsets-{wrong}.toml"));
        fs::write(&path, text).expect("a file");
        path.display().to_string()
    };

    let (pid, wrong) = (pair.pid().to_string(), config(2));
    let output = program()
        .args(["--pid", &pid, "--config", &wrong])
        .args(ANY_PORT)
        .output()
        .expect("wstap runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("no function begins at an offset that was given"), "{said}");

    let right = config(0);
    let probes = program().args(["probes", "--json", "--pid", &pid, "--config", &right]).output();
    let probes = String::from_utf8(probes.expect("wstap runs").stdout).expect("text");
    assert!(probes.contains("\"symbols\":\"config\""), "{probes}");
    is_counted(&mut pair, &["--config", &right]);
}

/// Where the code of a program is: address and offset in the file.
fn code_segment(headers: &str) -> (u64, u64) {
    let line = headers.lines().find(|line| line.contains("LOAD") && line.contains("R E"));
    let fields: Vec<&str> = line.expect("code").split_ascii_whitespace().collect();
    let hex = |text: &str| u64::from_str_radix(&text[2..], 16).expect("a number");
    (hex(fields[2]), hex(fields[1]))
}

/// A program that waits for its first line, and ends with this value.
pub(crate) struct Waiting(Child);

impl Waiting {
    pub(crate) fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn root_rustls_is_experimental_with_symbols_and_refused_by_name_without() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some(whole) = installed("rust/ws_client-rustls23") else { return };
    let stripped = scene.path("rustls-stripped");
    tool(Command::new("strip").arg("-o").args([&stripped, &whole]));
    for (program, symbols, expected) in [
        (&whole, "symtab", "experimental"),
        (&stripped, "messages", "unsupported: rustls 0.23.46 inside, symbols stripped"),
    ] {
        let log = scene.path("log").display().to_string();
        let process = Waiting::start(Command::new(program).args(["--port", "1", "--log", &log]));
        let row = &ps(process.pid())[0];
        let found = ["stack", "symbols", "verdict"].map(|key| &row[key]);
        assert_eq!(found, ["rustls", symbols, expected], "{row}");
    }
}
