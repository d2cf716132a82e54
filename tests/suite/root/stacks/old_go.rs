//! Go from before the oldest that the tests can compile with: a build tool as its makers shipped it.
//!
//! Turborepo keeps what it built on a server, over HTTPS. It speaks no WebSocket, but every byte of
//! its TLS connections is counted at both ends.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::suite::common::peers::{Peer, Scene, installed};
use crate::suite::common::programs;
use crate::suite::common::wstap::{Metrics, Monitor, privileged, wait_for};
use crate::suite::root::stacks::libraries::assert_ready_go;
use crate::suite::root::stacks::stripped::{Waiting, ps};

/// Packages of the workspace. Each builds a file of [`ARTIFACT_BYTES`] that cannot be compressed.
const PACKAGES: u64 = 4;
const ARTIFACT_BYTES: u64 = 300_000;

/// What stands before git, which the tool runs before it connects to anything.
const GIT: &str = "#!/bin/sh
while [ ! -e \"$GATES/begin\" ]; do sleep 0.02; done
PATH=${PATH#*:} exec git \"$@\"
";

/// What stands in for the package manager.
const NPM: &str = "#!/bin/sh
case $2 in
build) mkdir -p out && head -c 300000 /dev/urandom > out/artifact ;;
finish) : > out/finishing; while [ ! -e \"$GATES/end\" ]; do sleep 0.02; done ;;
esac
";

/// Nothing but the builds is kept.
const PIPELINE: &str = r#"{"pipeline":{"build":{"outputs":["out/**"]},"finish":{"dependsOn":["build"],"cache":false}}}"#;

/// A workspace of the tool, in the folder of a scene.
struct Workspace<'scene> {
    scene: &'scene Scene,
    tool: &'scene Path,
    port: u16,
}

