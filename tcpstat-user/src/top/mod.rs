//! The terminal view, `tcpstat top`.
//!
//! [`Model`] holds what is shown and handles keys, without I/O and without a clock; [`view`] draws it into a
//! frame; [`screen`] owns the terminal and runs the loop. A [`Feed`] delivers the numbers.

mod backend;
mod connection;
mod details;
mod feed;
mod holders;
mod keys;
mod last_log_line;
mod local_holders;
mod model;
mod numbers;
mod remote_exporter;
mod remote_scopes;
mod scopes;
pub(crate) mod screen;
pub(crate) mod view;

pub(crate) use connection::{Connection, ExporterAddress};
pub(crate) use feed::{Feed, OwnTracker};
pub(crate) use last_log_line::LastLogLine;
pub(crate) use local_holders::LocalHolders;
pub(crate) use model::Model;
use model::{Flow, Sort};
use numbers::{StateRow, Status, TracerStatus, TransitionRate};
pub(crate) use remote_exporter::RemoteExporter;
#[cfg(feature = "fuzzing")]
pub(crate) use remote_exporter::fuzz_status;
use scopes::{ScopeColumn, ScopeRow, ScopeSort, ScopeTable};

#[cfg(test)]
mod tests;
