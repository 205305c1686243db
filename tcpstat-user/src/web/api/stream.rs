//! `/api/v1/stream`: server-sent events, each second a sample and the status.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Extension,
    extract::State,
    http::{Method, StatusCode},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::{StreamExt, stream};
use serde::Serialize;

use super::{Asked, NO_STORE, Nothing, Numbers, Refused, Status};
use crate::{
    clock,
    history::Sample,
    web::{
        Exporter,
        server::{Connection, NoStream},
    },
};

/// Ends when the recorder does. A reader who is late misses samples: none is kept for him.
pub(super) async fn stream(
    State(exporter): State<Arc<Exporter>>,
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
    let samples = stream::unfold(newest, |mut newest| async move {
        newest.changed().await.ok()?;
        let sample = newest.borrow_and_update().clone();
        Some((sample, newest))
    });
    let events = samples.flat_map(move |sample| {
        let sample = sample.map(|sample| events(&exporter, &sample));
        stream::iter(sample.into_iter().flatten().map(Ok::<_, Infallible>))
    });
    Ok((NO_STORE, Sse::new(events).keep_alive(KeepAlive::default())).into_response())
}

impl From<NoStream> for Refused {
    fn from(none: NoStream) -> Self {
        let line = match none {
            NoStream::All(most) => {
                format!(
                    "{most} streams are open, which is the most: close one, or ask for the history\n"
                )
            }
            NoStream::OfClient(most) => format!(
                "{most} streams to this address are open, which is the most for one: close one, or ask for \
                 the history\n"
            ),
        };
        Self(StatusCode::SERVICE_UNAVAILABLE, line)
    }
}

fn events(exporter: &Exporter, sample: &Sample) -> impl Iterator<Item = Event> + use<> {
    let status = Status::of(&exporter.published.borrow(), exporter.started, clock::now());
    [event("sample", &Numbers::of(sample)), event("status", &status)].into_iter().flatten()
}

/// `None` only for data that JSON cannot tell, of which there is none here.
fn event(name: &str, data: &impl Serialize) -> Option<Event> {
    Event::default().event(name).json_data(data).ok()
}
