//! Why sockets closed, and which connects were retried: `tcpstat_closed_total` and
//! `tcpstat_connects_retried_total`.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};

use crate::corrections::{corrections, missed};
use crate::deadline::{DEADLINE, Progress, wait_until};
use crate::exporter::Exporter;
use crate::exposition::{Sample, Scrape};
use crate::flow::transitions;
use crate::tcp::{Family, State};

/// Numbers of closed sockets, by family, state and cause.
pub type Closed = BTreeMap<(Family, State, String), u64>;

/// Numbers of retried connects, by family and outcome.
pub type Retried = BTreeMap<(Family, String), u64>;

/// Both at one moment, or between two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Causes {
    /// Only those that are not zero.
    pub closed: Closed,
    /// Only those that are not zero.
    pub retried: Retried,
}

impl Causes {
    /// Reads a scrape, in which the causes of each state must add up to its transitions to CLOSE.
    ///
    /// # Errors
    /// Fails if they do not, if a label or a value is invalid, and if there is no sample.
    pub fn of(scrape: &Scrape) -> Result<Self> {
        let mut causes = Self::default();
        let mut sums = BTreeMap::<_, u64>::new();
        for sample in scrape.family("tcpstat_closed_total") {
            let from = State::from_word(label(sample, "from")?).context("an unknown state")?;
            let (family, count) = (family(sample)?, count(sample)?);
            *sums.entry((family, from)).or_default() += count;
            causes.closed.insert((family, from, label(sample, "cause")?.to_owned()), count);
        }
        for sample in scrape.family("tcpstat_connects_retried_total") {
            let key = (family(sample)?, label(sample, "outcome")?.to_owned());
            causes.retried.insert(key, count(sample)?);
        }
        ensure!(causes.retried.len() == 4, "{:?}", causes.retried);
        let transitions = transitions(scrape)?.into_iter();
        let closing = transitions.filter(|((_, _, to), _)| *to == State::Close);
        let closing: BTreeMap<_, _> =
            closing.map(|((family, from, _), count)| ((family, from), count)).collect();
        ensure!(sums == closing, "causes add up to {sums:?}, transitions are {closing:?}");
        causes.closed.retain(|_, count| *count != 0);
        causes.retried.retain(|_, count| *count != 0);
        Ok(causes)
    }

    /// What was counted since `earlier`.
    ///
    /// # Errors
    /// Fails if a number has become smaller.
    pub fn since(&self, earlier: &Self) -> Result<Self> {
        Ok(Self {
            closed: difference(&self.closed, &earlier.closed)?,
            retried: difference(&self.retried, &earlier.retried)?,
        })
    }
}

/// Attempts while the kernel loses events.
const ATTEMPTS: usize = 5;

/// Does `work`, and asserts that exactly this is counted then. `work` returns when all its sockets have closed.
///
/// The kernel can lose an event, of which timers make most of those here: it skips the tracer while other tests load
/// programs or read maps on the same CPU, and reports that; or it reports nothing, and a snapshot shows a socket
/// less, which is corrected. Then this does the work again. So the exporter must take frequent snapshots.
///
/// # Errors
/// Fails with what was counted instead, and as `work` and [`Causes::of`].
pub fn assert_counted<T>(
    exporter: &mut Exporter,
    expected: &Causes,
    work: impl FnMut(&mut Exporter) -> Result<T>,
) -> Result<()> {
    assert_one_counted(exporter, &[expected], work)
}

/// As [`assert_counted`], where it depends on the kernel's timers which of several is counted.
///
/// # Errors
/// As [`assert_counted`].
pub fn assert_one_counted<T>(
    exporter: &mut Exporter,
    expected: &[&Causes],
    mut work: impl FnMut(&mut Exporter) -> Result<T>,
) -> Result<()> {
    for _ in 0..ATTEMPTS {
        let before = exporter.scrape()?;
        // Sockets that are dropped later would be counted too.
        let _kept = work(exporter)?;
        let all_counted =
            wait_until("number of closed sockets that was expected", DEADLINE, || {
                let after = exporter.scrape()?;
                let counted = Causes::of(&after)?.since(&Causes::of(&before)?)?;
                Ok(if expected.contains(&&counted) {
                    Progress::Done(true)
                } else if lost(&after)? > lost(&before)? {
                    Progress::Done(false)
                } else {
                    Progress::NotYet(format!("{counted:?}, not {expected:?}"))
                })
            })?;
        if all_counted {
            return Ok(());
        }
    }
    bail!("events were lost in each of {ATTEMPTS} attempts: {}", exporter.log())
}

/// Events that the exporter knows to be lost.
fn lost(scrape: &Scrape) -> Result<f64> {
    Ok(missed(scrape)? + corrections(scrape)?)
}

fn difference<K: Ord + Clone>(
    now: &BTreeMap<K, u64>,
    earlier: &BTreeMap<K, u64>,
) -> Result<BTreeMap<K, u64>> {
    ensure!(earlier.keys().all(|key| now.contains_key(key)), "a count has fallen to zero");
    let mut more = BTreeMap::new();
    for (key, count) in now {
        let before = earlier.get(key).copied().unwrap_or(0);
        let count = count.checked_sub(before).context("a count has fallen")?;
        if count != 0 {
            more.insert(key.clone(), count);
        }
    }
    Ok(more)
}

fn label<'a>(sample: &'a Sample, name: &str) -> Result<&'a str> {
    let value = sample.labels.get(name);
    value.map(String::as_str).with_context(|| format!("no label {name}: {sample:?}"))
}

fn family(sample: &Sample) -> Result<Family> {
    Family::from_word(label(sample, "family")?).context("an unknown family")
}

fn count(sample: &Sample) -> Result<u64> {
    sample.count().with_context(|| format!("not a count: {sample:?}"))
}
