//! The HTTP service: metrics, health, the API, the page, and the runbook.

mod accept;
mod access;
mod api;
mod assets;
mod coding;
mod config;
mod filter;
mod listen;
mod listen_address;
mod listener;
mod page;
mod port_holders;
mod recorder;
mod scrape_requests;
mod scrapes;
mod server;
mod settings;
mod systemd;
mod telemetry_path;
mod tls;
mod unix_socket;

use std::{ffi::OsStr, sync::Arc};

use axum::{
    Extension, Router,
    extract::State,
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::get,
};
use nix::sys::utsname::uname;
use tokio::sync::watch;

pub(crate) use access::{Access, AllowedHosts, HostName};
pub(crate) use api::NewestEvents;
#[cfg(feature = "fuzzing")]
pub(crate) use api::fuzz_query;
use coding::Coding;
#[cfg(feature = "fuzzing")]
pub(crate) use config::fuzz_config;
pub(crate) use listen::bind;
pub(crate) use listen_address::ListenAddress;
pub(crate) use listener::Listener;
use page::Page;
pub(crate) use recorder::{Recorder, Recording};
use scrape_requests::Wanted;
pub(crate) use scrapes::{ScrapeSource, Scrapes};
use server::Connection;
pub(crate) use server::{Server, raise_descriptor_limit};
pub(crate) use settings::ConfigFile;
pub(crate) use systemd::PassedSockets;
pub(crate) use telemetry_path::TelemetryPath;

use crate::{history::Moment, tracker::Published};

/// What the handlers share.
#[derive(Clone, Debug)]
pub(crate) struct AppState {
    /// What the tracker publishes.
    pub(crate) published: watch::Receiver<Arc<Published>>,
    pub(crate) scrapes: Scrapes,
    /// Path of the metrics; not a path that [`is_reserved`].
    pub(crate) telemetry_path: String,
    pub(crate) recording: Recording,
    /// When this run began.
    pub(crate) started: Moment,
    pub(crate) events: Arc<NewestEvents>,
    /// Whether the page and the API are served.
    pub(crate) page: bool,
}

const HEALTHY_PATH: &str = "/-/healthy";
const READY_PATH: &str = "/-/ready";

/// The answer to any other method.
const NOT_ALLOWED: &str = "method not allowed; tcpstat answers GET and HEAD\n";

/// Whether something other than the metrics is served at `path`.
fn is_reserved(path: &str) -> bool {
    let below = |folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
    ["/", HEALTHY_PATH, READY_PATH, "/api", "/runbook"].contains(&path)
        || below("/api")
        || below("/assets")
}

/// All routes. Any other path gets 404, and any method but GET and HEAD gets 405.
pub(crate) fn router(app: AppState) -> Router {
    let routes = Router::new()
        // A segment of --web.telemetry-path may begin with : or *, and is taken literally.
        .without_v07_checks()
        .route(HEALTHY_PATH, get(|| async { "healthy\n" }))
        .route(READY_PATH, get(ready))
        .route(&app.telemetry_path, get(metrics));
    let routes = if app.page { routes.merge(page_and_api(&app.telemetry_path)) } else { routes };
    let not_found = not_found(&app);
    routes
        .fallback(|| async { (StatusCode::NOT_FOUND, not_found) })
        .method_not_allowed_fallback(|| async { (StatusCode::METHOD_NOT_ALLOWED, NOT_ALLOWED) })
        .with_state(Arc::new(app))
}

/// The answer to a path that does not exist: where the others are.
fn not_found(app: &AppState) -> String {
    let page =
        if app.page { "; the page is at /, the runbook at /runbook, the API at /api" } else { "" };
    format!("not found; the metrics are at {}{page}\n", app.telemetry_path)
}

/// What people and their browsers use.
fn page_and_api(telemetry_path: &str) -> Router<Arc<AppState>> {
    let host = host();
    let page = Arc::new(Page::numbers(telemetry_path, &host));
    let runbook = Arc::new(Page::runbook(&host));
    Router::new()
        .without_v07_checks()
        .route("/", get(async move |headers: HeaderMap| page.respond(&headers)))
        .route("/runbook", get(async move |headers: HeaderMap| runbook.respond(&headers)))
        .route("/assets/{version}/{name}", get(assets::asset))
        .merge(api::router())
}

/// The paths that scrapers and orchestrators request, which are served under every host name.
pub(crate) fn paths_of_machines(telemetry_path: &TelemetryPath) -> Vec<String> {
    vec![telemetry_path.to_string(), HEALTHY_PATH.to_owned(), READY_PATH.to_owned()]
}

/// The host as the page names it.
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
    State(app): State<Arc<AppState>>,
    Extension(connection): Extension<Arc<Connection>>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let groups = match filter::groups(&uri) {
        Ok(groups) => groups,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    };
    let format = accept::format(headers.get_all(header::ACCEPT));
    let coding = Coding::accepted(&headers);
    let wanted = Wanted { format, groups, coding };
    let exposition = app.scrapes.exposition(wanted, connection.is_alone()).await;
    let Some(body) = exposition else {
        let line = "the numbers cannot be read at the moment: the log gives the reason\n";
        return (StatusCode::SERVICE_UNAVAILABLE, line).into_response();
    };
    let headers =
        [(header::CONTENT_TYPE, format.content_type()), (header::VARY, "accept, accept-encoding")];
    (headers, body).into_response()
}

/// Ready means that the first snapshot is complete.
async fn ready(State(app): State<Arc<AppState>>) -> Response {
    if app.published.borrow().ready() {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "taking the first snapshot\n").into_response()
    }
}
