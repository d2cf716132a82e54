//! Accepts HTTP clients, and keeps slow or greedy ones from harming wstap.
//!
//! Bounds: at most [`MAX_CONNECTIONS`] at a time; one more takes the place of the client that has been
//! silent for longest ([`Places`]). A TLS handshake and each request's head come within
//! [`HEAD_TIMEOUT`], a head has at most [`HEAD_MAX`] bytes, and no answer stays unacknowledged for
//! [`WRITE_TIMEOUT`].

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::future::select_all;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::door::Client;
use super::front::{Front, Stream};
use super::places::{Place, Places};
use super::web_config::{Admission, WebConfig};

/// Connections served at a time: several Prometheus servers and people, with room to spare.
pub(super) const MAX_CONNECTIONS: usize = 64;

/// Time for a request's head to arrive; also how long an idle connection is kept.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest head of a request in bytes.
const HEAD_MAX: usize = 32 << 10;

/// Time for a peer to acknowledge what was sent before the kernel drops the connection.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Time for answers under way when shutting down.
const GRACE: Duration = Duration::from_secs(1);

/// Pause after a failed accept (out of descriptors, say), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The answer to a request with a foreign `Host` header.
const NOT_HERE: &str = "The Host header names another site. This address serves its own machine only: \
                        use localhost or an IP address, or start wstap with --listen ADDRESS.\n";

/// What every connection of a server shares.
#[derive(Clone)]
struct Shared {
    router: TowerToHyperService<Router>,
    web: Arc<WebConfig>,
}

/// Serves `router` on the sockets of `front` until `shutdown` is done; answers under way get a second
/// more.
///
/// # Errors
///
/// The runtime refuses a socket.
pub async fn serve(
    front: Front,
    router: Router,
    shutdown: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let (listeners, web) = front.start()?;
    let shared = Shared { router: TowerToHyperService::new(router), web: Arc::new(web) };
    let graceful = GracefulShutdown::new();
    // Dropped at the end, which ends whatever outlived the grace period.
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    let places = Arc::new(Places::default());
    loop {
        let accept = select_all(listeners.iter().map(|listener| Box::pin(listener.accept())));
        let (accepted, ..) = tokio::select! {
            accepted = accept => accepted,
            () = &mut shutdown => break,
        };
        match accepted {
            Ok(stream) => {
                let place = places.take(MAX_CONNECTIONS);
                connections.spawn(converse(stream, shared.clone(), graceful.watcher(), place));
            }
            Err(error) => {
                tracing::debug!(%error, "cannot accept an HTTP connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listeners);
    // Running out of grace is no error: the connections are dropped with the set.
    let _ = tokio::time::timeout(GRACE, graceful.shutdown()).await;
    Ok(())
}

/// Answers one client until it leaves, is too slow, its place is needed, or wstap shuts down.
async fn converse(stream: Stream, shared: Shared, watcher: Watcher, place: Place) {
    let (socket, client): (Socket, Client) = match stream {
        Stream::Tcp(stream) => {
            let client = prepare(&stream);
            (Box::new(stream), client)
        }
        Stream::Unix(stream) => (Box::new(stream), Client::of_unix_socket()),
    };
    tokio::select! {
        () = greet(socket, client, &shared, watcher, &place) => {}
        () = place.is_needed() => {
            tracing::debug!("an HTTP client that was silent for longest made room for another");
        }
    }
}

/// What bytes come and go through. Behind one type, so that hyper and rustls are compiled for it once.
trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Bytes for S {}
type Socket = Box<dyn Bytes>;

fn prepare(stream: &TcpStream) -> Client {
    let socket = socket2::SockRef::from(stream);
    // If these fail, a peer that vanished is noticed later; nothing else changes.
    let _ = socket.set_tcp_user_timeout(Some(WRITE_TIMEOUT));
    let _ = socket.set_tcp_nodelay(true);
    Client::new(stream.local_addr().ok(), stream.peer_addr().ok())
}

/// Shakes hands where the web configuration asks for TLS.
async fn greet(stream: Socket, client: Client, shared: &Shared, watcher: Watcher, place: &Place) {
    let Some(acceptor) = shared.web.tls() else {
        return talk(stream, client, shared, watcher, place).await;
    };
    match tokio::time::timeout(HEAD_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => talk(Box::new(stream), client, shared, watcher, place).await,
        Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake of an HTTP client failed"),
        Err(_) => tracing::debug!("an HTTP client was too slow to shake hands"),
    }
}

async fn talk(stream: Socket, client: Client, shared: &Shared, watcher: Watcher, place: &Place) {
    let answer = |request| {
        place.begin();
        let answer = answer(shared, client, request);
        async {
            let answer = answer.await;
            place.end();
            answer
        }
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), service_fn(answer));
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "an HTTP connection failed");
    }
}

/// Answers one request: refuses a foreign `Host` and whom the web configuration does not admit, else
/// asks the router.
async fn answer(
    shared: &Shared,
    client: Client,
    mut request: Request<Incoming>,
) -> Result<Response, std::convert::Infallible> {
    let is_welcome = client.is_welcome(request.uri(), request.headers());
    let mut answer = if !is_welcome {
        (StatusCode::MISDIRECTED_REQUEST, NOT_HERE).into_response()
    } else {
        match shared.web.admit(request.headers()).await {
            Admission::Granted => {
                request.extensions_mut().insert(client);
                shared.router.call(request.map(Body::new)).await?
            }
            Admission::Refused(response) => response,
        }
    };
    shared.web.add_headers(answer.headers_mut());
    Ok(answer)
}
