//! Writes metric families, one after the other.

use std::fmt;

use prometheus_client::{
    encoding::{
        DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, EncodeMetric,
        MetricEncoder,
    },
    metrics::counter::ConstCounter,
};

use super::{groups::Groups, names::Metric};

/// Writes the families of some groups with prometheus-client's encoder; skips the others, and families without
/// samples.
pub(super) struct FamilyWriter<'a> {
    pub(super) encoder: DescriptorEncoder<'a>,
    pub(super) groups: Groups,
}

impl FamilyWriter<'_> {
    /// Writes a gauge without labels.
    pub(super) fn single<V: EncodeGaugeValue + Copy>(
        &mut self,
        metric: Metric,
        value: V,
    ) -> fmt::Result {
        if !self.writes(metric) {
            return Ok(());
        }
        self.describe(metric)?.encode_gauge(&value)
    }

    /// Writes a counter without labels.
    pub(super) fn single_counter<V: EncodeCounterValue + Copy>(
        &mut self,
        metric: Metric,
        value: V,
    ) -> fmt::Result
    where
        ConstCounter<V>: EncodeMetric,
    {
        if !self.writes(metric) {
            return Ok(());
        }
        ConstCounter::new(value).encode(self.describe(metric)?)
    }

    /// Writes a gauge with labels.
    pub(super) fn gauges<L: EncodeLabelSet, V: EncodeGaugeValue>(
        &mut self,
        metric: Metric,
        samples: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result {
        let mut samples = samples.into_iter().peekable();
        if !self.writes(metric) || samples.peek().is_none() {
            return Ok(());
        }
        let mut family = self.describe(metric)?;
        for (labels, value) in samples {
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// Writes a counter with labels.
    pub(super) fn counters<L: EncodeLabelSet>(
        &mut self,
        metric: Metric,
        samples: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut samples = samples.into_iter().peekable();
        if !self.writes(metric) || samples.peek().is_none() {
            return Ok(());
        }
        let mut family = self.describe(metric)?;
        for (labels, value) in samples {
            ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    /// Whether the family is one of those that are asked for.
    pub(super) fn writes(&self, metric: Metric) -> bool {
        self.groups.contains(metric.group)
    }

    /// Writes name, help and type; the samples of the family must follow.
    fn describe(&mut self, metric: Metric) -> Result<MetricEncoder<'_>, fmt::Error> {
        let Metric { group: _, name, help, kind } = metric;
        self.encoder.encode_descriptor(name, help, None, kind)
    }
}
