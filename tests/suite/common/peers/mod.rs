//! Real peers: programs in other languages that talk wss and keep their own log of what they said.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;
use std::{env, fs, thread};

use base64::prelude::{BASE64_STANDARD, Engine};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Value;
use tempfile::TempDir;

#[path = "../../../../examples/demo/certificate.rs"]
mod certificate;

/// Connections that are busy before wstap comes.
pub(crate) mod busy;

/// Both ends of very many connections in one process.
pub(crate) mod many;

/// The peers that exchange messages of every kind.
pub(crate) mod mixed;

/// Both ends of a conversation in one small process.
pub(crate) mod wss_pair;

/// A folder of one test: certificate, key, logs.
pub(crate) struct Scene {
    folder: TempDir,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (key, certificate) = certificate::self_signed().expect("a certificate");
        let write = |name: &str, pem: Vec<u8>| fs::write(folder.path().join(name), pem);
        write("key.pem", key.private_key_to_pem_pkcs8().expect("a key")).expect("a file");
        write("cert.pem", certificate.to_pem().expect("a certificate")).expect("a file");
        Self { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A server with its certificate; its first line is the port it listens on.
    pub(crate) fn server(&self, runtime: Runtime, arguments: &[&str]) -> Option<(Peer, u16)> {
        let mut command = runtime.command("ws_server")?;
        command.arg("--certificate").arg(self.path("cert.pem"));
        command.arg("--key").arg(self.path("key.pem")).args(arguments);
        let mut peer = Peer::start(command, self.path("server.log"));
        let port = peer.line().parse().expect("a port");
        Some((peer, port))
    }

    /// The page of a wstap in a browser: see `page.js`.
    pub(crate) fn page(&self, arguments: &[&str]) -> Option<Peer> {
        let mut command = Runtime::Node.script("node/page.js")?;
        command.args(arguments);
        Some(Peer::start(command, self.path("page.log")))
    }

    /// The page of a wstap in several browsers: see `watchers.js`.
    pub(crate) fn watchers(&self, url: &str, browsers: usize) -> Option<Peer> {
        let mut command = Runtime::Node.script("node/watchers.js")?;
        command.args(["--url", url, "--browsers", &browsers.to_string()]);
        command.env("TMPDIR", self.folder.path());
        Some(Peer::start(command, self.path("watchers.log")))
    }

    /// What the network panel of Chromium makes of a HAR file: see `har_import.js`.
    pub(crate) fn har_import(&self, file: &Path) -> Option<Peer> {
        let mut command = Runtime::Node.script("node/har_import.js")?;
        command.arg("--file").arg(file);
        Some(Peer::start(command, self.path("har.log")))
    }

    /// A server and a client that count the plaintext bytes of each connection themselves.
    pub(crate) fn flood(&self, arguments: &[&str]) -> Option<(Peer, Peer)> {
        let (server, client, _) = self.pair("flood", [Runtime::Python; 2], arguments)?;
        Some((server, client))
    }

    /// A feed with known faults, and a client that opens its connection with the first [`Peer::go`].
    pub(crate) fn ticks(&self, arguments: &[&str]) -> Option<(Peer, Peer)> {
        let (server, client, _) = self.pair("feeds/ticks", [Runtime::Python; 2], arguments)?;
        Some((server, client))
    }

    /// An HTTPS server that counts the plaintext bytes of its connections, with its port.
    pub(crate) fn build_cache(&self) -> Option<(Peer, u16)> {
        let mut command = Runtime::Python.command("build_cache")?;
        command.arg("--certificate").arg(self.path("cert.pem"));
        command.arg("--key").arg(self.path("key.pem"));
        let mut server = Peer::start(command, self.path("server.log"));
        let port = server.line().parse().expect("a port");
        Some((server, port))
    }

    /// A neighbour that makes it hard for whoever looks into it: see `hostile.py`.
    pub(crate) fn hostile(&self, arguments: &[&str]) -> Option<Peer> {
        let mut command = Runtime::Python.command("hostile")?;
        command.args(arguments);
        let mut peer = Peer::start(command, self.path("hostile.log"));
        assert_eq!(peer.line(), "ready");
        Some(peer)
    }

    /// An HTTPS server, and a client that keeps its connection and upgrades it at last.
    pub(crate) fn https(&self) -> Option<(Peer, Peer)> {
        let (server, client, _) = self.pair("https", [Runtime::Python; 2], &[])?;
        Some((server, client))
    }

    /// The same without TLS, and two clients.
    pub(crate) fn http(&self) -> Option<(Peer, [Peer; 2])> {
        let (server, client, port) = self.pair("https", [Runtime::Python; 2], &["--plain"])?;
        let mut command = Runtime::Python.command("https")?;
        command.args(["client", "--plain", "--port", &port.to_string()]);
        let mut second = Peer::start(command, self.path("second.log"));
        assert_eq!(second.line(), "ready");
        Some((server, [client, second]))
    }

    /// A client over GnuTLS and its server over OpenSSL, in one process; it waits for [`Peer::go`].
    pub(crate) fn two_stacks(&self, requests: &str) -> Option<Peer> {
        self.both_ends("two_stacks", &["--requests", requests])
    }

    /// Both ends of a connection whose writer does not wait, in one process; it waits for [`Peer::go`].
    pub(crate) fn unfinished(&self) -> Option<Peer> {
        self.both_ends("both_ends/unfinished", &[])
    }

    /// Something of all that the dashboard shows, in one process; it begins with [`Peer::go`].
    pub(crate) fn everything(&self) -> Option<Peer> {
        self.both_ends("both_ends/everything", &[])
    }

    /// A program in Python that is server and client, once it is ready.
    fn both_ends(&self, name: &str, arguments: &[&str]) -> Option<Peer> {
        let mut command = Runtime::Python.command(name)?;
        command.arg("--certificate").arg(self.path("cert.pem"));
        command.arg("--key").arg(self.path("key.pem")).args(arguments);
        let mut peer = Peer::start(command, self.path("peer.log"));
        assert_eq!(peer.line(), "ready");
        Some(peer)
    }

    /// A server and a client that pass their bytes through every system call, without TLS.
    pub(crate) fn calls(&self, arguments: &[&str]) -> Option<(Peer, Peer)> {
        let (server, client, _) = self.pair("calls", [Runtime::Python; 2], arguments)?;
        Some((server, client))
    }

    /// Every protocol of `peers/protocols` in two processes; the client waits for [`Peer::go`].
    pub(crate) fn protocols(&self, arguments: &[&str]) -> Option<(Peer, Peer)> {
        let mut server = self.protocols_server()?;
        let port = server.line();
        let client = self.protocols_client(&port, arguments)?;
        Some((server, client))
    }

    /// The server of [`Scene::protocols`] alone; its first line is the port.
    pub(crate) fn protocols_server(&self) -> Option<Peer> {
        let mut command = Runtime::Node.script("protocols/main.js")?;
        command.arg("server").arg("--certificate").arg(self.path("cert.pem"));
        command.arg("--key").arg(self.path("key.pem"));
        // Browsers and kernels that it starts leave folders behind when it is killed.
        command.env("TMPDIR", self.folder.path());
        Some(Peer::start(command, self.path("server.log")))
    }

    /// A client of [`Scene::protocols`]; it waits for [`Peer::go`].
    pub(crate) fn protocols_client(&self, port: &str, arguments: &[&str]) -> Option<Peer> {
        let mut command = Runtime::Node.script("protocols/main.js")?;
        command.args(["client", "--port", port]).args(arguments);
        let mut client = Peer::start(command, self.path("client.log"));
        assert_eq!(client.line(), "ready");
        Some(client)
    }

    /// A server, a client and the port between them: all that messages can be made of. Where the client is
    /// Python it writes the keys of its connections to `keys.log`.
    pub(crate) fn mixed(
        &self,
        server: Runtime,
        client: Runtime,
        arguments: &[&str],
    ) -> Option<(Peer, Peer, u16)> {
        self.pair("mixed", [server, client], arguments)
    }

    /// A server and a client that break every rule of RFC 6455 that a frame can break; the client
    /// waits for [`Peer::go`].
    pub(crate) fn rule_breakers(&self, runtime: Runtime) -> Option<(Peer, Peer)> {
        let (server, client, _) = self.pair("rule_breakers", [runtime; 2], &[])?;
        Some((server, client))
    }

    /// A server and a client that talk on streams of one HTTP/2 connection; the client waits for
    /// [`Peer::go`].
    pub(crate) fn http2(
        &self,
        server: Runtime,
        client: Runtime,
        arguments: &[&str],
    ) -> Option<(Peer, Peer)> {
        let (server, client, _) = self.pair(HTTP2, [server, client], arguments)?;
        Some((server, client))
    }

    /// A server and a client with one WebSocket over HTTP/3; the client waits for [`Peer::go`].
    pub(crate) fn http3(&self, arguments: &[&str]) -> Option<(Peer, Peer)> {
        let (server, client, _) = self.pair("http2/http3", [Runtime::Python; 2], arguments)?;
        Some((server, client))
    }

    /// The server of [`Scene::http2`] alone, and its port.
    pub(crate) fn http2_server(&self, runtime: Runtime) -> Option<(Peer, u16)> {
        self.serve(HTTP2, runtime, &[])
    }

    /// The client of [`Scene::http2`] alone.
    pub(crate) fn http2_client(
        &self,
        runtime: Runtime,
        port: u16,
        arguments: &[&str],
    ) -> Option<Peer> {
        self.connect(HTTP2, runtime, port, arguments)
    }

    /// The two roles of one script, and the port; the client waits for [`Peer::go`].
    fn pair(
        &self,
        script: &str,
        [server, client]: [Runtime; 2],
        arguments: &[&str],
    ) -> Option<(Peer, Peer, u16)> {
        let (server, port) = self.serve(script, server, arguments)?;
        let client = self.connect(script, client, port, arguments)?;
        Some((server, client, port))
    }

    fn serve(&self, script: &str, runtime: Runtime, arguments: &[&str]) -> Option<(Peer, u16)> {
        let mut command = runtime.command(script)?;
        command.arg("server").args(arguments);
        command.arg("--certificate").arg(self.path("cert.pem"));
        command.arg("--key").arg(self.path("key.pem"));
        let mut server = Peer::start(command, self.path("server.log"));
        let port = server.line().parse().expect("a port");
        Some((server, port))
    }

    fn connect(
        &self,
        script: &str,
        runtime: Runtime,
        port: u16,
        arguments: &[&str],
    ) -> Option<Peer> {
        let mut command = runtime.command(script)?;
        command.env("SSLKEYLOGFILE", self.path("keys.log"));
        command.args(["client", "--port", &port.to_string()]).args(arguments);
        let mut client = Peer::start(command, self.path("client.log"));
        assert_eq!(client.line(), "ready");
        Some(client)
    }

    /// A client that waits for [`Peer::go`].
    pub(crate) fn client(&self, runtime: Runtime, port: u16, arguments: &[&str]) -> Option<Peer> {
        let mut command = runtime.command("ws_client")?;
        command.args(["--port", &port.to_string()]).args(arguments);
        let mut peer = Peer::start(command, self.path("client.log"));
        assert_eq!(peer.line(), "ready");
        Some(peer)
    }
}

/// The script of both ends of an HTTP/2 connection.
const HTTP2: &str = "http2/peer";

/// What a peer is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runtime {
    /// `websockets`, with OpenSSL as a shared library.
    Python,
    /// `ws`, with OpenSSL linked into the executable.
    Node,
    /// The same script run by a current version of Node.js.
    NodeCurrent,
    /// The same script run by a version of Bun, with a BoringSSL in the executable that no symbol
    /// leads to. Only a client.
    Bun(&'static str),
    /// `websockets` over a library of C: a module of `tests/peers/python/native`. Only a client.
    Native(&'static str),
    /// A page in a browser. Only a client.
    Browser(&'static str),
    /// `tokio-tungstenite` over a TLS library of Rust: a feature of `tests/peers/rust`. Only a
    /// client.
    Rust(&'static str),
    /// `gorilla/websocket`, with Go's own TLS. The garbage collector never rests.
    Go(GoBuild),
    /// Crystal's own server over OpenSSL: its fibers switch stacks inside `SSL_read`. Only a server,
    /// and only with `make test-stacks`.
    Crystal,
}

/// How a Go program was built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GoBuild {
    /// By Debian's Go.
    Debian,
    /// The same without symbols.
    Stripped,
    /// The same, position independent.
    Pie,
    /// By a current Go, whose table of functions does not say where the text is.
    Current,
    /// The same, position independent and without symbols.
    CurrentPie,
    /// By Debian's Go and linked with C by the system's linker.
    Cgo,
    /// The same by a current Go, without symbols.
    CurrentCgo,
}

impl GoBuild {
    pub(crate) const ALL: [Self; 7] = [
        Self::Debian,
        Self::Stripped,
        Self::Pie,
        Self::Current,
        Self::CurrentPie,
        Self::Cgo,
        Self::CurrentCgo,
    ];

    /// What the version of its Go begins with.
    pub(crate) fn version(self) -> &'static str {
        match self {
            Self::Debian | Self::Stripped | Self::Pie | Self::Cgo => "1.19.",
            Self::Current | Self::CurrentPie | Self::CurrentCgo => "1.27.",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Debian => "debian",
            Self::Stripped => "stripped",
            Self::Pie => "pie",
            Self::Current => "current",
            Self::CurrentPie => "current-pie",
            Self::Cgo => "cgo",
            Self::CurrentCgo => "current-cgo",
        }
    }
}

impl Runtime {
    /// A peer by its name in the folder of the language.
    fn command(self, peer: &str) -> Option<Command> {
        match self {
            Self::Python => self.script(&format!("python/{peer}.py")),
            Self::Node | Self::NodeCurrent | Self::Bun(_) => {
                self.script(&format!("node/{peer}.js"))
            }
            Self::Native(stack) => {
                let mut command = self.script(&format!("python/{peer}_native.py"))?;
                command.args(["--stack", stack]);
                Some(command)
            }
            Self::Browser(browser) => {
                let mut command = self.script(&format!("python/{peer}_browser.py"))?;
                command.args(["--browser", browser]);
                Some(command)
            }
            Self::Rust(build) => Some(Command::new(installed(&format!("rust/{peer}-{build}"))?)),
            Self::Go(build) => {
                let mut command = Command::new(installed(&format!("go/{peer}-{}", build.name()))?);
                command.env("GOGC", "1");
                // Go's server takes WebSockets over HTTP/2 only where that is asked for.
                command.env("GODEBUG", "http2xconnect=1");
                Some(command)
            }
            Self::Crystal => Some(Command::new(installed(&format!("crystal/{peer}"))?)),
        }
    }

    /// A script in `tests/peers`, run by what runs this language.
    fn script(self, path: &str) -> Option<Command> {
        let program = match self {
            Self::Node => installed("node")?,
            Self::NodeCurrent => installed("node_modules/node-current/bin/node")?,
            Self::Bun(version) => installed(&format!("node_modules/bun-{version}/bin/bun"))?,
            _ => installed("venv/bin/python")?,
        };
        let mut command = Command::new(program);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(path));
        // Node would look for its modules beside the script.
        command.env("NODE_PATH", peers().join("node_modules"));
        // Bun does not know the option of `ws` that says so.
        command.env("NODE_TLS_REJECT_UNAUTHORIZED", "0").env("NODE_NO_WARNINGS", "1");
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        Some(command)
    }
}

fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers")
}

