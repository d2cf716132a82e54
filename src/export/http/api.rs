//! The JSON behind the page. Keys are only ever added within version 1.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures_util::stream;
use serde::{Deserialize, Serialize};

use super::Exporter;
use super::door::Client;
use crate::event::Loss;
use crate::export::live::{Now, Point, SECONDS, Window};
use crate::export::status::Snapshot;
use crate::export::summary::{Totals, Turnaround};

/// `/api/v1/status`
#[derive(Serialize)]
pub(super) struct StatusReply {
    name: &'static str,
    version: &'static str,
    revision: &'static str,
    #[serde(flatten)]
    now: Snapshot,
    totals: Totals,
}

/// `/api/v1/turnaround`
#[derive(Serialize)]
pub(super) struct TurnaroundReply {
    turnaround: Vec<Turnaround>,
}

pub(super) async fn status(State(exporter): State<Exporter>) -> Json<StatusReply> {
    Json(StatusReply {
        name: "wstap",
        version: crate::export::VERSION,
        revision: crate::export::REVISION,
        now: exporter.status.snapshot(),
        totals: exporter.view.totals(),
    })
}

pub(super) async fn turnaround(State(exporter): State<Exporter>) -> Json<TurnaroundReply> {
    Json(TurnaroundReply { turnaround: exporter.view.turnarounds() })
}

/// Clients that follow the live page at a time.
pub(super) const FOLLOWERS_MAX: usize = 16;

/// How often a follower gets an event.
const PERIOD: Duration = Duration::from_secs(1);

/// The longest window in seconds.
const WINDOW_MAX: u64 = SECONDS as u64;

/// One event of `/api/v1/live`.
#[derive(Serialize)]
struct LiveReply {
    version: &'static str,
    sentence: String,
    points: Vec<Point>,
    #[serde(flatten)]
    now: Now,
    status: Snapshot,
    totals: Totals,
    losses: Vec<LossRow>,
}

#[derive(Serialize)]
struct LossRow {
    reason: &'static str,
    records: u64,
    bytes: u64,
}

impl Exporter {
    fn live(&self, after: u64, client: Option<Client>) -> LiveReply {
        let with_addresses = client.is_some_and(Client::sees_addresses);
        let (status, totals) = (self.status.snapshot(), self.view.totals());
        let losses = self.losses.read();
        let lost = losses.iter().map(|loss| loss.bytes).sum();
        LiveReply {
            version: crate::export::VERSION,
            sentence: self.live.sentence(&status, lost),
            points: self.live.points(after),
            now: self.live.now(with_addresses),
            status,
            totals,
            losses: losses
                .iter()
                .map(|&Loss { reason, records, bytes }| LossRow { reason, records, bytes })
                .collect(),
        }
    }
}

/// `/api/v1/live`: server-sent events. The first holds everything; then one a second holds what is
/// new. For a client that does not read, one event is kept in memory, and no more are made.
pub(super) async fn follow(
    State(exporter): State<Exporter>,
    client: Option<Extension<Client>>,
) -> Response {
    let Ok(place) = Arc::clone(&exporter.followers).try_acquire_owned() else {
        let text = "Too many clients follow the live page. Close one and load this again.\n";
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    };
    let client = client.map(|Extension(client)| client);
    let begin = (exporter, place, 0, tokio::time::interval(PERIOD));
    let events = stream::unfold(begin, move |(exporter, place, after, mut ticks)| async move {
        ticks.tick().await;
        let reply = exporter.live(after, client);
        let after = reply.points.last().map_or(after, |point| point.time);
        let event = Event::default().json_data(&reply);
        Some((event, (exporter, place, after, ticks)))
    });
    Sse::new(events).into_response()
}

/// `from` and `to` of `/api/v1/window`, in seconds since 1970; the last 15 minutes without them.
#[derive(Deserialize)]
pub(super) struct WindowQuery {
    from: Option<u64>,
    to: Option<u64>,
}

/// `/api/v1/window`
pub(super) async fn window(
    State(exporter): State<Exporter>,
    Query(query): Query<WindowQuery>,
) -> Json<Window> {
    let last = exporter.live.points(0).last().map_or(0, |point| point.time);
    let to = query.to.unwrap_or(last).min(last);
    let from = query.from.unwrap_or(0).max(to.saturating_sub(WINDOW_MAX)).min(to);
    Json(exporter.live.window(from, to))
}

/// `id` of `/api/v1/connection`, for example `4242-17`.
#[derive(Deserialize)]
pub(super) struct ConnectionQuery {
    id: String,
}

/// `/api/v1/connection`: the last messages of one connection, without payload.
pub(super) async fn connection(
    State(exporter): State<Exporter>,
    Query(query): Query<ConnectionQuery>,
) -> Response {
    match exporter.live.messages(&query.id) {
        Some(messages) => Json(messages).into_response(),
        None => (StatusCode::NOT_FOUND, "No such connection is open.\n").into_response(),
    }
}
