//! `/api/v1/stream`: server-sent events, each second a sample and the status.

use std::{convert::Infallible, sync::Arc};

use axum::{
    extract::State,
    http::StatusCode,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::{StreamExt, stream};
use serde::Serialize;
use tokio::sync::Semaphore;

use super::{Asked, NO_STORE, Nothing, Numbers, Refused, Status};
use crate::{clock, history::Sample, web::Exporter};

/// Streams at one time; more are refused.
const STREAMS: usize = 64;

/// The places that streams take while they are open.
#[derive(Clone, Debug)]
pub struct StreamPlaces(Arc<Semaphore>);

impl Default for StreamPlaces {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(STREAMS)))
    }
}

/// Ends when the recorder does. A reader who is late misses samples: none is kept for him.
pub(super) async fn stream(
    State(exporter): State<Arc<Exporter>>,
    asked: Asked<Nothing>,
) -> Result<Response, Refused> {
    asked?;
    let Ok(place) = exporter.streams.0.clone().try_acquire_owned() else {
        let line = format!("{STREAMS} streams are open, which is the most: close one\n");
        return Err(Refused(StatusCode::SERVICE_UNAVAILABLE, line));
    };
    let mut newest = exporter.recording.newest();
    // What is there already is the first to be told.
    newest.mark_changed();
    let samples = stream::unfold((newest, place), |(mut newest, place)| async move {
        newest.changed().await.ok()?;
        let sample = newest.borrow_and_update().clone();
        Some((sample, (newest, place)))
    });
    let events = samples.flat_map(move |sample| {
        let sample = sample.map(|sample| events(&exporter, &sample));
        stream::iter(sample.into_iter().flatten().map(Ok::<_, Infallible>))
    });
    Ok((NO_STORE, Sse::new(events).keep_alive(KeepAlive::default())).into_response())
}

fn events(exporter: &Exporter, sample: &Sample) -> impl Iterator<Item = Event> + use<> {
    let status = Status::of(&exporter.published.borrow(), exporter.started, clock::now());
    [event("sample", &Numbers::of(sample)), event("status", &status)].into_iter().flatten()
}

/// `None` only for data that JSON cannot tell, of which there is none here.
fn event(name: &str, data: &impl Serialize) -> Option<Event> {
    Event::default().event(name).json_data(data).ok()
}