impl<'scene> Workspace<'scene> {
    fn make(scene: &'scene Scene, tool: &'scene Path, port: u16) -> Self {
        let workspace = Self { scene, tool, port };
        workspace.write(
            "package.json",
            r#"{"name":"root","private":true,"workspaces":["packages/*"],"packageManager":"npm@8.0.0"}"#,
        );
        workspace.write("package-lock.json", "{}");
        workspace.write("turbo.json", PIPELINE);
        workspace.write(".gitignore", ".turbo/\nnode_modules/\nout/\n");
        for package in 0..PACKAGES {
            let scripts = r#"{"build":"-","finish":"-"}"#;
            let json = format!(r#"{{"name":"p{package}","version":"1.0.0","scripts":{scripts}}}"#);
            workspace.write(&format!("packages/{package}/package.json"), &json);
        }
        for (name, script) in [("bin/npm", NPM), ("bin/git", GIT)] {
            let source = format!("{name}.sh");
            workspace.write(&source, script);
            programs::copy(workspace.path(&source), workspace.path(name));
            let mode = fs::Permissions::from_mode(0o755);
            fs::set_permissions(workspace.path(name), mode).expect("a mode");
        }
        let folder = workspace.path("");
        let status = Command::new("git").args(["init", "--quiet"]).arg(folder).status();
        assert!(status.is_ok_and(|status| status.success()), "git init");
        workspace
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scene.path("workspace").join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }

    /// Where each package is built.
    fn outputs(&self) -> impl Iterator<Item = PathBuf> {
        (0..PACKAGES).map(|package| self.path(&format!("packages/{package}/out")))
    }

    /// What the packages built.
    fn artifacts(&self) -> Vec<Vec<u8>> {
        let read = |output: PathBuf| fs::read(output.join("artifact")).expect("an artifact");
        self.outputs().map(read).collect()
    }

    /// Forgets all that was built, but for what the server has.
    fn clean(&self) {
        let folders = self.outputs().chain([self.path("node_modules"), self.path("gates")]);
        folders.for_each(|folder| fs::remove_dir_all(folder).expect("a folder"));
    }

    /// Builds all packages. It connects to nothing before [`Workspace::open`] of `begin`, and does
    /// not end before that of `end`. The garbage collector never rests.
    fn build(&self) -> Build {
        let path = std::env::var("PATH").unwrap_or_default();
        fs::create_dir(self.path("gates")).expect("a folder");
        let process = Command::new(self.tool)
            .args(["run", "finish", "--token=secret", "--team=team"])
            .arg(format!("--api=https://127.0.0.1:{}", self.port))
            .current_dir(self.path(""))
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            .env("HOME", self.path(""))
            .env("SSL_CERT_FILE", self.scene.path("cert.pem"))
            .env("GATES", self.path("gates"))
            .env("GOGC", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        Build(process.expect("the tool starts"))
    }

    fn open(&self, gate: &str) {
        self.write(&format!("gates/{gate}"), "");
    }

    /// Whether everything is built, and all that is left to do is to end.
    fn is_finishing(&self) -> bool {
        self.outputs().all(|output| output.join("finishing").exists())
    }
}

/// A run of the tool; it ends at the latest with this value.
struct Build(Child);

impl Build {
    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn assert_ends_well(mut self) {
        let ended = || self.0.try_wait().expect("a status");
        assert!(wait_for("the tool to end", ended).success());
    }
}

impl Drop for Build {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the server has counted since it was told to begin again.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Counts(Value);

impl Counts {
    fn ask(server: &mut Peer, line: &str) -> Self {
        server.say(line);
        Self(serde_json::from_str(&server.line()).expect("counts"))
    }

    fn of(&self, name: &str) -> u64 {
        self.0[name].as_u64().expect("a count")
    }

    /// Whether the tool has nothing more to send: each artifact was stored or taken (`way`), no
    /// connection is left, and two events were told for each question whether there is one.
    fn are_all(&self, way: &str) -> bool {
        let asked = self.of("hits") + self.of("misses");
        self.of(way) == PACKAGES && self.of("open") == 0 && self.of("events") == 2 * asked
    }

    /// Whether wstap counted each byte, once.
    fn equal(&self, metrics: &Metrics) -> bool {
        let is_equal = |name: &str, of_server: &str| {
            let bytes = metrics.sum(&format!("wstap_plaintext_bytes_{name}_total"), &[]);
            bytes == self.of(of_server) as f64
        };
        is_equal("sent", "received") && is_equal("received", "sent")
    }
}

/// First it builds, and sends the artifacts to the server; then it takes them from there.
fn is_counted_to_the_byte(tool: &Path, go: &str) {
    let scene = Scene::new();
    let Some((mut server, port)) = scene.build_cache() else { return };
    let workspace = Workspace::make(&scene, tool, port);
    let mut built = Vec::new();
    for way in ["stored", "hits"] {
        Counts::ask(&mut server, "again");
        let build = workspace.build();
        assert_ready_go(build.pid(), go);
        let tap = Monitor::attach(build.pid(), &[]);
        workspace.open("begin");
        wait_for("the builds", || workspace.is_finishing().then_some(()));
        let counts = wait_for("the connections to end", || {
            Some(Counts::ask(&mut server, "go")).filter(|counts| counts.are_all(way))
        });
        let passed = counts.of(if way == "stored" { "received" } else { "sent" });
        assert!(passed > PACKAGES * ARTIFACT_BYTES, "{counts:?}");
        tap.metrics_when(&format!("{counts:?}"), |metrics| counts.equal(metrics));

        workspace.open("end");
        build.assert_ends_well();
        assert_eq!(Counts::ask(&mut server, "go"), counts);
        let ended = |metrics: &Metrics| metrics.sum("wstap_target_up", &[]) == 0.0;
        let metrics = tap.metrics_when("the target to have ended", ended);
        assert!(counts.equal(&metrics), "{counts:?}: {metrics:#?}");
        metrics.assert_flawless();
        if way == "stored" {
            built = workspace.artifacts();
            workspace.clean();
        }
    }
    assert_eq!(workspace.artifacts(), built);
}

#[test]
fn root_go_1_17_and_1_18_are_counted_to_the_byte() {
    for (version, go) in [("1.1.10", "1.17.8"), ("1.3.1", "1.18.3")] {
        if !privileged() {
            return;
        }
        let program = format!("node_modules/turbo-{version}/bin/turbo");
        let Some(tool) = installed(&program) else { return };
        is_counted_to_the_byte(&tool, go);
    }
}

/// Go 1.16 passes arguments on the stack, as its code says.
#[test]
fn root_go_1_16_is_refused_by_name() {
    if !privileged() {
        return;
    }
    let Some(program) = installed("node_modules/esbuild-0.12.15/bin/esbuild") else { return };
    // It serves on a port of 127.0.0.1 until it is ended.
    let process = Waiting::start(Command::new(program).arg("--serve=127.0.0.1:0"));
    let row = &ps(process.pid())[0];
    let expected = "unsupported: crypto/tls of Go 1.16.3: it passes arguments on the stack";
    assert!(row["verdict"].as_str().is_some_and(|it| it.starts_with(expected)), "{row}");
}
