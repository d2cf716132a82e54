use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use rustix::process::Signal;

use crate::suite::common::peers::mixed::scaled;
use crate::suite::common::peers::{Peer, Runtime, Scene};
use crate::suite::common::programs::Running;
use crate::suite::common::wstap::{DEADLINE, Monitor, privileged, program, signal, wait_for};
use crate::suite::root::targets::privileges::{FOUR, Open, four_are_enough};

/// A library that the test may change.
fn library(scene: &Scene) -> PathBuf {
    let copy = scene.path("libcopy.so");
    fs::copy(Path::new("/proc/self/exe"), &copy).expect("a copy");
    copy
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// Runs wstap to its end, which must come within the deadline.
fn ends(command: &mut Command) -> Output {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let started = Instant::now();
    let child = command.spawn().expect("wstap runs");
    let pid = child.id();
    let (ended, is_ended) = std::sync::mpsc::channel();
    let waiting = std::thread::spawn(move || {
        let output = child.wait_with_output().expect("output");
        let _ = ended.send(());
        output
    });
    if is_ended.recv_timeout(DEADLINE).is_err() {
        signal(pid, Signal::KILL);
        panic!("it hangs for {:?}", started.elapsed());
    }
    waiting.join().expect("no panic")
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// A server under tap beside a neighbour that is tapped, too: 50 requests are counted, and the end
/// is a clean one.
fn taps_beside(scene: &Scene, neighbour: &Peer) {
    let Some((server, port)) = scene.server(Runtime::Python, &[]) else { return };
    let neighbour = neighbour.pid().to_string();
    let tap = Monitor::attach(server.pid(), &["--pid", &neighbour, "--wait"]);
    tap.metrics_when("the server to be tapped", |m| {
        m.sum("wstap_probe_attached", &["SSL_read"]) > 0.0
    });
    let mut client = scene.client(Runtime::Python, port, &["--requests", "50"]).expect("a client");
    client.go();
    assert_eq!(client.summary().requests, 50);
    tap.metrics_when("every answer", |m| m.sum("turnaround_count", &[]) == 50.0);
    assert!(tap.terminate().success());
}

/// A mapped file whose owner truncates it must not end whoever reads it.
#[test]
fn root_a_file_that_is_truncated_for_ever_ends_neither_ps_nor_probes_nor_the_monitor() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let file = library(&scene);
    let Some(neighbour) = scene.hostile(&["shrink", text(&file)]) else { return };
    let pid = neighbour.pid().to_string();
    for _ in 0..scaled(3, 50) {
        let listed = ends(program().arg("ps"));
        assert_eq!(listed.status.code(), Some(0), "{}", said(&listed));
        let probes = ends(program().args(["probes", "--pid", &pid]));
        assert!(matches!(probes.status.code(), Some(0 | 4)), "{}", said(&probes));
    }
    taps_beside(&scene, &neighbour);
}

/// The four capabilities do not lead through `map_files`, so the path is opened.
#[test]
fn root_a_pipe_in_place_of_a_mapped_file_is_not_waited_for() {
    let scene = Scene::new();
    if !four_are_enough() {
        return;
    }
    let file = library(&scene);
    let Some(neighbour) = scene.hostile(&["fifo", text(&file)]) else { return };
    let open = Open::new();
    let pid = neighbour.pid().to_string();
    let listed = ends(open.with(&FOUR).arg("ps"));
    assert_eq!(listed.status.code(), Some(0), "{}", said(&listed));
    assert!(said(&listed).contains("no regular file"), "{}", said(&listed));
    let probes = ends(open.with(&FOUR).args(["probes", "--pid", &pid]));
    assert!(matches!(probes.status.code(), Some(0 | 4)), "{}", said(&probes));
}

/// A thread that waits for a FUSE daemon cannot be killed, so no file of one is opened.
#[test]
fn root_a_file_system_that_does_not_answer_is_named_and_not_waited_for() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let folder = scene.path("mount");
    fs::create_dir(&folder).expect("a folder");
    let file = library(&scene);
    let Some(neighbour) = scene.hostile(&["hang", text(&folder), text(&file)]) else { return };
    let image = folder.join("image");
    let listed = ends(program().arg("ps"));
    assert_eq!(listed.status.code(), Some(0), "{}", said(&listed));
    assert!(said(&listed).contains(text(&image)), "{}", said(&listed));
    assert!(said(&listed).contains("FUSE"), "{}", said(&listed));
    taps_beside(&scene, &neighbour);
}

