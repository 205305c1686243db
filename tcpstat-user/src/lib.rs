//! tcpstat: TCP sockets by state, counted in the kernel, served to Prometheus.
//!
//! Imports run one way: `commands` → `web`, `top`, `textfile`, `tracker` → `metrics`, `ledger`, `scopes`,
//! `history` → `snapshot`, `procfs`, `kernel` → the layout shared with the tracer. Only `kernel` names aya or
//! needs unsafe; only `procfs` reads /proc; only `metrics` names a metric; `ledger` and `history` do no I/O and
//! have no clock.

pub mod clock;
pub mod commands;
pub mod history;
pub mod kernel;
pub mod ledger;
pub mod metrics;
pub mod procfs;
pub mod scopes;
pub mod snapshot;
pub mod states;
pub mod text;
pub mod textfile;
pub mod top;
pub mod tracker;
pub mod transitions;
pub mod web;
