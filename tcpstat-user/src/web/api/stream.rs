//! `/api/v1/stream`: server-sent events, each second a sample and the status.

use std::{
    convert::Infallible,
    io::Write as _,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Extension,
    body::{Body, Bytes},
    extract::State,
    http::{Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use serde::Serialize;
use tokio::time::timeout;

use super::{Asked, NO_STORE, Nothing, Numbers, Refused, Status};
use crate::{
    clock,
    history::Sample,
    web::{
        AppState,
        server::{Connection, NoStream},
    },
};

/// From one event to a comment that tells the reader that the stream lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The newest events as they are written, made once for all streams.
#[derive(Debug, Default)]
pub struct Newest(Mutex<Option<(u64, Bytes)>>);

/// Ends when the recorder does. A reader who is late misses samples: none is kept for him.
pub(super) async fn stream(
    State(exporter): State<Arc<AppState>>,
    Extension(connection): Extension<Arc<Connection>>,
    method: Method,
    asked: Asked<Nothing>,
) -> Result<Response, Refused> {
    asked?;
    if method != Method::HEAD {
        connection.become_stream()?;
    }
    let mut newest = exporter.recording.newest();
    // What is there already is the first to be told.
    newest.mark_changed();
    let events = stream::unfold((newest, exporter), |(mut newest, exporter)| async move {
        let text = match timeout(KEEP_ALIVE, newest.changed()).await {
            Err(_) => Bytes::from_static(b":\n\n"),
            Ok(Err(_)) => return None,
            Ok(Ok(())) => match &*newest.borrow_and_update() {
                Some(sample) => exporter.events.of(&exporter, sample),
                None => Bytes::new(),
            },
        };
        Some((Ok::<_, Infallible>(text), (newest, exporter)))
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream")];
    Ok((NO_STORE, headers, Body::from_stream(events)).into_response())
}

impl Newest {
    /// The events of `sample`: itself, and the status when the first stream asked for them.
    fn of(&self, exporter: &AppState, sample: &Sample) -> Bytes {
        // A panic leaves what was there before.
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*newest {
            Some((uptime_ms, text)) if *uptime_ms == sample.at.uptime_ms => text.clone(),
            _ => {
                let text = events(exporter, sample);
                *newest = Some((sample.at.uptime_ms, text.clone()));
                text
            }
        }
    }
}

impl From<NoStream> for Refused {
    fn from(none: NoStream) -> Self {
        let line = match none {
            NoStream::All(most) => {
                format!(
                    "{most} streams are open, which is the maximum: close one, or request the history\n"
                )
            }
            NoStream::OfClient(most) => format!(
                "{most} streams to this address are open, which is the maximum for one: close one, or \
                 request the history\n"
            ),
        };
        Self(StatusCode::SERVICE_UNAVAILABLE, line)
    }
}

fn events(exporter: &AppState, sample: &Sample) -> Bytes {
    let status = Status::of(&exporter.published.borrow(), exporter.started, clock::now());
    let mut text = Vec::new();
    event(&mut text, "sample", &Numbers::of(sample));
    event(&mut text, "status", &status);
    text.into()
}

/// Writing to a Vec cannot fail, and JSON can tell all that is told here.
fn event(text: &mut Vec<u8>, name: &str, data: &impl Serialize) {
    let _ = write!(text, "event: {name}\ndata: ");
    let _ = serde_json::to_writer(&mut *text, data);
    text.extend(b"\n\n");
}