/// A program that `make deps-test` has put into `target/peers`, or `None` where the test is to be
/// skipped. Fails where `CI` is set.
pub(crate) fn installed(program: &str) -> Option<PathBuf> {
    let path = peers().join(program);
    if path.exists() {
        return Some(path);
    }
    let on_ci = env::var("CI").is_ok_and(|value| value == "true");
    assert!(!on_ci, "{} is missing: make deps-test", path.display());
    eprintln!("skipped: {} is missing: make deps-test", path.display());
    None
}

/// The longest that a peer of a heavy test talks without a word to the test.
const PATIENCE: Duration = Duration::from_secs(900);

/// A running peer. It ends when its standard input does, and at the latest with this value.
pub(crate) struct Peer {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    log: PathBuf,
    /// What it wrote to its standard error: shown where the test fails. Peers complain when the
    /// other end leaves without a goodbye, which most tests let it do.
    complaints: PathBuf,
}

/// What a peer says when it ends.
#[derive(Debug)]
pub(crate) struct Summary {
    /// Requests answered, by its own count.
    pub(crate) requests: u64,
    /// Median of its own measurements, in nanoseconds.
    pub(crate) median_ns: f64,
}

/// What was said: for each connection and direction the messages in order, as type and bytes.
/// Connections have no names that both sides know, so they are sorted by what was said on them.
pub(crate) type Transcript = Vec<[Vec<(String, Vec<u8>)>; 2]>;

