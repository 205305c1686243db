//! The wire format of the JSON API. The exporter writes it, `tcpstat top --connect` reads it;
//! docs/api.md describes it.
//!
//! A reader ignores fields that it does not know. Fields that `top` does not use, and optional fields, may be
//! missing.

mod ages;
mod at_most;
mod closed_counts;
mod ephemeral_ports;
mod event_stream;
mod listeners;
mod samples;
mod scopes;
mod state_counts;
mod status;

use std::borrow::Cow;

pub(crate) use ages::AgesJson;
pub(crate) use closed_counts::ClosedCounts;
pub(crate) use ephemeral_ports::EphemeralPortsJson;
pub(crate) use event_stream::{EventReader, KEEP_ALIVE, SAMPLE_EVENT, STATUS_EVENT, write_event};
pub(crate) use listeners::{ListenerJson, ListenersJson};
pub(crate) use samples::{HistoryJson, SampleJson};
pub(crate) use scopes::{ScopeJson, ScopeKindJson, ScopesJson};
pub(crate) use status::{SnapshotJson, StateCount, StatusJson, TracerJson};

pub(crate) const STATUS_PATH: &str = "/api/v1/status";
pub(crate) const HISTORY_PATH: &str = "/api/v1/history";
pub(crate) const SCOPES_PATH: &str = "/api/v1/scopes";
pub(crate) const STREAM_PATH: &str = "/api/v1/stream";

/// A text that the exporter borrows, and that a reader owns.
type Text = Cow<'static, str>;
