//! The metrics: the values of one scrape, and the two text formats.
//!
//! Label sets are bounded. A scrape has every gauge, also at zero; a counter with labels appears with its first event, or
//! is there from the start if a rule needs it. A scrape can ask for some groups of metrics, and for the details, which
//! make it complete: with them it has every series, also at zero; of scopes, it has the transitions that were seen.
//! Nothing is kept between two scrapes.

mod at_zero;
mod cadvisor;
mod causes;
mod classic;
mod exposition;
mod family_writer;
mod groups;
mod listeners;
mod names;
mod node_exporter;
mod scopes;
mod series_writer;
mod values;

use std::sync::Arc;

use exposition::Exposition;
use node_exporter::ConnectionStates;
use prometheus_client::{collector::Collector, encoding::text, registry::Registry};
use series_writer::SeriesWriter;

pub(crate) use groups::{Group, Groups};
pub use values::{Compat, SnapshotValues, TracerValues, Values, WebConfigValues};

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
        Arc::new(self).encode_groups(format, Groups::ALL)
    }

    /// The metrics of these groups as text.
    pub(crate) fn encode_groups(self: &Arc<Self>, format: Format, groups: Groups) -> String {
        let mut text = encode(Box::new(Exposition { values: Arc::clone(self), groups }), format);
        let mut writer = SeriesWriter { text: &mut text, format, groups };
        // Writing to a String cannot fail.
        if let Some(detailed) = self.tracer.as_ref().and_then(|tracer| tracer.detailed.as_ref()) {
            let _ = writer.causes(detailed);
        }
        let _ = writer.listeners(self.listeners.as_deref());
        let _ = writer.scopes(&self.scopes);
        if self.compat.cadvisor {
            let _ = writer.cadvisor(&self.scopes);
        }
        if format == Format::OpenMetrics {
            let _ = text::encode_eof(&mut text);
        }
        text
    }

    /// The metric of node_exporter alone, in the classic format; `None` before the first snapshot.
    pub(crate) fn encode_node_exporter(&self) -> Option<String> {
        let collector = ConnectionStates::of(self)?;
        Some(encode(Box::new(collector), Format::Classic))
    }
}

/// What `collector` writes, without the mark of the end.
fn encode(collector: Box<dyn Collector>, format: Format) -> String {
    let mut registry = Registry::default();
    registry.register_collector(collector);
    let mut openmetrics = String::with_capacity(32 * 1024);
    // Writing to a String cannot fail, and the collectors return no other error.
    let _ = text::encode_registry(&mut openmetrics, &registry);
    match format {
        Format::OpenMetrics => openmetrics,
        Format::Classic => classic::from_openmetrics(&openmetrics),
    }
}

#[cfg(test)]
mod tests;
