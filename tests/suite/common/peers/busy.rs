//! A server and a client whose connections compress with context takeover, and are busy before wstap
//! comes.

use super::{Peer, Runtime, Scene, Transcript};

/// Both of them.
pub(crate) struct Busy {
    /// Its files go with it.
    _scene: Scene,
    pub(crate) server: Peer,
    client: Peer,
}

/// One end: what runs it, and what it is told.
pub(crate) type End<'a> = (Runtime, &'a [&'a str]);

impl Busy {
    /// Returns when a few requests have been answered on each connection.
    pub(crate) fn start(server: End<'_>, client: End<'_>) -> Option<Self> {
        let scene = Scene::new();
        let (runtime, arguments) = server;
        let mut command = runtime.script(path(runtime, "server"))?;
        command.args(role(runtime, "server")).args(arguments);
        command.arg("--certificate").arg(scene.path("cert.pem"));
        command.arg("--key").arg(scene.path("key.pem"));
        let mut server = Peer::start(command, scene.path("server.log"));
        let (runtime, arguments) = client;
        let mut command = runtime.script(path(runtime, "client"))?;
        command.args(role(runtime, "client")).args(["--port", &server.line()]).args(arguments);
        let mut client = Peer::start(command, scene.path("client.log"));
        assert_eq!(client.line(), "ready");
        client.go();
        assert_eq!(client.line(), "busy");
        Some(Self { _scene: scene, server, client })
    }

    pub(crate) fn pids(&self) -> [u32; 2] {
        [self.server.pid(), self.client.pid()]
    }

    /// Lets the client come to an end, and waits for the answers that are due. The connections stay
    /// open.
    pub(crate) fn stop(&mut self) {
        self.client.say("stop");
        self.client.summary();
    }

    /// What the client has said and heard, once it has been [stopped](Self::stop).
    pub(crate) fn transcript(&self) -> Transcript {
        self.client.transcript()
    }
}

/// The script, in `tests/peers`.
fn path(runtime: Runtime, role: &str) -> &'static str {
    match (runtime, role) {
        (Runtime::Python, "server") => "python/windows/server.py",
        (Runtime::Python, _) => "python/windows/client.py",
        _ => "node/windows.js",
    }
}

/// What tells the role, where there is one script for both.
fn role(runtime: Runtime, role: &str) -> Option<&str> {
    (runtime != Runtime::Python).then_some(role)
}
