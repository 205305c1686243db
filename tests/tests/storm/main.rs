//! Tests that need a machine of their own: storms, which are connections made and closed as fast as the
//! machine can, and processors that go offline and come back.

#![expect(clippy::float_cmp, reason = "the values compared are whole numbers")]

mod budget;
mod namespaces;
mod processors;
mod storm;

use std::env;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use storm::Storm;
use tcpstat_tests::corrections::Reconciles;
use tcpstat_tests::guest::is_guest;
use tcpstat_tests::harness::{kernel_test, run_in_turn};
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::tcp::State;

/// Shortens the storms, for work by hand; the promise is one minute.
const SECONDS_VARIABLE: &str = "TCPSTAT_STORM_SECONDS";

/// The storm of the program that the exporter chooses, and each of the others.
const CHOSEN_SECONDS: u64 = 60;
const NAMED_SECONDS: u64 = 15;

fn main() -> ExitCode {
    let mut tests =
        kernel_tests![after_a_minute_of_storm_every_gauge_equals_proc_and_no_correction_was_false];
    for tracer in ["btf", "tracepoint"] {
        tests.push(kernel_test(
            format!("after_a_storm_every_gauge_of_{tracer}_equals_proc"),
            move |namespace: &Namespace| every_gauge_equals_proc(namespace, tracer),
        ));
    }
    tests.extend(kernel_tests![a_storm_in_three_namespaces_at_once_is_healed]);
    if is_guest() {
        tests.extend(processors::tests());
    }
    run_in_turn(tests)
}

/// Besides the gauges it checks that
/// - no correction was false: with nothing lost there is none; otherwise no later one takes one back, see
///   [`Reconciles::taken_back`];
/// - the corrections together remove exactly what the counted transitions lack;
/// - no more transitions are counted than happened;
/// - the snapshots keep to their budget, see [`budget`].
fn after_a_minute_of_storm_every_gauge_equals_proc_and_no_correction_was_false(
    namespace: &Namespace,
) -> Result<()> {
    let mut storm = Storm::run(namespace, &[], duration(CHOSEN_SECONDS)?)?;
    assert_healed(&storm)?;

    let scrape = storm.exporter.scrape()?;
    let log = storm.exporter.log();
    let reconciles = Reconciles::read(&log)?;
    for state in State::ALL {
        let labels = [("state", state.word())];
        let exported = scrape.value("tcpstat_corrections_total", &labels)?;
        let logged = f64::from(u32::try_from(reconciles.sockets(state))?);
        assert_eq!(exported, logged, "{state}: {log}");
    }
    assert_eq!(reconciles.taken_back(), None, "{log}");
    assert_eq!(reconciles.net(), storm.imbalance, "{log}");
    let none_lost = storm.loss.lost == 0 && storm.loss.counted == 0;
    ensure!(!none_lost || reconciles.corrections.is_empty(), "{log}");
    storm.snapshots.assert_within_budget(storm.length);
    Ok(())
}

/// A program may lose transitions, for no program is the best one on every kernel; the gauges must heal.
fn every_gauge_equals_proc(namespace: &Namespace, tracer: &str) -> Result<()> {
    let storm = Storm::run(namespace, &["--tracer", tracer], duration(NAMED_SECONDS)?)?;
    assert_healed(&storm)
}

fn a_storm_in_three_namespaces_at_once_is_healed(_: &Namespace) -> Result<()> {
    namespaces::healed_in_three_at_once(duration(NAMED_SECONDS)?)
}

fn assert_healed(storm: &Storm) -> Result<()> {
    let Storm { loss, made, left, exporter, .. } = storm;
    ensure!(loss.healed.is_some(), "{loss}: {left}\n{}", exporter.log());
    ensure!(loss.events > 0 && loss.events <= *made, "{made} made: {loss}");
    Ok(())
}

fn duration(seconds: u64) -> Result<Duration> {
    let shortened = env::var(SECONDS_VARIABLE).ok();
    let shortened = shortened.map(|text| text.parse::<u64>()).transpose();
    let shortened = shortened.context(SECONDS_VARIABLE)?;
    Ok(Duration::from_secs(shortened.map_or(seconds, |shortened| shortened.min(seconds))))
}
