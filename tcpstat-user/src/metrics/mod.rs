//! What is exposed: the values of one scrape, and the two text formats they are written in.
//!
//! Label sets are bounded, every series is written at every scrape even at zero, and nothing is kept
//! between two scrapes.

mod classic;
mod exposition;
mod family_writer;
mod names;
mod node_exporter;
mod values;

use node_exporter::ConnectionStates;
use prometheus_client::{collector::Collector, encoding::text, registry::Registry};

pub use values::{SnapshotValues, TracerValues, Values};

/// A text format of an exposition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Prometheus' text format 0.0.4, what a scraper gets that does not ask.
    Classic,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The value of the header Content-Type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

impl Values {
    /// The whole exposition.
    #[must_use]
    pub fn encode(self, format: Format) -> String {
        encode(Box::new(self), format)
    }

    /// The part of the classic exposition that node_exporter's metric is; `None` before there are
    /// numbers.
    #[must_use]
    pub fn encode_node_exporter(&self) -> Option<String> {
        let collector = ConnectionStates::of(self)?;
        Some(encode(Box::new(collector), Format::Classic))
    }
}

fn encode(collector: Box<dyn Collector>, format: Format) -> String {
    let mut registry = Registry::default();
    registry.register_collector(collector);
    let mut openmetrics = String::with_capacity(32 * 1024);
    // Writing to a String cannot fail, and the collectors add no failure of their own.
    let _ = text::encode(&mut openmetrics, &registry);
    match format {
        Format::OpenMetrics => openmetrics,
        Format::Classic => classic::from_openmetrics(&openmetrics),
    }
}
