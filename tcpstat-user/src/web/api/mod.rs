//! `/api/v1`: the numbers and how far they are to be trusted, as JSON. docs/api.md says what it promises.

mod numbers;
mod status;
mod stream;

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Deserialize;
use tokio::task::spawn_blocking;

use numbers::{Columns, Numbers};
use status::Status;
pub use stream::Newest;

use super::{
    AppState,
    coding::{Coded, Coding},
    server::Connection,
};
use crate::clock;

/// Routes below `/api`.
pub(super) fn router() -> Router<Arc<AppState>> {
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

async fn document(headers: HeaderMap) -> Response {
    let plain = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    let text = include_str!("../../../docs/api.md");
    (plain, Coded::new(text, Coding::accepted(&headers))).into_response()
}

async fn status(
    State(exporter): State<Arc<AppState>>,
    asked: Asked<Nothing>,
) -> Result<Response, Refused> {
    asked?;
    let status = Status::of(&exporter.published.borrow(), exporter.started, clock::now());
    Ok((NO_STORE, Json(status)).into_response())
}

async fn history(
    State(exporter): State<Arc<AppState>>,
    Extension(connection): Extension<Arc<Connection>>,
    headers: HeaderMap,
    asked: Asked<Part>,
) -> Result<Response, Refused> {
    let Query(Part { since }) = asked?;
    let coding = Coding::accepted(&headers);
    let failed = |line| Refused(StatusCode::INTERNAL_SERVER_ERROR, line);
    connection.become_large().await.ok_or_else(|| {
        let line = "too many requests for the history: try again later\n";
        Refused(StatusCode::SERVICE_UNAVAILABLE, line.to_owned())
    })?;
    // Ten minutes take some milliseconds to write, in which scrapes are not to wait.
    let recording = exporter.recording.clone();
    let written = spawn_blocking(move || {
        let columns = Columns::of(&recording.history(), since);
        serde_json::to_vec(&columns).map(|text| Coded::new(text, coding))
    });
    let written =
        written.await.map_err(|error| failed(format!("writing the history: {error}\n")))?;
    let body = written.map_err(|error| failed(format!("writing the history: {error}\n")))?;
    Ok((NO_STORE, [(header::CONTENT_TYPE, "application/json")], body).into_response())
}
