//! `/api/v1`: the numbers and how far they are to be trusted, as JSON. docs/api.md says what it promises.

mod numbers;
mod status;
mod stream;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Query, State, rejection::QueryRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Deserialize;

use numbers::{Columns, Numbers};
use status::Status;

use super::Exporter;
use crate::clock;

/// Routes below `/api`.
pub(super) fn router() -> Router<Arc<Exporter>> {
    Router::new()
        .route("/api", get(document))
        .route("/api/v1/status", get(status))
        .route("/api/v1/history", get(history))
        .route("/api/v1/stream", get(stream::stream))
}

/// What is asked of a route that can be asked nothing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// What can be asked of the history.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    /// Milliseconds of the host's uptime: the wall clock may step, and samples be told twice.
    since: Option<u64>,
}

/// A query, or why it is none.
type Asked<T> = Result<Query<T>, QueryRejection>;

/// Why something is refused: a status, and a line that says what and where.
struct Refused(StatusCode, String);

impl From<QueryRejection> for Refused {
    fn from(rejection: QueryRejection) -> Self {
        Self(StatusCode::BAD_REQUEST, format!("{}; see /api\n", rejection.body_text()))
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self(status, line) = self;
        (status, line).into_response()
    }
}

/// Nothing that the API tells is to be kept.
const NO_STORE: [(header::HeaderName, &str); 1] = [(header::CACHE_CONTROL, "no-store")];

async fn document() -> Response {
    let plain = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    (plain, include_str!("../../../docs/api.md")).into_response()
}

async fn status(
    State(exporter): State<Arc<Exporter>>,
    asked: Asked<Nothing>,
) -> Result<Response, Refused> {
    asked?;
    let status = Status::of(&exporter.published.borrow(), exporter.started, clock::now());
    Ok((NO_STORE, Json(status)).into_response())
}

async fn history(
    State(exporter): State<Arc<Exporter>>,
    asked: Asked<Part>,
) -> Result<Response, Refused> {
    let Query(Part { since }) = asked?;
    let columns = Columns::of(&exporter.recording.history(), since);
    Ok((NO_STORE, Json(columns)).into_response())
}