impl Peer {
    fn start(mut command: Command, log: PathBuf) -> Self {
        let complaints = log.with_extension("stderr");
        // Several peers may share the name of their log.
        let errors = File::options().create(true).append(true).open(&complaints).expect("a file");
        command.arg("--log").arg(&log).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
        let mut process = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().expect("piped"));
        Self { process, input, output, log, complaints }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }

    /// The next line of its output; fails if it ended instead, or says nothing for [`PATIENCE`].
    pub(crate) fn line(&mut self) -> String {
        if self.output.buffer().is_empty() {
            let mut output = [PollFd::new(self.output.get_ref(), PollFlags::IN)];
            let patience = Timespec::try_from(PATIENCE).expect("it fits");
            let ready = poll(&mut output, Some(&patience)).expect("a pipe");
            assert!(ready > 0, "the peer of {} said nothing for {PATIENCE:?}", self.log.display());
        }
        let mut line = String::new();
        self.output.read_line(&mut line).expect("output");
        let (log, ended) = (self.log.display(), self.process.try_wait());
        assert!(line.ends_with('\n'), "the peer of {log} ended early: {ended:?}");
        line.trim_end().to_owned()
    }

    /// Lets a client begin.
    pub(crate) fn go(&mut self) {
        self.say("go");
    }

    /// A line of its input.
    pub(crate) fn say(&mut self, line: &str) {
        let input = self.input.as_mut().expect("running");
        writeln!(input, "{line}").expect("input");
        input.flush().expect("input");
    }

    /// Waits until a client has said all it has to say.
    pub(crate) fn summary(&mut self) -> Summary {
        let summary: Value = serde_json::from_str(&self.line()).expect("a summary");
        let requests = summary.get("requests").or_else(|| summary.get("answered"));
        Summary {
            requests: requests.and_then(Value::as_u64).expect("a count"),
            median_ns: summary["median_ns"].as_f64().expect("a median"),
        }
    }

    /// Tells it to end.
    pub(crate) fn end(&mut self) {
        self.input = None;
    }

    /// Ends it and waits until it is gone.
    pub(crate) fn wait(&mut self) {
        self.end();
        self.process.wait().expect("the peer ends");
    }

    /// Ends a server and takes its summary.
    pub(crate) fn finish(&mut self) -> Summary {
        self.end();
        self.summary()
    }

    /// What its log says; only complete after [`summary`](Self::summary).
    pub(crate) fn transcript(&self) -> Transcript {
        let mut connections: BTreeMap<String, [Vec<_>; 2]> = BTreeMap::new();
        for line in fs::read_to_string(&self.log).expect("a log").lines() {
            let mut fields = line.split(' ');
            let mut field = || fields.next().expect("four fields");
            let (connection, direction, kind, data) = (field(), field(), field(), field());
            let bytes = BASE64_STANDARD.decode(data).expect("base64");
            let message = (kind.to_owned(), bytes);
            let connection = connections.entry(connection.to_owned()).or_default();
            connection[usize::from(direction == "received")].push(message);
        }
        sorted(connections.into_values().collect())
    }
}

/// In an order that does not depend on names.
pub(crate) fn sorted(mut transcript: Transcript) -> Transcript {
    transcript.sort();
    transcript
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.process.kill();
        let _ = self.process.wait();
        if thread::panicking() {
            let complaints = fs::read_to_string(&self.complaints).unwrap_or_default();
            eprintln!("{} says:\n{complaints}", self.complaints.display());
        }
    }
}
