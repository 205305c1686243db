//! A running exporter, looked at over HTTP: its history, then its stream. docs/api.md says what it tells.

mod answers;
mod events;

use std::{
    io::{self, BufReader, Read},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use serde::de::DeserializeOwned;
use thiserror::Error;
use ureq::{Agent, Body, http::Response};

use super::numbers::{Status, Update};
use crate::{
    history::{CAPACITY, Sample},
    text::without_password,
};
use answers::{HistoryAnswer, NumbersAnswer, StatusAnswer};
use events::Events;

/// How long a connection may take to be made, and an answer to a question.
const PATIENCE: Duration = Duration::from_secs(5);

/// A stream that is silent for so long is told of: it tells something every second.
const SILENCE: Duration = Duration::from_secs(5);

/// A stream that is silent for so long has broken.
const BROKEN: Duration = Duration::from_secs(10);

/// Time from one event to the next at least.
const EVENT_INTERVAL: Duration = Duration::from_millis(10);

/// Most bytes of an answer: a history whose counts have all the digits that there are has 1.2 MB.
const LONGEST_ANSWER: u64 = 2 << 20;

/// Most bytes of an answer that is shown.
const LONGEST_REFUSAL: u64 = 4 << 10;

/// Time from a failure to the next try.
const RETRY: Duration = Duration::from_secs(1);

/// An exporter that is listened to by a thread, which connects anew when the connection breaks.
#[derive(Debug)]
pub struct RemoteExporter {
    told: Arc<Mutex<Told>>,
}

/// Why an exporter cannot be looked at.
#[derive(Debug, Error)]
pub enum ExporterError {
    /// No connection, or a broken one.
    #[error("{0}")]
    Connection(ureq::Error),
    /// The stream broke, or there is no thread to read it.
    #[error("{0}")]
    Stream(io::Error),
    /// Another answer than 200.
    #[error("{path}: {status}{}", line(.said))]
    Refused {
        /// What was asked for.
        path: &'static str,
        /// The status.
        status: u16,
        /// The first line of the answer.
        said: String,
    },
    /// Not what this asks for.
    #[error("{path}: {cause}: not a tcpstat exporter, or an incompatible version")]
    Unexpected {
        /// What was asked for.
        path: &'static str,
        /// Where it is not understood.
        cause: serde_json::Error,
    },
    /// The other side ended the stream well.
    #[error("the exporter has closed the stream")]
    Ended,
}

// Neither is a source too: it would be told twice.
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

/// What has come and was not looked at.
#[derive(Debug)]
struct Told {
    samples: Vec<Sample>,
    status: Status,
    heard: Instant,
}

/// Where an exporter is, and who asks it.
#[derive(Clone)]
struct Client {
    /// With a user and a password where it was given with them.
    url: String,
    agent: Agent,
}

impl RemoteExporter {
    /// Connects to the exporter at `url`, which has no slash at its end.
    ///
    /// # Errors
    /// [`ExporterError`], where there is none; once there has been one it is waited for.
    pub fn connect(url: &str) -> Result<Self, ExporterError> {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_resolve(Some(PATIENCE))
            .timeout_connect(Some(PATIENCE))
            .timeout_send_request(Some(PATIENCE))
            .timeout_recv_response(Some(PATIENCE))
            // An exporter sends nobody elsewhere.
            .max_redirects(0)
            // The numbers of an exporter are not for caches in between.
            .proxy(None)
            .build()
            .new_agent();
        let client = Client { url: url.to_owned(), agent };
        let status = client.status()?;
        let told =
            Arc::new(Mutex::new(Told { samples: Vec::new(), status, heard: Instant::now() }));
        let exporter = Self { told: Arc::clone(&told) };
        // It ends with the process.
        thread::Builder::new().name("exporter".into()).spawn(move || {
            loop {
                let Err(error) = client.follow(&told);
                lock(&told).status.trouble = Some(format!("no connection: {error}; retrying"));
                thread::sleep(RETRY);
            }
        })?;
        Ok(exporter)
    }

    /// What has come since the last look.
    pub(super) fn update(&self) -> Update {
        let mut told = lock(&self.told);
        let mut status = told.status.clone();
        let silent = told.heard.elapsed();
        if status.trouble.is_none() && silent > SILENCE {
            status.trouble = Some(format!("no data for {} s", silent.as_secs()));
        }
        Update { samples: std::mem::take(&mut told.samples), status }
    }
}

impl Client {
    fn status(&self) -> Result<Status, ExporterError> {
        Ok(self.ask::<StatusAnswer>("/api/v1/status")?.status(&self.shown_url()))
    }

    fn shown_url(&self) -> String {
        without_password(&self.url).into_owned()
    }

    /// Takes down the history and what the stream tells, until it breaks.
    fn follow(&self, told: &Mutex<Told>) -> Result<std::convert::Infallible, ExporterError> {
        let status = self.status()?;
        let history: HistoryAnswer = self.ask("/api/v1/history")?;
        {
            let mut told = lock(told);
            told.take(history.samples());
            told.status = status;
            told.heard = Instant::now();
        }
        let path = "/api/v1/stream";
        let stream = self.get(path, None)?;
        for event in Events::of(BufReader::new(stream.into_body().into_reader())) {
            let event = event?;
            let come = Instant::now();
            let unexpected = |cause| ExporterError::Unexpected { path, cause };
            let mut told = lock(told);
            match event.name.as_str() {
                "sample" => {
                    let numbers: NumbersAnswer =
                        serde_json::from_str(&event.data).map_err(unexpected)?;
                    told.take([numbers.sample()]);
                }
                "status" => {
                    let status: StatusAnswer =
                        serde_json::from_str(&event.data).map_err(unexpected)?;
                    told.status = status.status(&self.shown_url());
                }
                _ => {}
            }
            told.heard = come;
            drop(told);
            // However many come, they take little of a processor.
            thread::sleep(EVENT_INTERVAL.saturating_sub(come.elapsed()));
        }
        Err(ExporterError::Ended)
    }

    fn ask<T: DeserializeOwned>(&self, path: &'static str) -> Result<T, ExporterError> {
        let mut answer = self.get(path, Some(PATIENCE))?;
        let text = answer.body_mut().with_config().limit(LONGEST_ANSWER).read_to_string()?;
        serde_json::from_str(&text).map_err(|cause| ExporterError::Unexpected { path, cause })
    }

    /// `patience` is for the whole answer; without it the answer may go on, but not be silent.
    fn get(
        &self,
        path: &'static str,
        patience: Option<Duration>,
    ) -> Result<Response<Body>, ExporterError> {
        let request = self.agent.get(format!("{}{path}", self.url)).config();
        let request = request.timeout_global(patience).timeout_per_read(Some(BROKEN)).build();
        let mut response = request.call()?;
        let status = response.status().as_u16();
        if status == 200 {
            return Ok(response);
        }
        let mut said = Vec::new();
        if patience.is_some() {
            // What has come until it breaks.
            let _ = response.body_mut().as_reader().take(LONGEST_REFUSAL).read_to_end(&mut said);
        }
        let said = String::from_utf8_lossy(&said);
        let said = said.lines().next().unwrap_or_default().to_owned();
        Err(ExporterError::Refused { path, status, said })
    }
}

impl Told {
    /// No more than a history has, however long nobody looks.
    fn take(&mut self, samples: impl IntoIterator<Item = Sample>) {
        self.samples.extend(samples);
        let over = self.samples.len().saturating_sub(CAPACITY);
        self.samples.drain(..over);
    }
}

/// Nothing for nothing; a page of HTML is no line.
fn line(said: &str) -> String {
    if said.is_empty() || said.starts_with('<') { String::new() } else { format!(": {said}") }
}

fn lock(told: &Mutex<Told>) -> MutexGuard<'_, Told> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}
