//! Writes families that have many series, such as those for each scope, in either text format.
//!
//! Hundreds of scopes have ten thousand series. prometheus-client writes each sample in some twenty parts through
//! a trait object. This writer composes the name and the shared labels once, and copies them for each sample.

use std::fmt::{self, Display, Write as _};

use prometheus_client::metrics::MetricType;

use super::{Format, groups::Groups, names::Metric};

/// Appends the families of some groups to a text.
pub(super) struct SeriesWriter<'a> {
    pub(super) text: &'a mut String,
    pub(super) format: Format,
    pub(super) groups: Groups,
}

/// Appends the samples of one family.
pub(super) struct Samples<'a> {
    text: &'a mut String,
    /// The name of the samples, and the shared labels of the next ones.
    head: String,
    /// The length of the name in `head`.
    name: usize,
}

impl SeriesWriter<'_> {
    /// Whether the family is one of those that are asked for.
    pub(super) fn writes(&self, metric: Metric) -> bool {
        self.groups.contains(metric.group)
    }

    /// Whether the families have all their series.
    pub(super) fn details(&self) -> bool {
        self.groups.details()
    }

    /// Writes name, help and type, and the samples that `write` adds; nothing if it adds none.
    pub(super) fn family(
        &mut self,
        metric: Metric,
        write: impl FnOnce(&mut Samples<'_>) -> fmt::Result,
    ) -> fmt::Result {
        if !self.writes(metric) {
            return Ok(());
        }
        let Metric { group: _, name, help, kind } = metric;
        let suffix = if matches!(kind, MetricType::Counter) { "_total" } else { "" };
        // The classic format describes a counter by the name of its samples.
        let described_suffix = if self.format == Format::Classic { suffix } else { "" };
        let start = self.text.len();
        writeln!(self.text, "# HELP {name}{described_suffix} {help}")?;
        writeln!(self.text, "# TYPE {name}{described_suffix} {}", kind.as_str())?;
        let described = self.text.len();
        let head = format!("{name}{suffix}");
        write(&mut Samples { name: head.len(), text: self.text, head })?;
        if self.text.len() == described {
            self.text.truncate(start);
        }
        Ok(())
    }
}

impl Samples<'_> {
    /// Sets the labels that the next samples begin with, instead of those before.
    pub(super) fn share<'a>(&mut self, labels: impl IntoIterator<Item = (&'static str, &'a str)>) {
        self.head.truncate(self.name);
        let mut separator = '{';
        for (name, value) in labels {
            self.head.push(separator);
            self.head.push_str(name);
            self.head.push_str("=\"");
            push_escaped(&mut self.head, value);
            self.head.push('"');
            separator = ',';
        }
    }

    /// Writes a sample with the shared labels, of which there must be one, and with `labels`. Their values are
    /// written as they are.
    pub(super) fn sample<const N: usize>(
        &mut self,
        labels: [(&'static str, &'static str); N],
        value: impl Display,
    ) -> fmt::Result {
        self.text.push_str(&self.head);
        for (name, value) in labels {
            for part in [",", name, "=\"", value, "\""] {
                self.text.push_str(part);
            }
        }
        writeln!(self.text, "}} {value}")
    }
}

/// Appends a label value with backslash, quote and line feed escaped, as both formats ask for.
fn push_escaped(text: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            _ => text.push(c),
        }
    }
}
