//! Serves HTTP: metrics for Prometheus, health checks, and a page with its JSON.
//!
//! [`router`] is the whole service without a socket; [`serve`] puts it on those of a
//! [`Front`](front::Front), which may ask for TLS, certificates and passwords
//! ([`web_config`]). No route shows payload or
//! message ids. Hosts and paths of connections are shown to clients on this machine only, so the
//! listener may face a network.

mod api;
mod connections;
mod door;
pub mod front;
mod page;
mod places;
pub mod web_config;

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use flate2::Compression;
use flate2::write::GzEncoder;
use prometheus::Registry;
use prometheus::proto::MetricFamily;
use tokio::sync::Semaphore;

use super::live::Live;
use super::metrics::Metrics;
use super::metrics::exposition::{Encoding, Format};
use super::status::{SharedLosses, Status};
use super::summary::View;

pub use connections::serve;

/// What the routes read.
#[derive(Clone, Debug)]
pub struct Exporter {
    registry: Registry,
    gate: Arc<Mutex<()>>,
    view: View,
    status: Arc<Status>,
    live: Live,
    losses: SharedLosses,
    /// Limits how many clients follow the live page.
    followers: Arc<Semaphore>,
    metrics_path: Option<String>,
}

impl Exporter {
    /// Serves `metrics`, which stay with their owner, `status` and `live`.
    #[must_use]
    pub fn new(metrics: &Metrics, status: Arc<Status>, live: Live) -> Self {
        let (registry, gate, view) = (metrics.registry(), metrics.gate(), metrics.view());
        let losses = metrics.losses();
        let followers = Arc::new(Semaphore::new(api::FOLLOWERS_MAX));
        Self { registry, gate, view, status, live, losses, followers, metrics_path: None }
    }

    /// Serves the metrics under `path`, too, which [`is_taken`] does not know.
    #[must_use]
    pub fn with_metrics_path(self, path: Option<String>) -> Self {
        Self { metrics_path: path.filter(|path| path != METRICS_PATH), ..self }
    }

    /// Gathers one scrape. It contains each batch of observations whole or not at all.
    fn gather(&self) -> Vec<MetricFamily> {
        let _whole = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        self.registry.gather()
    }
}

/// Where metrics always are.
pub const METRICS_PATH: &str = "/metrics";

/// Whether something else than the metrics is served under `path`.
#[must_use]
pub fn is_taken(path: &str) -> bool {
    page::is_part(path) || path.starts_with("/-/") || path.starts_with("/api/")
}

/// Every route. `GET` routes answer `HEAD` too.
pub fn router(exporter: Exporter) -> Router {
    let router = match &exporter.metrics_path {
        Some(path) => Router::new().route(path, get(metrics)),
        None => Router::new(),
    };
    router
        .merge(page::routes())
        .route(METRICS_PATH, get(metrics))
        .route("/-/healthy", get(async || "wstap is healthy.\n"))
        .route("/-/ready", get(ready))
        .route("/api/v1/status", get(api::status))
        .route("/api/v1/turnaround", get(api::turnaround))
        .route("/api/v1/live", get(api::follow))
        .route("/api/v1/window", get(api::window))
        .route("/api/v1/connection", get(api::connection))
        .with_state(exporter)
}

/// 200 once probes are attached and events are read, 503 before.
async fn ready(State(exporter): State<Exporter>) -> Response {
    if exporter.status.is_ready() {
        "wstap is ready.\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "No target is attached yet.\n").into_response()
    }
}

async fn metrics(State(exporter): State<Exporter>, headers: HeaderMap) -> Response {
    let format = Format::negotiate(list(&headers, header::ACCEPT).as_deref());
    let encoding = Encoding::negotiate(list(&headers, header::ACCEPT_ENCODING).as_deref());
    match exposition(&exporter.gather(), format, encoding) {
        Ok(response) => response,
        // Prometheus shows the text beside the target.
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}\n")).into_response(),
    }
}

fn exposition(
    families: &[MetricFamily],
    format: Format,
    encoding: Encoding,
) -> anyhow::Result<Response> {
    let body = format.encode(families)?;
    let mut response = match encoding {
        Encoding::Identity => body.into_response(),
        Encoding::Gzip => {
            // Level 1: this machine's CPU time matters more than the scraper's network.
            let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
            gzip.write_all(&body)?;
            let coding = [(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"))];
            (coding, gzip.finish()?).into_response()
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    headers.insert(header::VARY, HeaderValue::from_static("accept, accept-encoding"));
    Ok(response)
}

/// All values of a list header as one list; values that are not text are left out.
fn list(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let values: Vec<_> =
        headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    (!values.is_empty()).then(|| values.join(","))
}

#[cfg(test)]
mod live_tests;

#[cfg(test)]
mod tests;
