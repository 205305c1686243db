//! The corrections that an exporter reports, and whether all of them can have been right.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::deadline::{DEADLINE, Progress, wait_until};
use crate::exporter::Exporter;
use crate::exposition::Scrape;
use crate::flow::Balance;
use crate::kernel_release::{kernel_release, series};
use crate::tcp::{Family, State};

/// Time in which the exporter checks at least once.
const CHECKS: Duration = Duration::from_secs(5);

/// The sum of `tcpstat_corrections_total` over all states.
///
/// # Errors
/// Fails if a state has no such sample.
pub fn corrections(scrape: &Scrape) -> Result<f64> {
    let of = |state: State| scrape.value("tcpstat_corrections_total", &[("state", state.word())]);
    State::ALL.into_iter().map(of).sum()
}

/// The corrections that no missed event explains, so far. A missed event leaves one gauge too high and one too low at most.
///
/// # Errors
/// As [`corrections`].
pub fn unexplained_corrections(exporter: &mut Exporter) -> Result<f64> {
    let mut read = || -> Result<(f64, String)> {
        let scrape = exporter.scrape()?;
        let (corrected, missed) = (corrections(&scrape)?, missed(&scrape)?);
        let report = format!("{corrected} corrections for {missed} missed events");
        Ok(((corrected - 2.0 * missed).max(0.0), report))
    };
    let explained = wait_until("missed events that explain the corrections", CHECKS, || {
        let (unexplained, report) = read()?;
        Ok(if unexplained > 0.0 { Progress::NotYet(report) } else { Progress::Done(()) })
    });
    if explained.is_ok() {
        return Ok(0.0);
    }
    let (unexplained, report) = read()?;
    println!("{report}: {}", exporter.log());
    Ok(unexplained)
}

/// The events that the kernel has reported as missed, as of the exporter's last check, which may be a second ago.
///
/// # Errors
/// Fails if there is no such sample.
pub fn missed(scrape: &Scrape) -> Result<f64> {
    scrape.value("tcpstat_events_missed_total", &[])
}

/// Waits until the exporter has reported all that was made and is not counted as missed: it had reported `before` missed
/// events when nothing was made.
///
/// # Errors
/// Fails with the numbers: at once if more is counted than was made, else after [`DEADLINE`].
pub fn ensure_counted(exporter: &mut Exporter, counted: f64, made: u64, before: f64) -> Result<()> {
    wait_until("report of missed events", DEADLINE, || {
        explained(counted, made, missed(&exporter.scrape()?)? - before)
    })
}

/// Whether as many events are reported as missed as are not counted.
fn explained(counted: f64, made: u64, missed: f64) -> Result<Progress<()>> {
    let explained = missed >= lacking(counted, made)?;
    let report = || format!("{counted} of {made} are counted, and {missed} reported as missed");
    Ok(if explained { Progress::Done(()) } else { Progress::NotYet(report()) })
}

/// How many of those `made` are not counted.
///
/// # Errors
/// Fails if more are counted.
pub fn lacking(counted: f64, made: u64) -> Result<f64> {
    let made = f64::from(u32::try_from(made)?);
    ensure!(counted <= made, "{made} were made, {counted} are counted");
    Ok(made - counted)
}

/// Runs `attempt`, which returns how many corrections lost events do not explain, and fails if there are any.
///
/// Before 6.7 the kernel does not count the events that the classic tracepoint misses ([`counts_misses`]), so that a
/// correction there may be right. It then has three attempts: an event is lost rarely, a wrong count comes each time.
///
/// # Errors
/// Fails if no attempt ends without a correction, and with the first error of an attempt.
pub fn without_corrections(tracer: &str, attempt: impl Fn() -> Result<f64>) -> Result<()> {
    let attempts = if counts_misses(tracer, &kernel_release()?)? { 1 } else { 3 };
    let mut unexplained = Vec::new();
    for _ in 0..attempts {
        unexplained.push(attempt()?);
        if unexplained.ends_with(&[0.0]) {
            return Ok(());
        }
    }
    bail!("corrections that no missed event explains, in each attempt: {unexplained:?}")
}

