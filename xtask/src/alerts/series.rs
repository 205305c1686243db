//! Series of samples in the notation of `promtool test rules`.

use std::fmt::Write as _;

/// What a scrape gives for one series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sample {
    Value(i64),
    /// The target answers without the series, or does not answer: the series ends here.
    Stale,
    /// There is no scrape.
    Missing,
}

/// A metric with its labels, and a sample for each scrape.
#[derive(Clone, Debug)]
pub(super) struct Series {
    /// Such as `up{job="tcpstat"}`.
    pub(super) name: String,
    pub(super) samples: Vec<Sample>,
    /// Each value is divided by this.
    pub(super) scale: i64,
}

impl Series {
    /// The samples as promtool reads them: runs of equal steps are written once.
    pub(super) fn notation(&self) -> String {
        let mut text = String::new();
        let mut rest = self.samples.as_slice();
        while let Some(&first) = rest.first() {
            let length = run(rest);
            let separator = if text.is_empty() { "" } else { " " };
            text.push_str(separator);
            match first {
                Sample::Missing => write!(text, "_x{length}"),
                Sample::Stale => text.write_str("stale"),
                Sample::Value(value) => {
                    self.write_run(&mut text, value, &rest[..length]);
                    Ok(())
                }
            }
            .expect("a string takes all");
            rest = &rest[length..];
        }
        text
    }

    fn write_run(&self, text: &mut String, value: i64, run: &[Sample]) {
        text.push_str(&self.number(value));
        if let [_, Sample::Value(second), ..] = run {
            let step = second - value;
            let sign = if step < 0 { '-' } else { '+' };
            text.push(sign);
            text.push_str(&self.number(step.abs()));
            text.push('x');
            text.push_str(&(run.len() - 1).to_string());
        }
    }

    pub(super) fn number(&self, value: i64) -> String {
        if self.scale == 1 {
            return value.to_string();
        }
        format!("{}.{:04}", value / self.scale, value % self.scale * 10_000 / self.scale)
    }
}

/// How many samples from the first on are one run.
fn run(samples: &[Sample]) -> usize {
    let same = |first: Sample| samples.iter().take_while(|&&sample| sample == first).count();
    match samples {
        [Sample::Missing, ..] => same(Sample::Missing),
        [Sample::Value(first), Sample::Value(second), ..] => {
            let step = second - first;
            let pairs = samples.windows(2);
            let follows = |pair: &&[Sample]| matches!(pair, [Sample::Value(a), Sample::Value(b)] if b - a == step);
            pairs.take_while(follows).count() + 1
        }
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_written_once() {
        let values = |list: &[i64]| list.iter().map(|value| Sample::Value(*value)).collect();
        let series = |samples, scale| Series { name: "a".to_owned(), samples, scale };
        assert_eq!(series(values(&[5, 5, 5, 7, 9, 11, 4]), 1).notation(), "5+0x2 7+2x2 4");
        assert_eq!(series(values(&[5000, 2500]), 10_000).notation(), "0.5000-0.2500x1");
        let gap = vec![Sample::Stale, Sample::Missing, Sample::Missing, Sample::Value(1)];
        assert_eq!(series(gap, 1).notation(), "stale _x2 1");
    }
}
