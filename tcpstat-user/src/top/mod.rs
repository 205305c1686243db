//! The terminal view: the states live, as `top` shows processes.
//!
//! [`Model`] is what there is to see and what keys do to it, without I/O or clock; [`view`] draws it into
//! a frame; [`screen`] has the terminal and the loop. Looks at the numbers come from [`Feed`].

mod exporter;
mod feed;
mod keys;
mod log_lines;
mod model;
mod numbers;
pub mod screen;
pub mod view;

pub use exporter::{ExporterError, RemoteExporter};
pub use feed::{Feed, OwnTracker};
pub use log_lines::LogLines;
pub use model::{Flow, Model, Sort};
pub use numbers::{Move, Numbers, Row, Status, Tracing, Update};

#[cfg(test)]
mod tests;
