//! `/api/v1`: the numbers, and whether they can be trusted, as JSON. docs/api.md describes it.

mod parameters;
mod status;
mod stream;

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::get,
};
use parameters::{HistoryParameters, NoParameters, ParametersError, ScopesParameters, parameters};
use serde::Serialize;
use tokio::task::spawn_blocking;

#[cfg(feature = "fuzzing")]
pub(crate) use parameters::fuzz_query;
pub(crate) use stream::NewestEvents;

use super::{
    AppState,
    coding::{Coded, Coding},
    server::Connection,
};
use crate::{
    api::{
        HISTORY_PATH, HistoryJson, SCOPES_PATH, STATUS_PATH, STREAM_PATH, ScopesJson, StatusJson,
    },
    clock,
};

pub(super) fn router() -> Router<Arc<AppState>> {
    Router::new()
        .route("/api", get(document))
        .route(STATUS_PATH, get(status))
        .route(HISTORY_PATH, get(history))
        .route(SCOPES_PATH, get(scopes))
        .route(STREAM_PATH, get(stream::stream))
}

/// The status and the one line of an answer to a request that cannot be served.
struct Refused(StatusCode, String);

impl From<ParametersError> for Refused {
    fn from(error: ParametersError) -> Self {
        Self(StatusCode::BAD_REQUEST, format!("{error}; see /api\n"))
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

async fn status(State(app): State<Arc<AppState>>, uri: Uri) -> Result<Response, Refused> {
    let NoParameters {} = parameters(&uri)?;
    let status = StatusJson::of(&app.published.borrow(), app.started, clock::now());
    Ok((NO_STORE, Json(status)).into_response())
}

async fn history(
    State(app): State<Arc<AppState>>,
    Extension(connection): Extension<Arc<Connection>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Refused> {
    let HistoryParameters { since } = parameters(&uri)?;
    let recording = app.recording.clone();
    let json = move || HistoryJson::since(&recording.history(), since);
    large_answer("the history", &connection, &headers, json).await
}

async fn scopes(
    State(app): State<Arc<AppState>>,
    Extension(connection): Extension<Arc<Connection>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Refused> {
    let ScopesParameters { history } = parameters(&uri)?;
    let kinds = app.scrapes.scopes(connection.is_alone()).await.ok_or_else(|| {
        let line = "the scopes cannot be read at the moment: the log gives the reason\n";
        Refused(StatusCode::SERVICE_UNAVAILABLE, line.to_owned())
    })?;
    let recording = app.recording.clone();
    let json = move || {
        let samples = history.then(|| recording.scopes());
        ScopesJson::new(&kinds, clock::now(), samples.as_deref())
    };
    // As short to encode as the metrics.
    encoded("the scopes", &headers, json).await
}

/// An answer that takes some milliseconds to encode, which must not delay scrapes. `what` names it.
async fn large_answer<T: Serialize>(
    what: &'static str,
    connection: &Connection,
    headers: &HeaderMap,
    json: impl FnOnce() -> T + Send + 'static,
) -> Result<Response, Refused> {
    connection.become_large().await.ok_or_else(|| {
        let line = format!("too many requests for {what}: try again later\n");
        Refused(StatusCode::SERVICE_UNAVAILABLE, line)
    })?;
    encoded(what, headers, json).await
}

/// An answer that is encoded where it delays no other.
async fn encoded<T: Serialize>(
    what: &'static str,
    headers: &HeaderMap,
    json: impl FnOnce() -> T + Send + 'static,
) -> Result<Response, Refused> {
    let coding = Coding::accepted(headers);
    let written =
        spawn_blocking(move || serde_json::to_vec(&json()).map(|text| Coded::new(text, coding)));
    let failed = |error: &dyn std::fmt::Display| {
        Refused(StatusCode::INTERNAL_SERVER_ERROR, format!("writing {what}: {error}\n"))
    };
    let written = written.await.map_err(|error| failed(&error))?;
    let body = written.map_err(|error| failed(&error))?;
    Ok((NO_STORE, [(header::CONTENT_TYPE, "application/json")], body).into_response())
}
