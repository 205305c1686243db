//! A running exporter, looked at over HTTP: its history, then its stream. docs/api.md says what it tells.

mod answers;
mod events;

use std::{
    io::{self, BufReader},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use serde::de::DeserializeOwned;
use thiserror::Error;
use ureq::{Agent, Body, http::Response};

use super::numbers::{Look, Status};
use crate::history::Sample;
use answers::{HistoryAnswer, NumbersAnswer, StatusAnswer};
use events::Events;

/// How long a connection may take to be made, and an answer to a question.
const PATIENCE: Duration = Duration::from_secs(5);

/// A stream that is silent for so long has broken: it tells something every second.
const SILENCE: Duration = Duration::from_secs(5);

/// Time from a failure to the next try.
const RETRY: Duration = Duration::from_secs(1);

/// An exporter that is listened to by a thread, which connects anew when the connection breaks.
#[derive(Debug)]
pub struct Exporter {
    told: Arc<Mutex<Told>>,
}

/// Why an exporter cannot be looked at.
#[derive(Debug, Error)]
pub enum ExporterError {
    /// No connection, or a broken one.
    #[error("{0}")]
    Connection(#[from] ureq::Error),
    /// The stream broke.
    #[error("{0}")]
    Stream(#[from] io::Error),
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
    #[error("{path}: {cause}: this is no tcpstat, or one of another kind")]
    Unexpected {
        /// What was asked for.
        path: &'static str,
        /// Where it is not understood.
        cause: serde_json::Error,
    },
    /// The other side ended the stream well.
    #[error("it has ended")]
    Ended,
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
    url: String,
    agent: Agent,
}

impl Exporter {
    /// Connects to the exporter at `url`, which has no slash at its end.
    ///
    /// # Errors
    /// [`ExporterError`], where there is none; once there has been one it is waited for.
    pub fn connect(url: &str) -> Result<Self, ExporterError> {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(PATIENCE))
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
                lock(&told).status.trouble = Some(format!("no connection: {error}; trying again"));
                thread::sleep(RETRY);
            }
        })?;
        Ok(exporter)
    }

    /// What has come since the last look.
    pub(super) fn look(&self) -> Look {
        let mut told = lock(&self.told);
        let mut status = told.status.clone();
        let silent = told.heard.elapsed();
        if status.trouble.is_none() && silent > SILENCE {
            status.trouble = Some(format!("nothing heard for {} s", silent.as_secs()));
        }
        Look { samples: std::mem::take(&mut told.samples), status }
    }
}

impl Client {
    fn status(&self) -> Result<Status, ExporterError> {
        Ok(self.ask::<StatusAnswer>("/api/v1/status")?.status(&self.url))
    }

    /// Takes down the history and what the stream tells, until it breaks.
    fn follow(&self, told: &Mutex<Told>) -> Result<std::convert::Infallible, ExporterError> {
        let status = self.status()?;
        let history: HistoryAnswer = self.ask("/api/v1/history")?;
        {
            let mut told = lock(told);
            told.samples.extend(history.samples());
            told.status = status;
            told.heard = Instant::now();
        }
        let path = "/api/v1/stream";
        let stream = self.get(path, None)?;
        for event in Events::of(BufReader::new(stream.into_body().into_reader())) {
            let event = event?;
            let unexpected = |cause| ExporterError::Unexpected { path, cause };
            let mut told = lock(told);
            match event.name.as_str() {
                "sample" => {
                    let numbers: NumbersAnswer =
                        serde_json::from_str(&event.data).map_err(unexpected)?;
                    told.samples.push(numbers.sample());
                }
                "status" => {
                    let status: StatusAnswer =
                        serde_json::from_str(&event.data).map_err(unexpected)?;
                    told.status = status.status(&self.url);
                }
                _ => {}
            }
            told.heard = Instant::now();
        }
        Err(ExporterError::Ended)
    }

    fn ask<T: DeserializeOwned>(&self, path: &'static str) -> Result<T, ExporterError> {
        let text = self.get(path, Some(PATIENCE))?.body_mut().read_to_string()?;
        serde_json::from_str(&text).map_err(|cause| ExporterError::Unexpected { path, cause })
    }

    /// `patience` is for the whole answer.
    fn get(
        &self,
        path: &'static str,
        patience: Option<Duration>,
    ) -> Result<Response<Body>, ExporterError> {
        let request = self.agent.get(format!("{}{path}", self.url));
        let mut response = request.config().timeout_global(patience).build().call()?;
        let status = response.status().as_u16();
        if status == 200 {
            return Ok(response);
        }
        let said = response.body_mut().read_to_string().unwrap_or_default();
        let said = said.lines().next().unwrap_or_default().to_owned();
        Err(ExporterError::Refused { path, status, said })
    }
}

/// Nothing for nothing; a page of HTML is no line.
fn line(said: &str) -> String {
    if said.is_empty() || said.starts_with('<') { String::new() } else { format!(": {said}") }
}

fn lock(told: &Mutex<Told>) -> MutexGuard<'_, Told> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}
