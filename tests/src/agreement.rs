//! The exporter's numbers against those of `/proc`.

use anyhow::Result;

use crate::deadline::{DEADLINE, Progress, wait_until};
use crate::exporter::Exporter;
use crate::proc_view::{self, Connections};
use crate::tcp::{Family, State};

/// Waits until the exporter tells, for every family and state, what `/proc` shows.
///
/// # Errors
/// Fails after [`DEADLINE`] with the counts that differ.
pub fn await_agreement(exporter: &mut Exporter) -> Result<Connections> {
    await_equal(exporter, |connections| connections)
}

/// The same; where no hooks tell of mini-sockets with both families' TIME_WAIT taken together: how it
/// divides is then as fresh as the last snapshot, its sum is exact at rest without one.
///
/// # Errors
/// As [`await_agreement`].
pub fn await_agreement_between_snapshots(exporter: &mut Exporter) -> Result<Connections> {
    if exporter.hooks()?.contains("timewait") {
        return await_agreement(exporter);
    }
    await_equal(exporter, time_wait_together)
}

/// What is not yet as [`await_agreement_between_snapshots`] awaits it; `None` where all is.
///
/// # Errors
/// Fails when the exporter or `/proc` cannot be read.
pub fn difference_between_snapshots(exporter: &mut Exporter) -> Result<Option<String>> {
    let told = time_wait_together(exporter.scrape()?.connections()?);
    let shown = time_wait_together(proc_view::connections()?);
    Ok((told != shown).then(|| difference(&told, &shown)))
}

fn time_wait_together(mut connections: Connections) -> Connections {
    let ipv6 = connections.remove(&(Family::Ipv6, State::TimeWait)).unwrap_or_default();
    *connections.entry((Family::Ipv4, State::TimeWait)).or_default() += ipv6;
    connections
}

fn await_equal(
    exporter: &mut Exporter,
    of: impl Fn(Connections) -> Connections,
) -> Result<Connections> {
    wait_until("agreement with /proc", DEADLINE, || {
        let told = of(exporter.scrape()?.connections()?);
        let shown = of(proc_view::connections()?);
        if told == shown {
            return Ok(Progress::Done(told));
        }
        Ok(Progress::NotYet(difference(&told, &shown)))
    })
}

/// Fails unless the exporter tells now, for every family and state, what `/proc` shows.
///
/// # Errors
/// As [`await_agreement`], at once.
pub fn assert_agreement(exporter: &mut Exporter) -> Result<Connections> {
    let told = exporter.scrape()?.connections()?;
    let shown = proc_view::connections()?;
    anyhow::ensure!(told == shown, "{}", difference(&told, &shown));
    Ok(told)
}

fn difference(told: &Connections, shown: &Connections) -> String {
    let differing = shown.iter().filter(|(key, count)| told.get(key) != Some(count));
    let lines: Vec<_> = differing
        .map(|((family, state), count)| {
            let told = told.get(&(*family, *state));
            format!("{} {}: told {told:?}, shown {count}", family.word(), state.word())
        })
        .collect();
    lines.join("; ")
}
