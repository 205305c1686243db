//! Writes metric families, one after the other.

use std::fmt;

use prometheus_client::{
    encoding::{
        DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, EncodeMetric,
        MetricEncoder, NoLabelSet,
    },
    metrics::counter::ConstCounter,
};

use super::{groups::Groups, names::Metric};

/// Writes the families of some groups with prometheus-client's encoder.
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
        let Some(mut family) = self.describe(metric)? else { return Ok(()) };
        family.encode_gauge(&value)
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
        let Some(family) = self.describe(metric)? else { return Ok(()) };
        ConstCounter::new(value).encode(family)
    }

    /// Writes a gauge with labels.
    pub(super) fn gauges<L: EncodeLabelSet, V: EncodeGaugeValue>(
        &mut self,
        metric: Metric,
        samples: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result {
        let Some(mut family) = self.describe(metric)? else { return Ok(()) };
        for (labels, value) in samples {
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// Writes the samples of a counter with labels that have counted something, and those that are marked to be there at
    /// zero. With details, all of them. Writes nothing if none is left.
    pub(super) fn counters<L: EncodeLabelSet>(
        &mut self,
        metric: Metric,
        samples: impl IntoIterator<Item = (L, u64, bool)>,
    ) -> fmt::Result {
        let details = self.groups.details();
        let is_written = |&(_, value, at_zero): &(L, u64, bool)| details || at_zero || value != 0;
        let mut samples = samples.into_iter().filter(is_written).peekable();
        if samples.peek().is_none() {
            return Ok(());
        }
        let Some(mut family) = self.describe(metric)? else { return Ok(()) };
        for (labels, value, _) in samples {
            ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    /// Writes a histogram without labels. The buckets have their upper bounds, and are not cumulated.
    pub(super) fn histogram(
        &mut self,
        metric: Metric,
        sum: f64,
        buckets: &[(f64, u64)],
    ) -> fmt::Result {
        let Some(mut family) = self.describe(metric)? else { return Ok(()) };
        let count = buckets.iter().map(|(_, count)| count).sum();
        family.encode_histogram::<NoLabelSet>(sum, count, buckets, None)
    }

    /// Writes a histogram with labels: for each sum and buckets, as [`FamilyWriter::histogram`] has them.
    pub(super) fn histograms<L: EncodeLabelSet, const N: usize>(
        &mut self,
        metric: Metric,
        samples: impl IntoIterator<Item = (L, f64, [(f64, u64); N])>,
    ) -> fmt::Result {
        let Some(mut family) = self.describe(metric)? else { return Ok(()) };
        for (labels, sum, buckets) in samples {
            let count = buckets.iter().map(|(_, count)| count).sum();
            let mut encoder = family.encode_family(&labels)?;
            encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        Ok(())
    }

    /// Writes name, help and type; the samples of the family must follow. `None` if it is not asked for.
    fn describe(&mut self, metric: Metric) -> Result<Option<MetricEncoder<'_>>, fmt::Error> {
        let Metric { group, name, help, kind } = metric;
        if !self.groups.contains(group) {
            return Ok(None);
        }
        self.encoder.encode_descriptor(name, help, None, kind).map(Some)
    }
}
