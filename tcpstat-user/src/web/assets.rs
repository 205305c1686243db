//! The files of the page, embedded in the binary.
//!
//! Their path changes whenever one of them changes, so that clients can cache them forever.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{LazyLock, OnceLock},
};

use axum::{
    extract::Path,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::coding::{Coded, Coding};

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

struct Asset {
    /// The name in the page's links.
    name: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
    /// Compressed at the first request.
    compressed: OnceLock<Coded>,
}

macro_rules! asset {
    ($name:literal, $path:literal, $content_type:expr) => {
        Asset {
            name: $name,
            content_type: $content_type,
            bytes: include_bytes!(concat!("../../assets/", $path)),
            compressed: OnceLock::new(),
        }
    };
}

static ASSETS: [Asset; 15] = [
    asset!("page.css", "page/page.css", STYLE),
    asset!("main.js", "page/main.js", SCRIPT),
    asset!("connection.js", "page/connection.js", SCRIPT),
    asset!("series.js", "page/series.js", SCRIPT),
    asset!("palette.js", "page/palette.js", SCRIPT),
    asset!("plot.js", "page/plot.js", SCRIPT),
    asset!("tables.js", "page/tables.js", SCRIPT),
    asset!("health.js", "page/health.js", SCRIPT),
    asset!("details.js", "page/details.js", SCRIPT),
    asset!("text-rows.js", "page/text-rows.js", SCRIPT),
    asset!("scopes.js", "page/scopes.js", SCRIPT),
    asset!("scope-table.js", "page/scope-table.js", SCRIPT),
    asset!("icon.svg", "page/icon.svg", "image/svg+xml"),
    asset!("uplot.js", "vendor/uplot/uPlot.iife.min.js", SCRIPT),
    asset!("uplot.css", "vendor/uplot/uPlot.min.css", STYLE),
];

/// The part of the path that changes.
pub(super) static VERSION: LazyLock<String> =
    LazyLock::new(|| fingerprint(ASSETS.iter().map(|asset| asset.bytes)));

/// A hash of `bytes`; it is not cryptographic.
pub(super) fn fingerprint<'a>(bytes: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hasher = DefaultHasher::new();
    bytes.into_iter().for_each(|bytes| bytes.hash(&mut hasher));
    format!("{:016x}", hasher.finish())
}

/// `/assets/{version}/{name}`
pub(super) async fn asset(
    Path((version, name)): Path<(String, String)>,
    request: HeaderMap,
) -> Response {
    let named = |asset: &&Asset| version == *VERSION && asset.name == name;
    let Some(asset) = ASSETS.iter().find(named) else {
        return (StatusCode::NOT_FOUND, "not found\n").into_response();
    };
    let headers = [
        (header::CONTENT_TYPE, asset.content_type),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    let body = match Coding::accepted(&request) {
        Coding::Gzip => {
            asset.compressed.get_or_init(|| Coded::new(asset.bytes, Coding::Gzip)).clone()
        }
        Coding::Identity => Coded::new(asset.bytes, Coding::Identity),
    };
    (headers, body).into_response()
}
