//! The terminal view: the states live, as `top` shows processes.
//!
//! [`Model`] is what there is to see and what keys do to it, without I/O or clock; [`view`] draws it into
//! a frame; [`screen`] has the terminal and the loop. Looks at the numbers come from [`Source`].

mod exporter;
mod keys;
mod log_lines;
mod model;
mod numbers;
pub mod screen;
mod source;
pub mod view;

pub use exporter::{Exporter, ExporterError};
pub use log_lines::LogLines;
pub use model::{Flow, Model, Sort};
pub use numbers::{Look, Move, Numbers, Row, Status, Tracing};
pub use source::{Here, Source};

#[cfg(test)]
mod tests;
