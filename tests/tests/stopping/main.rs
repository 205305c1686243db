//! File systems and pipes that hang or are full do not block the exporter, nor its stop. The file systems that hang
//! are FUSE; the tests do not depend on the kernel otherwise.

mod files;
mod log;

use std::process::ExitCode;

use anyhow::Result;
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::harness::run;
use tcpstat_tests::scraper::Scraper;

fn main() -> ExitCode {
    let mut tests = files::tests();
    tests.extend(log::tests());
    run(tests)
}

/// Waits for another snapshot.
pub(crate) fn await_snapshot(scraper: &mut Scraper) -> Result<()> {
    let finished =
        |scraper: &mut Scraper| scraper.scrape()?.value("tcpstat_snapshot_timestamp_seconds", &[]);
    let before = finished(scraper)?;
    wait_until("another snapshot", DEADLINE, || {
        let now = finished(scraper)?;
        Ok(if now > before { Progress::Done(()) } else { Progress::NotYet(now.to_string()) })
    })
}
