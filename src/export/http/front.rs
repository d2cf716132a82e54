//! The sockets on which HTTP is served: TCP ports, Unix sockets, or sockets that systemd opened.
//!
//! They are opened before anything is attached: a port in use must not cost a target a probe. What is
//! asked of clients is left to `web_config`, the connections to `connections`.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use tokio::net::{TcpListener, TcpStream, UnixListener};

use super::web_config::WebConfig;

/// Where HTTP is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A TCP port.
    Tcp(SocketAddr),
    /// A socket in the file system. Its folder and the umask decide who may connect.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A socket that listens, in the form in which it can be handed to another thread.
#[derive(Debug)]
enum Socket {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

/// Sockets that listen, and what is asked of their clients.
#[derive(Debug)]
pub struct Front {
    sockets: Vec<Socket>,
    web: WebConfig,
}

impl Front {
    /// Listens on every one of `addresses`.
    ///
    /// # Errors
    ///
    /// A sentence that names the address and the reason.
    pub fn open(addresses: &[Address], web: WebConfig) -> Result<Self, String> {
        let sockets = addresses.iter().map(|address| {
            Socket::open(address).map_err(|error| {
                format!("cannot listen on {address}: {error}; choose another address with --listen")
            })
        });
        Ok(Self { sockets: sockets.collect::<Result<_, _>>()?, web })
    }

    /// Takes the sockets that systemd has opened for this process (`sd_listen_fds(3)`). Must be called
    /// while the process has one thread, and once.
    ///
    /// # Errors
    ///
    /// A sentence, if there is none, or if one is neither a TCP nor a Unix socket that listens.
    pub fn inherited(web: WebConfig) -> Result<Self, String> {
        let mut given = ListenFd::from_env();
        if given.len() == 0 {
            return Err(
                "--systemd-socket: systemd has handed over no socket (LISTEN_FDS is not set \
                        for this process); start wstap through a .socket unit, or use --listen"
                    .into(),
            );
        }
        let sockets = (0..given.len()).map(|index| {
            Socket::take(&mut given, index)
                .map_err(|error| format!("socket {index} that systemd has handed over: {error}"))
        });
        Ok(Self { sockets: sockets.collect::<Result<_, _>>()?, web })
    }

    /// Where the metrics are, for people and for scripts that chose port 0.
    ///
    /// # Errors
    ///
    /// The kernel does not say where a socket is bound.
    pub fn places(&self, metrics_path: &str) -> io::Result<String> {
        let scheme = if self.web.has_tls() { "https" } else { "http" };
        let places = self.sockets.iter().map(|socket| {
            Ok(match socket {
                Socket::Tcp(socket) => format!("{scheme}://{}{metrics_path}", socket.local_addr()?),
                Socket::Unix(socket) => {
                    let address = socket.local_addr()?;
                    let path = address.as_pathname().unwrap_or(Path::new("?"));
                    format!("unix:{} ({scheme}, {metrics_path})", path.display())
                }
            })
        });
        Ok(places.collect::<io::Result<Vec<_>>>()?.join(" and "))
    }

    /// Hands the sockets to the runtime that this is called in.
    pub(super) fn start(self) -> io::Result<(Vec<Listener>, WebConfig)> {
        let listeners = self.sockets.into_iter().map(|socket| {
            Ok(match socket {
                Socket::Tcp(socket) => Listener::Tcp(TcpListener::from_std(socket)?),
                Socket::Unix(socket) => Listener::Unix(UnixListener::from_std(socket)?),
            })
        });
        Ok((listeners.collect::<io::Result<_>>()?, self.web))
    }
}

impl From<std::net::TcpListener> for Front {
    /// Serves everybody who reaches `listener`, which must not block.
    fn from(listener: std::net::TcpListener) -> Self {
        Self { sockets: vec![Socket::Tcp(listener)], web: WebConfig::default() }
    }
}

impl Socket {
    fn open(address: &Address) -> io::Result<Self> {
        let socket = match address {
            Address::Tcp(address) => Self::Tcp(std::net::TcpListener::bind(address)?),
            Address::Unix(path) => {
                remove_abandoned(path)?;
                Self::Unix(std::os::unix::net::UnixListener::bind(path)?)
            }
        };
        socket.unblock()
    }

    fn take(given: &mut ListenFd, index: usize) -> io::Result<Self> {
        let missing = || io::Error::other("it was taken before");
        let socket = match given.take_unix_listener(index) {
            Ok(socket) => Self::Unix(socket.ok_or_else(missing)?),
            Err(_) => Self::Tcp(given.take_tcp_listener(index)?.ok_or_else(missing)?),
        };
        socket.unblock()
    }

    fn unblock(self) -> io::Result<Self> {
        match &self {
            Self::Tcp(socket) => socket.set_nonblocking(true)?,
            Self::Unix(socket) => socket.set_nonblocking(true)?,
        }
        Ok(self)
    }
}

/// Removes a socket that an earlier run has left, and nothing else: a file that is no socket stays,
/// and so does a socket on which somebody answers.
fn remove_abandoned(path: &Path) -> io::Result<()> {
    let is_socket =
        std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    let refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    if is_socket && UnixStream::connect(path).is_err_and(|error| refused(&error)) {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

/// A client's connection.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(tokio::net::UnixStream),
}

/// A socket that accepts clients.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Waits for a client. No client is lost when this is dropped half way.
    pub(super) async fn accept(&self) -> io::Result<Stream> {
        Ok(match self {
            Self::Tcp(listener) => Stream::Tcp(listener.accept().await?.0),
            Self::Unix(listener) => Stream::Unix(listener.accept().await?.0),
        })
    }
}
