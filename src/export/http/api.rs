//! The JSON behind the page. Keys are only ever added within version 1.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::Exporter;
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
