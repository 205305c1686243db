//! What is served over HTTP: the metrics, health, the API, and a page for people.

mod accept;
mod api;
mod assets;
mod coding;
mod listen;
mod page;
mod recorder;
mod scrapes;
mod server;
mod taken;
mod telemetry_path;

use std::{ffi::OsStr, sync::Arc};

use axum::{
    Extension, Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use nix::sys::utsname::uname;
use tokio::sync::watch;

pub use api::Newest as NewestEvents;

use coding::Coding;
pub use listen::{ListenAddress, ListenError, bind};
use page::Page;
pub use recorder::{Recorder, Recording};
pub use scrapes::{ScrapeSource, Scrapes};
use server::Connection;
pub use server::{DescriptorError, Server, raise_descriptor_limit};
pub use telemetry_path::{TelemetryPath, TelemetryPathError};

use crate::{history::Moment, tracker::Published};

/// What the handlers need.
#[derive(Clone, Debug)]
pub struct AppState {
    /// What the tracker tells.
    pub published: watch::Receiver<Arc<Published>>,
    /// Who tells the metrics.
    pub scrapes: Scrapes,
    /// Path of the metrics, which no path of [`is_taken`] is.
    pub telemetry_path: String,
    /// What is recorded of them.
    pub recording: Recording,
    /// When this run began.
    pub started: Moment,
    /// What the streams tell at present.
    pub events: Arc<NewestEvents>,
}

/// Whether something else than the metrics is served at `path`.
#[must_use]
pub fn is_taken(path: &str) -> bool {
    let below = |folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
    ["/", "/-/healthy", "/-/ready", "/api", "/runbook"].contains(&path)
        || below("/api")
        || below("/assets")
}

/// All routes. Anything else is 404, and any method but GET and HEAD is 405.
pub fn router(exporter: AppState) -> Router {
    let host = host();
    let page = Arc::new(Page::numbers(&exporter.telemetry_path, &host));
    let runbook = Arc::new(Page::runbook(&host));
    Router::new()
        // A path of the metrics may have a segment that begins with : or *, as it is.
        .without_v07_checks()
        .route("/", get(async move |asked: HeaderMap| page.answer(&asked)))
        .route("/runbook", get(async move |asked: HeaderMap| runbook.answer(&asked)))
        .route("/assets/{version}/{name}", get(assets::asset))
        .route("/-/healthy", get(|| async { "healthy\n" }))
        .route("/-/ready", get(ready))
        .route(&exporter.telemetry_path, get(metrics))
        .merge(api::router())
        .fallback(|| async { (StatusCode::NOT_FOUND, "not found\n") })
        .with_state(Arc::new(exporter))
}

/// What the page calls the host that it is of.
fn host() -> String {
    uname().map_or_else(
        |_| String::new(),
        |uname| {
            let [name, release] = [uname.nodename(), uname.release()].map(OsStr::to_string_lossy);
            format!("on {name}, Linux {release}")
        },
    )
}

async fn metrics(
    State(exporter): State<Arc<AppState>>,
    Extension(connection): Extension<Arc<Connection>>,
    headers: HeaderMap,
) -> Response {
    let format = accept::format(headers.get_all(header::ACCEPT));
    let coding = Coding::accepted(&headers);
    let told = exporter.scrapes.exposition(format, coding, connection.is_alone()).await;
    let Some(body) = told else {
        let line = "the numbers cannot be read at the moment: the log gives the reason\n";
        return (StatusCode::SERVICE_UNAVAILABLE, line).into_response();
    };
    let headers =
        [(header::CONTENT_TYPE, format.content_type()), (header::VARY, "accept, accept-encoding")];
    (headers, body).into_response()
}

/// Ready means seeded: the first numbers are right.
async fn ready(State(exporter): State<Arc<AppState>>) -> Response {
    if exporter.published.borrow().ready() {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "taking the first snapshot\n").into_response()
    }
}
