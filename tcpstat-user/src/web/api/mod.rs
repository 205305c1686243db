//! `/api/v1`: the numbers, and whether they can be trusted, as JSON. docs/api.md describes it.

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

pub(crate) use stream::NewestEvents;

use super::{
    AppState,
    coding::{Coded, Coding},
    server::Connection,
};
use crate::{
    api::{HISTORY_PATH, HistoryJson, STATUS_PATH, STREAM_PATH, StatusJson},
    clock,
};

pub(super) fn router() -> Router<Arc<AppState>> {
    Router::new()
        .route("/api", get(document))
        .route(STATUS_PATH, get(status))
        .route(HISTORY_PATH, get(history))
        .route(STREAM_PATH, get(stream::stream))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NoParameters {}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HistoryParameters {
    /// Milliseconds of the host's uptime: by the wall clock, which may step, samples could come twice.
    since: Option<u64>,
}

type ParsedQuery<T> = Result<Query<T>, QueryRejection>;

/// The status and the one line of an answer to a request that cannot be served.
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

/// Caches must not keep an answer of the API.
const NO_STORE: [(header::HeaderName, &str); 1] = [(header::CACHE_CONTROL, "no-store")];

async fn document(headers: HeaderMap) -> Response {
    let plain = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    let text = include_str!("../../../docs/api.md");
    (plain, Coded::new(text, Coding::accepted(&headers))).into_response()
}

async fn status(
    State(app): State<Arc<AppState>>,
    query: ParsedQuery<NoParameters>,
) -> Result<Response, Refused> {
    query?;
    let status = StatusJson::of(&app.published.borrow(), app.started, clock::now());
    Ok((NO_STORE, Json(status)).into_response())
}

async fn history(
    State(app): State<Arc<AppState>>,
    Extension(connection): Extension<Arc<Connection>>,
    headers: HeaderMap,
    query: ParsedQuery<HistoryParameters>,
) -> Result<Response, Refused> {
    let Query(HistoryParameters { since }) = query?;
    let coding = Coding::accepted(&headers);
    let failed = |line| Refused(StatusCode::INTERNAL_SERVER_ERROR, line);
    connection.become_large().await.ok_or_else(|| {
        let line = "too many requests for the history: try again later\n";
        Refused(StatusCode::SERVICE_UNAVAILABLE, line.to_owned())
    })?;
    // Encoding takes some milliseconds, which must not delay scrapes.
    let recording = app.recording.clone();
    let written = spawn_blocking(move || {
        let json = HistoryJson::since(&recording.history(), since);
        serde_json::to_vec(&json).map(|text| Coded::new(text, coding))
    });
    let written =
        written.await.map_err(|error| failed(format!("writing the history: {error}\n")))?;
    let body = written.map_err(|error| failed(format!("writing the history: {error}\n")))?;
    Ok((NO_STORE, [(header::CONTENT_TYPE, "application/json")], body).into_response())
}
