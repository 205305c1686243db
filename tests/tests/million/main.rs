//! A million sockets: what takes more memory than a small machine has.

#![expect(clippy::float_cmp, reason = "the values compared are whole numbers")]

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::exposition::Scrape;
use tcpstat_tests::harness::run;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::population::Population;

const SOCKETS: f64 = 1e6;

/// The listener and the connections to this exporter and to those before.
const OTHERS: f64 = 10.0;

fn main() -> ExitCode {
    run(kernel_tests![both_sources_list_a_million_sockets_and_auto_selects_the_iterator])
}

fn both_sources_list_a_million_sockets_and_auto_selects_the_iterator(_: &Namespace) -> Result<()> {
    let _population = Population::hold(Path::new(env!("CARGO_BIN_EXE_populate")), 1_000_000)?;
    for (choice, source) in [("procfs", "procfs"), ("iter", "iter"), ("auto", "iter")] {
        let mut exporter = Exporter::start(&["--snapshot", choice])?;
        let scrape = exporter.scrape()?;
        let rows = scrape.value("tcpstat_snapshot_rows", &[("source", source)])?;
        ensure!((SOCKETS..SOCKETS + OTHERS).contains(&rows), "{rows}");
        assert_eq!(sum(&scrape, "tcpstat_snapshot_connections"), rows);
        assert_eq!(sum(&scrape, "tcpstat_connections"), sum(&scrape, "tcpstat_sockstat_sockets"));
        assert_eq!(scrape.value("tcpstat_consistent", &[])?, 1.0, "{}", exporter.log());
        ensure!(!exporter.log().contains("WARN"), "{}", exporter.log());
    }
    Ok(())
}

fn sum(scrape: &Scrape, family: &str) -> f64 {
    scrape.family(family).iter().map(|sample| sample.value).sum()
}
