//! The metrics: the values of one scrape, and the two text formats.
//!
//! Label sets are bounded. Every scrape has every series, also at zero. Nothing is kept between two scrapes.

mod classic;
mod exposition;
mod family_writer;
mod names;
mod node_exporter;
mod values;

use node_exporter::ConnectionStates;
use prometheus_client::{collector::Collector, encoding::text, registry::Registry};

pub use values::{SnapshotValues, TracerValues, Values};

/// A text format for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Prometheus text format 0.0.4: the default.
    Classic,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The value of the HTTP header Content-Type.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

impl Values {
    /// All metrics as text.
    #[must_use]
    pub fn encode(self, format: Format) -> String {
        encode(Box::new(self), format)
    }

    /// The metric of node_exporter alone, in the classic format; `None` before the first snapshot.
    pub(crate) fn encode_node_exporter(&self) -> Option<String> {
        let collector = ConnectionStates::of(self)?;
        Some(encode(Box::new(collector), Format::Classic))
    }
}

fn encode(collector: Box<dyn Collector>, format: Format) -> String {
    let mut registry = Registry::default();
    registry.register_collector(collector);
    let mut openmetrics = String::with_capacity(32 * 1024);
    // Writing to a String cannot fail, and the collectors return no other error.
    let _ = text::encode(&mut openmetrics, &registry);
    match format {
        Format::OpenMetrics => openmetrics,
        Format::Classic => classic::from_openmetrics(&openmetrics),
    }
}