/// Whether the kernel of that release counts the events that the program misses.
fn counts_misses(tracer: &str, release: &str) -> Result<bool> {
    let series = series(release)?;
    Ok(tracer != "tracepoint" || series >= (6, 7))
}

/// Waits for a snapshot that finds no drift in any gauge.
///
/// # Errors
/// Fails with the drift that is left after [`DEADLINE`], and if the exporter reports none.
pub fn await_no_drift(exporter: &mut Exporter) -> Result<()> {
    wait_until("end of the drift", DEADLINE, || {
        let scrape = exporter.scrape()?;
        let drift = scrape.family("tcpstat_drift_connections");
        ensure!(!drift.is_empty(), "no tcpstat_drift_connections");
        let left: Vec<_> = drift.iter().filter(|sample| sample.value != 0.0).collect();
        Ok(if left.is_empty() { Progress::Done(()) } else { Progress::NotYet(format!("{left:?}")) })
    })
}

/// What the log of an exporter at `--log.level=debug` reports of its reconciles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconciles {
    /// Their number.
    pub count: u64,
    /// What each correction removed from the gauges, in order.
    pub corrections: Vec<Balance>,
}

impl Reconciles {
    /// Reads the log. A reconcile has a line of its own, followed by a line for each gauge that it corrected.
    ///
    /// # Errors
    /// Fails if a correction has no family, state or drift, or follows no reconcile.
    pub fn read(log: &str) -> Result<Self> {
        let mut reconciles = Self::default();
        let mut fresh = false;
        for line in log.lines() {
            if line.contains(" reconciled ") {
                reconciles.count += 1;
                fresh = true;
            } else if line.contains(" corrected: ") {
                let (key, drift) = corrected(line).with_context(|| line.to_owned())?;
                if std::mem::take(&mut fresh) {
                    reconciles.corrections.push(Balance::new());
                }
                let correction = reconciles.corrections.last_mut();
                correction.with_context(|| line.to_owned())?.insert(key, drift);
            }
        }
        Ok(reconciles)
    }

    /// The sum of all corrections for each gauge.
    #[must_use]
    pub fn net(&self) -> Balance {
        let mut net = Balance::new();
        for (key, drift) in self.corrections.iter().flatten() {
            *net.entry(*key).or_default() += drift;
        }
        net.retain(|_, drift| *drift != 0);
        net
    }

    /// By how many sockets the gauges of that state were corrected, up and down.
    #[must_use]
    pub fn sockets(&self, state: State) -> u64 {
        let drifts = self.corrections.iter().flatten();
        drifts.filter(|((_, of), _)| *of == state).map(|(_, drift)| drift.unsigned_abs()).sum()
    }

    /// A correction and a later one that is its exact opposite, if there are two such: one of them was false.
    ///
    /// A single gauge that is corrected up and later down proves nothing: the kernel may lose an event that
    /// raises the gauge, and later one that lowers it. But a lost event affects two states, and TCP returns to
    /// an earlier state only through CLOSE. So only a series of losses in the life of one socket could undo a
    /// loss in every gauge and change nothing else, and that is unlikely.
    #[must_use]
    pub fn taken_back(&self) -> Option<(&Balance, &Balance)> {
        self.corrections.iter().enumerate().find_map(|(number, first)| {
            let opposite = |later: &&Balance| {
                later.len() == first.len()
                    && later.iter().all(|(key, drift)| first.get(key) == Some(&-drift))
            };
            Some((first, self.corrections[number..].iter().find(opposite)?))
        })
    }
}