/// Many ranges of one file, and many files: the next server is tapped all the same.
#[test]
fn root_a_process_with_very_many_mappings_does_not_keep_others_from_being_tapped() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let (file, folder) = (library(&scene), scene.path("files"));
    fs::create_dir(&folder).expect("a folder");
    for arguments in [["ranges", text(&file), "60000"], ["files", text(&folder), "5000"]] {
        let Some(neighbour) = scene.hostile(&arguments) else { return };
        taps_beside(&scene, &neighbour);
    }
}

/// The kernel waits for each link that is closed. One after the other, this took a minute.
#[test]
#[ignore = "probes 300 files; make attack runs it"]
fn root_three_hundred_probed_files_are_let_go_side_by_side() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some(library) = installed_library() else { return };
    let folder = scene.path("files");
    fs::create_dir(&folder).expect("a folder");
    let copies = ["copies", text(&folder), &library, "300"];
    let Some(target) = scene.hostile(&copies) else { return };
    let tap = Monitor::attach(target.pid(), &[]);
    tap.metrics_when("every file to be probed", |m| {
        m.sum("wstap_probe_attached", &["\"SSL_read\""]) >= 300.0
    });
    let began = Instant::now();
    assert!(tap.terminate().success());
    println!("300 probed files were let go within {:?}", began.elapsed());
    assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
}

/// What others name must not control the terminal of whoever reads about it.
#[test]
fn root_control_characters_in_names_reach_no_terminal() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some(library) = installed_library() else { return };
    let folder = scene.path("");
    let Some(neighbour) = scene.hostile(&["names", text(&folder), &library]) else { return };
    let pid = neighbour.pid().to_string();
    for arguments in [
        &["ps"][..],
        &["probes", "--pid", &pid],
        &["--pid", &pid, "--check", "-vv", "--listen", "127.0.0.1:0"],
        &["doctor"],
    ] {
        let output = ends(program().args(arguments));
        let all = said(&output);
        let is_bad = |c: char| c.is_control() && c != '\n';
        assert!(!all.contains(is_bad), "{arguments:?}: {all:?}");
        let names_it = all.contains("\\u{1b}[2Jevil") || all.contains("\\u{1b}]0;owned");
        assert!(names_it || arguments == ["doctor"], "{arguments:?}: {all}");
    }
}

/// A libssl that this machine has.
fn installed_library() -> Option<String> {
    let listed = Command::new("ldconfig").arg("-p").output().expect("ldconfig runs");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let path = listed.lines().find(|line| line.contains("libssl.so"))?.rsplit(' ').next()?;
    Some(path.to_owned())
}

/// `wstap messages` ends on a signal even while its output is not read.
#[test]
fn root_messages_whose_reader_is_stuck_ends_when_it_is_told_to() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    for end in [Signal::INT, Signal::TERM] {
        let Some((server, port)) = scene.server(Runtime::Python, &[]) else { return };
        let mut command = program();
        command.args(["messages", "-v", "--frames", "--payload", "4096", "--pid"]);
        command.arg(server.pid().to_string()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut tap = command.spawn().expect("wstap runs");
        wait_until_attached(&mut tap);
        let load = ["--requests", "3000", "--connections", "4"];
        let mut client = scene.client(Runtime::Python, port, &load).expect("a client");
        client.go();
        client.summary();
        signal(tap.id(), end);
        let ended = wait_for("wstap to end", || tap.try_wait().expect("a status"));
        assert_eq!(ended.code(), Some(0));
    }
}

fn wait_until_attached(tap: &mut std::process::Child) {
    use std::io::{BufRead, BufReader};
    let log = BufReader::new(tap.stderr.take().expect("piped"));
    let (attached, is_attached) = std::sync::mpsc::channel();
    // Read to its end, so that only standard output is stuck.
    std::thread::spawn(move || {
        for line in log.lines().map_while(Result::ok) {
            if line.contains("attached") {
                let _ = attached.send(());
            }
        }
    });
    is_attached.recv_timeout(DEADLINE).expect("wstap attaches");
}

/// Descriptors that are there are used: the soft limit of a shell is 1,024.
#[test]
fn root_the_limit_of_descriptors_is_raised_and_cores_are_off() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some((server, _)) = scene.server(Runtime::Python, &[]) else { return };
    let tap = Monitor::attach(server.pid(), &[]);
    let limits = fs::read_to_string(format!("/proc/{}/limits", tap.pid())).expect("limits");
    let limit = |name: &str| {
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).expect("a limit");
        let mut fields = line.split_ascii_whitespace().map(str::to_owned);
        (fields.next().expect("soft"), fields.next().expect("hard"))
    };
    let (soft, hard) = limit("Max open files");
    assert_eq!(soft, hard);
    assert_eq!(limit("Max core file size").0, "0");
    assert!(tap.terminate().success());
}

