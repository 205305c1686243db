//! tcpstat: TCP sockets by state, counted in the kernel, served to Prometheus.
//!
//! Imports run one way: `commands` → `web`, `top`, `textfile` → `api`, `metrics` → `tracker` → `ledger`,
//! `history`, `ages`, `destinations`, `listeners`, `holders` → `snapshot`, `procfs`, `kernel` → the layout shared with the tracer (`tcpstat-ebpf`). Only
//! `kernel` uses aya and unsafe code, only `procfs` reads /proc, and only `metrics` names a metric.
//! `ledger`, `history`, `ages`, `destinations`, `listeners` and `holders` do no I/O and read no clock.

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