fn corrected(line: &str) -> Result<((Family, State), i64)> {
    let field = |name: &str| {
        let (_, rest) = line.split_once(name).context(name.to_owned())?;
        anyhow::Ok(rest.split_whitespace().next().unwrap_or_default().trim_matches('"'))
    };
    let family = Family::from_word(field(" family=")?).context("an unknown family")?;
    let state = State::from_word(field(" state=")?).context("an unknown state")?;
    Ok(((family, state), field(" drift=")?.parse().context("drift")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use State::{Established, FinWait1, SynSent};

    const RECONCILED: &str =
        "2026Z DEBUG tcpstat_user::tracker::task: reconciled reason=Interval\n";

    fn corrected(state: State, drift: i64) -> String {
        format!(
            "2026Z  INFO tcpstat_user::tracker::task: corrected: drift is the count minus the snapshot \
             family=\"ipv4\" state=\"{state}\" drift={drift}\n"
        )
    }

    fn read(parts: &[String]) -> Reconciles {
        Reconciles::read(&parts.concat()).unwrap()
    }

    fn key(state: State) -> (Family, State) {
        (Family::Ipv4, state)
    }

    #[test]
    fn only_the_classic_tracepoint_before_6_7_misses_events_that_nothing_counts() {
        let counts = |tracer, release| counts_misses(tracer, release).unwrap();
        assert!(!counts("tracepoint", "5.10.0-46-cloud-amd64"));
        assert!(!counts("tracepoint", "6.6.1"));
        assert!(counts("tracepoint", "6.7-rc1") && counts("tracepoint", "7.3.4+deb13"));
        assert!(counts("btf", "5.10.0-46-cloud-amd64"));
        assert!(counts_misses("btf", "linux").is_err());
    }

    #[test]
    fn what_is_not_counted_must_have_been_reported_as_missed() {
        let is_explained = |made, missed| match explained(56.0, made, missed) {
            Ok(Progress::Done(())) => Some(true),
            Ok(Progress::NotYet(_)) => Some(false),
            Err(_) => None,
        };
        assert_eq!(is_explained(56, 0.0), Some(true));
        assert_eq!(is_explained(57, 0.0), Some(false));
        assert_eq!(is_explained(57, 1.0), Some(true));
        assert_eq!(is_explained(58, 1.0), Some(false));
        assert_eq!(is_explained(55, 0.0), None, "more is counted than was made");
        assert_eq!(is_explained(55, 1.0), None);
    }

    #[test]
    fn the_corrections_of_one_reconcile_belong_together() {
        let found = read(&[
            RECONCILED.to_owned(),
            RECONCILED.to_owned(),
            corrected(Established, 1),
            corrected(FinWait1, -1),
            RECONCILED.to_owned(),
            corrected(FinWait1, 1),
        ]);
        assert_eq!(found.count, 3);
        let first = Balance::from([(key(Established), 1), (key(FinWait1), -1)]);
        assert_eq!(found.corrections, [first, Balance::from([(key(FinWait1), 1)])]);
        assert_eq!(found.net(), Balance::from([(key(Established), 1)]));
        assert_eq!((found.sockets(Established), found.sockets(FinWait1)), (1, 2));
    }

    #[test]
    fn two_losses_in_the_life_of_sockets_are_not_taken_for_a_false_correction() {
        let found = read(&[
            RECONCILED.to_owned(),
            corrected(Established, 1),
            corrected(FinWait1, -1),
            RECONCILED.to_owned(),
            corrected(FinWait1, 1),
            RECONCILED.to_owned(),
            corrected(SynSent, 1),
            corrected(Established, -1),
        ]);
        assert_eq!(found.taken_back(), None);
    }

    #[test]
    fn a_correction_that_a_later_one_takes_back_is_found() {
        let found = read(&[
            RECONCILED.to_owned(),
            corrected(Established, 2),
            RECONCILED.to_owned(),
            corrected(SynSent, 1),
            RECONCILED.to_owned(),
            corrected(Established, -2),
        ]);
        let (first, later) = found.taken_back().unwrap();
        assert_eq!((first[&key(Established)], later[&key(Established)]), (2, -2));
    }

    #[test]
    fn a_correction_that_cannot_be_read_is_an_error() {
        let broken = corrected(Established, 1).replace("drift=1", "drift=one");
        assert!(Reconciles::read(&format!("{RECONCILED}{broken}")).is_err());
        assert!(Reconciles::read(&corrected(Established, 1)).is_err());
    }
}
