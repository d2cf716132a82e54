//! Accepts HTTP clients, and keeps slow or greedy ones from harming wstap.
//!
//! Bounds: at most [`MAX_CONNECTIONS`] at a time; one more takes the place of the client that has been
//! silent for longest ([`Places`]). Each request's head comes within [`HEAD_TIMEOUT`], and no answer
//! stays unacknowledged for [`WRITE_TIMEOUT`].

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::door::Client;
use super::places::{Place, Places};

/// Connections served at a time: several Prometheus servers and people, with room to spare.
pub(super) const MAX_CONNECTIONS: usize = 64;

/// Time for a request's head to arrive; also how long an idle connection is kept.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Time for a peer to acknowledge what was sent before the kernel drops the connection.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Time for answers under way when shutting down.
const GRACE: Duration = Duration::from_secs(1);

/// Pause after a failed accept (out of descriptors, say), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The answer to a request with a foreign `Host` header.
const NOT_HERE: &str = "The Host header names another site. This address serves its own machine only: \
                        use localhost or an IP address, or start wstap with --listen ADDRESS.\n";

/// Serves `router` on `listener` until `shutdown` is done; answers under way get a second more.
pub async fn serve(listener: TcpListener, router: Router, shutdown: impl Future<Output = ()>) {
    let graceful = GracefulShutdown::new();
    // Dropped at the end, which ends whatever outlived the grace period.
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    let places = Arc::new(Places::default());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let place = places.take(MAX_CONNECTIONS);
                connections.spawn(converse(stream, router.clone(), graceful.watcher(), place));
            }
            Err(error) => {
                tracing::debug!(%error, "cannot accept an HTTP connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    // Running out of grace is no error: the connections are dropped with the set.
    let _ = tokio::time::timeout(GRACE, graceful.shutdown()).await;
}

/// Answers one client until it leaves, is too slow, its place is needed, or wstap shuts down.
async fn converse(stream: TcpStream, router: Router, watcher: Watcher, place: Place) {
    let socket = socket2::SockRef::from(&stream);
    // If these fail, a peer that vanished is noticed later; nothing else changes.
    let _ = socket.set_tcp_user_timeout(Some(WRITE_TIMEOUT));
    let _ = socket.set_tcp_nodelay(true);
    let client = Client::new(stream.local_addr().ok(), stream.peer_addr().ok());
    let router = TowerToHyperService::new(router);
    let answer = |request| {
        place.begin();
        let answer = answer(&router, client, request);
        async {
            let answer = answer.await;
            place.end();
            answer
        }
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service_fn(answer));
    tokio::select! {
        ended = watcher.watch(connection) => {
            if let Err(error) = ended {
                tracing::debug!(%error, "an HTTP connection failed");
            }
        }
        () = place.is_needed() => {
            tracing::debug!("an HTTP client that was silent for longest made room for another");
        }
    }
}

/// Answers one request: refuses a foreign `Host`, else asks the router.
fn answer(
    router: &TowerToHyperService<Router>,
    client: Client,
    mut request: Request<Incoming>,
) -> impl Future<Output = Result<Response, std::convert::Infallible>> + use<> {
    let is_welcome = client.is_welcome(request.uri(), request.headers());
    request.extensions_mut().insert(client);
    let answer = is_welcome.then(|| router.call(request.map(Body::new)));
    async {
        match answer {
            Some(answer) => answer.await,
            None => Ok((StatusCode::MISDIRECTED_REQUEST, NOT_HERE).into_response()),
        }
    }
}
