//! Connections of HTTP clients, and what keeps a slow or greedy one from harming wstap.
//!
//! Bounds: at most [`MAX_CONNECTIONS`] at a time (others wait in the kernel's backlog), each
//! request's head within [`HEAD_TIMEOUT`], and no answer that stays unacknowledged for
//! [`WRITE_TIMEOUT`].

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

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

/// Serves `router` on `listener` until `shutdown` is done; answers under way get a second more.
pub async fn serve(listener: TcpListener, router: Router, shutdown: impl Future<Output = ()>) {
    let graceful = GracefulShutdown::new();
    // Dropped at the end, which ends whatever outlived the grace period.
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &permits) => accepted,
            () = &mut shutdown => break,
        };
        match accepted {
            Ok((stream, permit)) => {
                connections.spawn(converse(stream, router.clone(), graceful.watcher(), permit));
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

/// The next connection, once there is room for one more.
async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _peer) = listener.accept().await?;
    Ok((stream, permit))
}

/// Answers one client until it leaves, is too slow, or wstap shuts down.
async fn converse(
    stream: TcpStream,
    router: Router,
    watcher: Watcher,
    _permit: OwnedSemaphorePermit,
) {
    let socket = socket2::SockRef::from(&stream);
    // Without these a peer that vanished is noticed later; nothing else changes.
    let _ = socket.set_tcp_user_timeout(Some(WRITE_TIMEOUT));
    let _ = socket.set_tcp_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "an HTTP connection failed");
    }
}
