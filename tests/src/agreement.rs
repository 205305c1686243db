//! Compares the exporter's numbers with those of `/proc`.

use anyhow::Result;

use crate::deadline::{DEADLINE, Progress, wait_until};
use crate::exporter::Exporter;
use crate::proc_view::{self, Connections};
use crate::tcp::{Family, State};

/// Waits until the exporter agrees with `/proc` for every family and state.
///
/// # Errors
/// Fails after [`DEADLINE`] with the differences.
pub fn await_agreement(exporter: &mut Exporter) -> Result<Connections> {
    await_equal(exporter, |connections| connections)
}

/// As [`await_agreement`]; without hooks for mini-sockets it compares the sum of TIME_WAIT over both families: how
/// the sum divides is then as old as the last snapshot.
///
/// # Errors
/// As [`await_agreement`].
pub fn await_agreement_between_snapshots(exporter: &mut Exporter) -> Result<Connections> {
    if exporter.hooks()?.contains("timewait") {
        return await_agreement(exporter);
    }
    await_equal(exporter, time_wait_together)
}

/// The differences that [`await_agreement_between_snapshots`] waits for; `None` if there are none.
///
/// # Errors
/// Fails if the exporter or `/proc` cannot be read.
pub fn difference_between_snapshots(exporter: &mut Exporter) -> Result<Option<String>> {
    let exported = time_wait_together(exporter.scrape()?.connections()?);
    let shown = time_wait_together(proc_view::connections()?);
    Ok((exported != shown).then(|| difference(&exported, &shown)))
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
        let exported = of(exporter.scrape()?.connections()?);
        let shown = of(proc_view::connections()?);
        if exported == shown {
            return Ok(Progress::Done(exported));
        }
        Ok(Progress::NotYet(difference(&exported, &shown)))
    })
}

/// Fails unless the exporter agrees with `/proc` now for every family and state.
///
/// # Errors
/// As [`await_agreement`], at once.
pub fn assert_agreement(exporter: &mut Exporter) -> Result<Connections> {
    let exported = exporter.scrape()?.connections()?;
    let shown = proc_view::connections()?;
    anyhow::ensure!(exported == shown, "{}", difference(&exported, &shown));
    Ok(exported)
}

fn difference(exported: &Connections, shown: &Connections) -> String {
    let differing = shown.iter().filter(|(key, count)| exported.get(key) != Some(count));
    let lines: Vec<_> = differing
        .map(|((family, state), count)| {
            let exported = exported.get(&(*family, *state));
            format!("{} {}: exported {exported:?}, in /proc {count}", family.word(), state.word())
        })
        .collect();
    lines.join("; ")
}
