//! What hangs or is full does not hold up the exporter, nor its end. The file systems that hang are FUSE's; nothing
//! here depends on the kernel otherwise.

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

/// Waits until the sockets have been listed once more.
pub(crate) fn await_listing(scraper: &mut Scraper) -> Result<()> {
    let finished =
        |scraper: &mut Scraper| scraper.scrape()?.value("tcpstat_snapshot_timestamp_seconds", &[]);
    let before = finished(scraper)?;
    wait_until("another listing", DEADLINE, || {
        let now = finished(scraper)?;
        Ok(if now > before { Progress::Done(()) } else { Progress::NotYet(now.to_string()) })
    })
}
