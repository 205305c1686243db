//! tcpstat: TCP sockets by state, counted in the kernel, served to Prometheus.
//!
//! Imports run one way: a module imports only modules that this list names after it.
//!
//! - `commands`: the command line, which starts everything else
//! - `textfile`, `web`, `top`: what other programs and people see
//! - `api`, `metrics`: the JSON of the API; the names, help texts, and labels of all metrics
//! - `tracker`: the thread that counts
//! - `kernel`: BPF and other system calls; it alone uses aya and unsafe code
//! - `clock`, `procfs`: the time; the files of /proc, which no other module reads
//! - `ledger`, `history`, `listeners`, `holders`, `destinations`, `scopes`, `stream`, `detailed`, `dwell`, `ages`, `frequent`,
//!   `transitions`, `snapshot`, `states`: what is computed from these. They do no I/O, read no clock, and start no thread
//! - `text`, `bounded_file`, `unix_path`: what any module may use

pub mod ages;
mod api;
mod bounded_file;
pub mod clock;
pub mod commands;
pub mod destinations;
pub mod detailed;
pub mod dwell;
mod frequent;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod history;
pub mod holders;
pub mod kernel;
pub mod ledger;
pub mod listeners;
pub mod metrics;
pub mod procfs;
pub mod scopes;
pub mod snapshot;
pub mod states;
mod stream;
mod text;
mod textfile;
mod top;
pub mod tracker;
pub mod transitions;
mod unix_path;
mod web;
