//! All that happens to an exporter in months, in minutes, around one that stays and one that is started again and again.
//! `cargo xtask soak --minutes N` makes it longer.

mod figures;
mod round;

use std::env;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use figures::Figures;
use round::Scene;
use tcpstat_tests::agreement::await_agreement;
use tcpstat_tests::harness::run_in_turn;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::Namespace;

/// How long it lasts.
const SECONDS_VARIABLE: &str = "TCPSTAT_SOAK_SECONDS";
const SECONDS: u64 = 120;

/// Rounds, at the least: the first and the last of them are compared.
const FEWEST_ROUNDS: usize = 6;

fn main() -> ExitCode {
    run_in_turn(kernel_tests![after_a_soak_nothing_has_grown_and_every_gauge_equals_proc])
}

/// Each round ends with gauges that equal /proc, in both exporters.
fn after_a_soak_nothing_has_grown_and_every_gauge_equals_proc(_: &Namespace) -> Result<()> {
    let seconds = env::var(SECONDS_VARIABLE).ok().map(|text| text.parse());
    let seconds = seconds.transpose().context(SECONDS_VARIABLE)?.unwrap_or(SECONDS);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut scene = Scene::new()?;
    let mut figures = Vec::new();
    while figures.len() < FEWEST_ROUNDS || Instant::now() < end {
        let round = figures.len();
        scene.play(round).with_context(|| format!("in round {round}"))?;
        let now = Figures::of(scene.staying.pid())?;
        println!("round {round}: {now}");
        figures.push(now);
    }
    await_agreement(&mut scene.staying)?;
    let log = scene.staying.log();
    ensure!(!log.contains("panicked"), "{log}");
    figures::assert_flat(&figures)
}