/// A process that the kernel may not dump belongs to root, whoever runs it, and so does its memory: no core
/// is written, even where somebody raises the limit or pipes cores to a program.
#[test]
fn root_wstap_may_not_be_dumped() {
    let scene = Scene::new();
    if !four_are_enough() {
        return;
    }
    let owner_of_memory =
        |pid: u32| fs::metadata(format!("/proc/{pid}/mem")).map_or(u32::MAX, |it| it.uid());
    let mut other = Command::new("setpriv");
    let other =
        other.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "sleep", "60"]);
    let mut other = other.spawn().expect("it starts");
    wait_for("a process that may be dumped", || {
        (owner_of_memory(other.id()) == 65_534).then_some(())
    });
    other.kill().and_then(|()| other.wait()).expect("it ends");

    let Some((server, _)) = scene.server(Runtime::Python, &[]) else { return };
    let open = Open::new();
    let mut command = open.with(&FOUR);
    command.args(["--pid", &server.pid().to_string()]);
    let tap = Monitor::spawn_on_any_port(command);
    assert_eq!(owner_of_memory(tap.pid()), 0);
    assert!(tap.terminate().success());
}

/// Nothing that is tapped may be called tapped when its probes could not be placed.
#[test]
fn root_without_descriptors_a_target_is_not_up() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some((server, _)) = scene.server(Runtime::Python, &[]) else { return };
    // Few enough for no link to be left: found by trying, because wstap may need more one day.
    let mut seen = Vec::new();
    for descriptors in [24, 32, 40, 48, 64, 72, 80, 96, 128] {
        let mut command = Command::new("prlimit");
        command.arg(format!("--nofile={descriptors}:{descriptors}"));
        command.arg(env!("CARGO_BIN_EXE_wstap")).args(["--check", "--listen", "127.0.0.1:0"]);
        command.args(["--plain", "off", "--pid", &server.pid().to_string()]);
        let output = ends(&mut command);
        let code = output.status.code().expect("no signal");
        assert!(code != 0 || said(&output).contains("attached"), "{}", said(&output));
        let missing = said(&output).contains("what passes through it is not seen");
        assert!(code != 0 || !missing, "{descriptors}: {}", said(&output));
        seen.push(code);
    }
    assert!(seen.contains(&0) && seen.iter().any(|&code| code != 0), "{seen:?}");
}

/// A program without any library, for a machine with 32 bits: it only waits.
const A_32_BIT_PROGRAM: &str = "
void _start(void) { for (;;) __asm__ volatile(\"int $0x80\" : : \"a\"(29) : \"memory\"); }
";

/// Such a program is refused by name, not called tapped.
#[cfg(target_arch = "x86_64")]
#[test]
fn root_a_32_bit_program_is_refused_by_name() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let (source, built) = (scene.path("short.c"), scene.path("short"));
    fs::write(&source, A_32_BIT_PROGRAM).expect("a source");
    let options = ["-m32", "-static", "-nostdlib", "-fno-pic", "-no-pie", "-o", text(&built)];
    let compiled = Command::new("gcc").args(options).arg(&source).status().expect("gcc runs");
    assert!(compiled.success());
    let waiting = Running::start(Command::new(&built).stdin(Stdio::null()));
    let pid = waiting.pid().to_string();
    for plain in ["auto", "on"] {
        let output = ends(
            program()
                .args(["--pid", &pid, "--check", "--plain", plain])
                .args(["--listen", "127.0.0.1:0"]),
        );
        assert_eq!(output.status.code(), Some(4), "{}", said(&output));
        assert!(said(&output).contains("32-bit"), "{}", said(&output));
    }
}

/// Users copy the ids of threads from `top -H` and from logs.
#[test]
fn root_the_id_of_a_thread_taps_its_process() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    // Node.js has threads from its beginning.
    let Some((server, _)) = scene.server(Runtime::Node, &[]) else { return };
    let tasks = fs::read_dir(format!("/proc/{}/task", server.pid())).expect("threads");
    let ids = tasks.flatten().filter_map(|task| task.file_name().to_str()?.parse::<u32>().ok());
    let thread = ids.max().expect("a thread");
    assert_ne!(thread, server.pid());
    let tap = Monitor::attach(thread, &[]);
    tap.metrics_when("the target to be up", |m| m.sum("wstap_target_up", &[]) == 1.0);
    assert!(tap.terminate().success());
}
