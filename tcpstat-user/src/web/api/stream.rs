//! `/api/v1/stream`: server-sent events, each second a sample and the status.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Extension,
    body::{Body, Bytes},
    extract::State,
    http::{Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use tokio::time::timeout;

use super::{NO_STORE, NoParameters, Refused, parameters};
use crate::{
    api::{KEEP_ALIVE, SAMPLE_EVENT, STATUS_EVENT, SampleJson, StatusJson, write_event},
    clock,
    history::Sample,
    web::{
        AppState,
        server::{Connection, StreamLimit},
    },
};

/// Time without an event after which a comment shows the reader that the stream is alive.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// The events of the newest sample, encoded once for all streams; with the sample's uptime.
#[derive(Debug, Default)]
pub(crate) struct NewestEvents(Mutex<Option<(u64, Bytes)>>);

/// Ends when the recorder does. A slow reader misses samples.
pub(super) async fn stream(
    State(app): State<Arc<AppState>>,
    Extension(connection): Extension<Arc<Connection>>,
    method: Method,
    uri: Uri,
) -> Result<Response, Refused> {
    let NoParameters {} = parameters(&uri)?;
    if method != Method::HEAD {
        connection.become_stream()?;
    }
    let mut newest = app.recording.newest();
    // The first event is the sample that is already there.
    newest.mark_changed();
    let events = stream::unfold((newest, app), |(mut newest, app)| async move {
        let text = match timeout(KEEP_ALIVE_INTERVAL, newest.changed()).await {
            Err(_) => Bytes::from_static(KEEP_ALIVE),
            Ok(Err(_)) => return None,
            Ok(Ok(())) => match &*newest.borrow_and_update() {
                Some(sample) => app.events.of(&app, sample),
                None => Bytes::new(),
            },
        };
        Some((Ok::<_, Infallible>(text), (newest, app)))
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream")];
    Ok((NO_STORE, headers, Body::from_stream(events)).into_response())
}

impl NewestEvents {
    /// The events of `sample`: the sample, and the status at the time the first stream asked for them.
    fn of(&self, app: &AppState, sample: &Sample) -> Bytes {
        // After a panic the previous events are still there.
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*newest {
            Some((uptime_ms, text)) if *uptime_ms == sample.at.uptime_ms => text.clone(),
            _ => {
                let text = events(app, sample);
                *newest = Some((sample.at.uptime_ms, text.clone()));
                text
            }
        }
    }
}

impl From<StreamLimit> for Refused {
    fn from(limit: StreamLimit) -> Self {
        let line = match limit {
            StreamLimit::Total(most) => {
                format!(
                    "{most} streams are open, which is the maximum: close one, such as an open page, or \
                     request the history\n"
                )
            }
            StreamLimit::OfClient(most) => format!(
                "{most} streams to this address are open, which is the maximum for one (all readers behind a \
                 proxy count as one): close one, such as an open page, or request the history\n"
            ),
        };
        Self(StatusCode::SERVICE_UNAVAILABLE, line)
    }
}

fn events(app: &AppState, sample: &Sample) -> Bytes {
    let status = StatusJson::of(&app.published.borrow(), app.started, clock::now());
    let mut text = Vec::new();
    write_event(&mut text, SAMPLE_EVENT, &SampleJson::from(sample));
    write_event(&mut text, STATUS_EVENT, &status);
    text.into()
}
