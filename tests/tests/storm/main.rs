//! What wants a machine to itself. A minute of connections that come and go as fast as the machine
//! can: what is lost on the way, and that nothing of it stays. And processors that go and come.

#![expect(clippy::float_cmp, reason = "the values compared are whole numbers")]

mod budget;
mod loss;
mod processors;
mod weather;

use std::env;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tcpstat_tests::corrections::Reconciles;
use tcpstat_tests::harness::{kernel_test, run_in_turn};
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::tcp::State;
use weather::Storm;

/// Shortens the storms, for work by hand; the promise is one of a minute.
const SECONDS_VARIABLE: &str = "TCPSTAT_STORM_SECONDS";

/// Set where nobody else is harmed by what is done to the machine: in a guest of the kernel matrix.
const OWN_MACHINE_VARIABLE: &str = "TCPSTAT_OWN_MACHINE";

/// The storm of the program that the exporter chooses, and of each one that is asked for.
const CHOSEN_SECONDS: u64 = 60;
const EACH_SECONDS: u64 = 15;

fn main() -> ExitCode {
    let mut tests = vec![kernel_test(
        "after_a_minute_of_storm_every_gauge_equals_proc_and_no_correction_was_false",
        after_the_storm_every_gauge_equals_proc,
    )];
    for tracer in ["btf", "tracepoint"] {
        tests.push(kernel_test(
            format!("what_{tracer}_loses_in_a_storm_is_told"),
            move |namespace: &Namespace| what_is_lost_is_told(namespace, tracer),
        ));
    }
    if env::var_os(OWN_MACHINE_VARIABLE).is_some() {
        tests.extend(processors::tests());
    }
    run_in_turn(tests)
}

/// Beside the gauges this holds:
/// - no correction was false. With nothing lost there was none; else none was taken back by a later
///   one, see [`Reconciles::taken_back`];
/// - what all of them took out of the gauges is what the flow of the transitions lacks;
/// - no more was counted than happened;
/// - listings kept to their part of the time, see [`budget`].
fn after_the_storm_every_gauge_equals_proc(namespace: &Namespace) -> Result<()> {
    let mut storm = Storm::rage(namespace, &[], duration(CHOSEN_SECONDS)?)?;
    storm.loss.write()?;
    let healed = storm.loss.healed.is_some();
    ensure!(healed, "{}\n{}", storm.left, storm.exporter.log());

    let scrape = storm.exporter.scrape()?;
    assert_eq!(scrape.value("tcpstat_consistent", &[])?, 1.0);
    let log = storm.exporter.log();
    let reconciles = Reconciles::read(&log)?;
    for state in State::ALL {
        let labels = [("state", state.word())];
        let told = scrape.value("tcpstat_corrections_total", &labels)?;
        assert_eq!(told, f64::from(u32::try_from(reconciles.sockets(state))?), "{state}: {log}");
    }
    assert_eq!(reconciles.taken_back(), None, "{log}");
    assert_eq!(reconciles.net(), storm.imbalance, "{log}");
    let none_lost = storm.loss.lost == 0 && storm.loss.counted == 0;
    ensure!(!none_lost || reconciles.corrections.is_empty(), "{log}");
    assert!(storm.loss.events <= storm.made, "{} made: {:?}", storm.made, storm.loss);
    storm.listings.assert_within_budget(storm.lasted);
    Ok(())
}

/// Losing is no failure here, for not every program is the right one for every kernel.
fn what_is_lost_is_told(namespace: &Namespace, tracer: &str) -> Result<()> {
    let storm = Storm::rage(namespace, &["--tracer", tracer], duration(EACH_SECONDS)?)?;
    storm.loss.write()?;
    let events = storm.loss.events;
    assert!(events > 0 && events <= storm.made, "{} made: {:?}", storm.made, storm.loss);
    Ok(())
}

fn duration(seconds: u64) -> Result<Duration> {
    let shortened = env::var(SECONDS_VARIABLE).ok();
    let shortened = shortened.map(|text| text.parse::<u64>()).transpose();
    let shortened = shortened.context(SECONDS_VARIABLE)?;
    Ok(Duration::from_secs(shortened.map_or(seconds, |shortened| shortened.min(seconds))))
}
