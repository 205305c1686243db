//! A running exporter, read over HTTP: its history, then its event stream.

use std::{
    io::{self, BufReader, Read},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use serde::de::DeserializeOwned;
use thiserror::Error;
use ureq::{
    Body,
    http::{Response, header},
};

use super::{
    connection::{Connection, ConnectionError, Prepared, with_remedy},
    details::Details,
    numbers::{Status, TracerStatus, Update},
    remote_scopes::RemoteScopes,
    scopes::ScopesAnswer,
};
use crate::{
    api::{
        EventReader, HISTORY_PATH, HistoryJson, SAMPLE_EVENT, STATUS_EVENT, STATUS_PATH,
        STREAM_PATH, SampleJson, StatusJson,
    },
    history::{CAPACITY, Sample},
};

/// Timeout of a connection attempt, and of a whole answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Time without an event after which the view shows it. The exporter sends events every second.
const SILENCE: Duration = Duration::from_secs(5);

/// Time without a byte after which the connection is closed.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Minimum time between two events.
const MIN_EVENT_INTERVAL: Duration = Duration::from_millis(10);

/// A history in which all counts have the maximum number of digits has 1.2 MB.
const MAX_ANSWER_BYTES: u64 = 2 << 20;

/// Bytes that are read of an answer with an error status.
const MAX_ERROR_BYTES: u64 = 4 << 10;

/// Time from a failure to the next attempt.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// A running exporter. A thread reads its event stream, and connects again when the connection breaks.
#[derive(Debug)]
pub(crate) struct RemoteExporter {
    received: Arc<Mutex<Received>>,
    scopes: RemoteScopes,
}

#[derive(Debug, Error)]
pub(crate) enum ExporterError {
    #[error(transparent)]
    Files(#[from] ConnectionError),
    #[error("{}", with_remedy(.0))]
    Connection(ureq::Error),
    /// The stream broke, or the thread that reads it could not be started.
    #[error("{0}")]
    Stream(io::Error),
    /// A status other than 200, with the first line of the answer.
    #[error("{path}: {status}{}{}", suffix(.line), remedy(*.status))]
    Refused { path: &'static str, status: u16, line: String },
    #[error("{path}: {cause}: not a tcpstat exporter, or an incompatible version")]
    Unexpected { path: &'static str, cause: serde_json::Error },
    #[error("the exporter has closed the stream")]
    Ended,
}

// Not as sources of the error, because the chain of causes would repeat them.
impl From<ureq::Error> for ExporterError {
    fn from(error: ureq::Error) -> Self {
        Self::Connection(error)
    }
}

impl From<io::Error> for ExporterError {
    fn from(error: io::Error) -> Self {
        Self::Stream(error)
    }
}

/// What the thread has received since the last update.
#[derive(Debug)]
struct Received {
    samples: Vec<Sample>,
    status: Status,
    last_event: Instant,
}

#[derive(Clone)]
pub(super) struct Client {
    /// The address as the user wrote it.
    shown: String,
    prepared: Prepared,
}

impl RemoteExporter {
    /// Connects to an exporter.
    ///
    /// # Errors
    /// If there is no exporter, or a file cannot be used. After this first connection, failures are retried.
    pub(crate) fn connect(connection: &Connection) -> Result<Self, ExporterError> {
        let client = Client {
            shown: connection.address.to_string(),
            prepared: connection.prepare(ANSWER_TIMEOUT)?,
        };
        let status = client.status()?;
        let received = Received { samples: Vec::new(), status, last_event: Instant::now() };
        let received = Arc::new(Mutex::new(received));
        let scopes = RemoteScopes::start(client.clone())?;
        let exporter = Self { received: Arc::clone(&received), scopes };
        // The thread ends with the process.
        thread::Builder::new().name("exporter".into()).spawn(move || {
            loop {
                let Err(error) = client.follow(&received);
                lock(&received).status.problem = Some(format!("no connection: {error}; retrying"));
                thread::sleep(RETRY_INTERVAL);
            }
        })?;
        Ok(exporter)
    }

    /// Takes what the thread has received since the last update.
    pub(super) fn update(&self) -> Update {
        let mut received = lock(&self.received);
        let mut status = received.status.clone();
        let silent = received.last_event.elapsed();
        if status.problem.is_none() && silent > SILENCE {
            status.problem = Some(format!("no data for {} s", silent.as_secs()));
        }
        Update { samples: std::mem::take(&mut received.samples), status }
    }

    /// The newest scopes; `None` before they have arrived, and if they are not `wanted`.
    pub(super) fn scopes(&self, wanted: bool) -> Option<ScopesAnswer> {
        self.scopes.newest(wanted)
    }
}

impl Client {
    fn status(&self) -> Result<Status, ExporterError> {
        Ok(self.status_of(self.get_json(STATUS_PATH, None, MAX_ANSWER_BYTES)?))
    }

    fn status_of(&self, json: StatusJson) -> Status {
        status(json, self.shown.clone())
    }

    /// Reads the history, then the event stream until it breaks.
    fn follow(
        &self,
        received: &Mutex<Received>,
    ) -> Result<std::convert::Infallible, ExporterError> {
        let status = self.status()?;
        let history: HistoryJson = self.get_json(HISTORY_PATH, None, MAX_ANSWER_BYTES)?;
        {
            let mut received = lock(received);
            received.add(history.to_samples());
            received.status = status;
            received.last_event = Instant::now();
        }
        let stream = self.get(STREAM_PATH, None, None)?;
        for event in EventReader::new(BufReader::new(stream.into_body().into_reader())) {
            let event = event?;
            let start = Instant::now();
            let unexpected = |cause| ExporterError::Unexpected { path: STREAM_PATH, cause };
            let mut received = lock(received);
            match event.name.as_str() {
                SAMPLE_EVENT => {
                    let json: SampleJson = serde_json::from_str(&event.data).map_err(unexpected)?;
                    received.add([json.to_sample()]);
                }
                STATUS_EVENT => {
                    let json = serde_json::from_str(&event.data).map_err(unexpected)?;
                    received.status = self.status_of(json);
                }
                _ => {}
            }
            received.last_event = start;
            drop(received);
            // Limits the CPU time that a stream of many events takes.
            thread::sleep(MIN_EVENT_INTERVAL.saturating_sub(start.elapsed()));
        }
        Err(ExporterError::Ended)
    }

    /// An answer of more than `max_bytes` is an error.
    pub(super) fn get_json<T: DeserializeOwned>(
        &self,
        path: &'static str,
        query: Option<&str>,
        max_bytes: u64,
    ) -> Result<T, ExporterError> {
        let mut answer = self.get(path, query, Some(ANSWER_TIMEOUT))?;
        let text = answer.body_mut().with_config().limit(max_bytes).read_to_string()?;
        serde_json::from_str(&text).map_err(|cause| ExporterError::Unexpected { path, cause })
    }

    /// `timeout` is for the whole answer; without it the answer may last, but each read has a timeout.
    fn get(
        &self,
        path: &'static str,
        query: Option<&str>,
        timeout: Option<Duration>,
    ) -> Result<Response<Body>, ExporterError> {
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        let Prepared { agent, url, authorization } = &self.prepared;
        let mut request = agent.get(format!("{url}{path}{query}"));
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request =
            request.config().timeout_global(timeout).timeout_per_read(Some(READ_TIMEOUT)).build();
        let mut response = request.call()?;
        let status = response.status().as_u16();
        if status == 200 {
            return Ok(response);
        }
        let mut body = Vec::new();
        if timeout.is_some() {
            // After an error, the bytes that arrived before it are used.
            let _ = response.body_mut().as_reader().take(MAX_ERROR_BYTES).read_to_end(&mut body);
        }
        let body = String::from_utf8_lossy(&body);
        let line = body.lines().next().unwrap_or_default().to_owned();
        Err(ExporterError::Refused { path, status, line })
    }
}

impl Received {
    /// Keeps at most the samples of one history.
    fn add(&mut self, samples: impl IntoIterator<Item = Sample>) {
        self.samples.extend(samples);
        let over = self.samples.len().saturating_sub(CAPACITY);
        self.samples.drain(..over);
    }
}

/// The status of the exporter at `url`.
fn status(json: StatusJson, url: String) -> Status {
    let (ages, listeners) = (json.close_wait_ages.as_ref(), json.listeners.as_ref());
    let ports = json.ephemeral_ports.as_ref();
    let details = Details::new(json.uptime_ms, json.closed, ages, listeners, ports);
    Status {
        host: json.host.unwrap_or_default(),
        exporter: Some(url),
        tracer: json.tracer.map(|tracer| TracerStatus {
            program: tracer.program.into_owned(),
            hooks: match tracer.hooks.as_slice() {
                [] => "none".to_owned(),
                hooks => hooks.join(","),
            },
            consistent: tracer.consistent,
            agreement_age: tracer.agreed_ms_ago.map(Duration::from_millis),
            events_missed: tracer.events_missed,
        }),
        snapshot_age: json.snapshot.map(|snapshot| Duration::from_millis(snapshot.ended_ms_ago)),
        details,
        problem: None,
    }
}

/// Reads the data of an event, whatever it is.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz_status(data: &str) {
    use std::hint::black_box;

    if let Ok(json) = serde_json::from_str(data) {
        black_box(status(json, String::new()));
    }
    if let Ok(sample) = serde_json::from_str::<SampleJson>(data) {
        black_box(sample.to_sample());
    }
}

/// Empty if the answer was empty or HTML.
fn suffix(line: &str) -> String {
    if line.is_empty() || line.starts_with('<') { String::new() } else { format!(": {line}") }
}

/// Empty if none is known.
fn remedy(status: u16) -> &'static str {
    if status == 401 { ": give them with --connect.user and --connect.password-file" } else { "" }
}

fn lock(received: &Mutex<Received>) -> MutexGuard<'_, Received> {
    received.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Status {
        status(serde_json::from_str(text).unwrap(), "http://h:1".to_owned())
    }

    #[test]
    fn the_status_has_the_tracer_and_its_hooks() {
        let status = read(
            r#"{"host": "web-1", "snapshot": {"ended_ms_ago": 1500}, "tracer": {
            "program": "tp_btf", "hooks": ["timewait", "requests"], "consistent": true,
            "agreed_ms_ago": null, "events_missed": 3}}"#,
        );
        assert_eq!(status.host, "web-1");
        assert_eq!(status.exporter.as_deref(), Some("http://h:1"));
        assert_eq!(status.snapshot_age, Some(Duration::from_millis(1500)));
        let tracer = status.tracer.unwrap();
        assert_eq!((tracer.hooks.as_str(), tracer.events_missed), ("timewait,requests", 3));
        assert_eq!(read(r#"{"host": null, "tracer": null, "snapshot": null}"#).tracer, None);
    }
}
