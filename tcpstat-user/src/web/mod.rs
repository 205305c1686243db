//! What is served over HTTP: the metrics, health, the API, and a page for people.

mod accept;
mod api;
mod assets;
mod listen;
mod page;
mod recorder;
mod telemetry_path;

use std::{ffi::OsStr, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use nix::sys::utsname::uname;
use tokio::sync::watch;

pub use api::StreamPlaces;
pub use listen::{ListenAddress, ListenError, bind};
use page::Page;
pub use recorder::{Recorder, Recording};
pub use telemetry_path::{TelemetryPath, TelemetryPathError};

use crate::{
    history::Moment,
    procfs::Procfs,
    tracker::{Nudge, Published},
};

/// What the handlers need.
#[derive(Clone, Debug)]
pub struct Exporter {
    /// What the tracker tells.
    pub published: watch::Receiver<Published>,
    /// Who is told of a tripped wire.
    pub nudge: Nudge,
    /// Where sockstat is.
    pub procfs: Procfs,
    /// Whether `node_tcp_connection_states` is served too.
    pub node_exporter: bool,
    /// Path of the metrics, which no path of [`is_taken`] is.
    pub telemetry_path: String,
    /// What is recorded of them.
    pub recording: Recording,
    /// The places of the streams, which all listeners share.
    pub streams: StreamPlaces,
    /// When this run began.
    pub started: Moment,
}

/// Whether something else than the metrics is served at `path`.
#[must_use]
pub fn is_taken(path: &str) -> bool {
    let below = |folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
    ["/", "/-/healthy", "/-/ready", "/api"].contains(&path) || below("/api") || below("/assets")
}

/// All routes. Anything else is 404, and any method but GET and HEAD is 405.
pub fn router(exporter: Exporter) -> Router {
    let page = Arc::new(Page::new(&exporter.telemetry_path, &host()));
    Router::new()
        // A path of the metrics may have a segment that begins with : or *, as it is.
        .without_v07_checks()
        .route("/", get(async move |asked: HeaderMap| page.answer(&asked)))
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

async fn metrics(State(exporter): State<Arc<Exporter>>, headers: HeaderMap) -> Response {
    // The tracker waits while this is borrowed: some microseconds.
    let (values, suspicious) =
        exporter.published.borrow().scrape(&exporter.procfs, exporter.node_exporter);
    if suspicious {
        exporter.nudge.look();
    }
    let format = accept::format(headers.get_all(header::ACCEPT));
    ([(header::CONTENT_TYPE, format.content_type())], values.encode(format)).into_response()
}

/// Ready means seeded: the first numbers are right.
async fn ready(State(exporter): State<Arc<Exporter>>) -> Response {
    if exporter.published.borrow().ready() {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "taking the first snapshot\n").into_response()
    }
}
