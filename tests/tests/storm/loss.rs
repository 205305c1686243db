//! One line on what a storm cost: for people, and for the table of all kernels.

use std::env;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result};
use tcpstat_tests::exposition::Scrape;

/// Names a file to which the line is added.
const FILE_VARIABLE: &str = "TCPSTAT_LOSSES";

/// What a storm cost.
#[derive(Clone, Debug)]
pub(crate) struct Loss {
    kernel: String,
    program: String,
    /// Transitions that were counted.
    pub(crate) events: u64,
    /// Transitions that were not, at least.
    pub(crate) lost: u64,
    /// Of these the kernel says it skipped as many.
    pub(crate) counted: u64,
    /// From the end of the storm to right gauges; `None` where they did not come.
    pub(crate) healed: Option<Duration>,
}

impl Loss {
    /// With what the exporter says of itself.
    pub(crate) fn of(
        scrape: &Scrape,
        events: u64,
        lost: u64,
        healed: Option<Duration>,
    ) -> Result<Self> {
        let info = scrape.family("tcpstat_tracer_info");
        let program = info.first().and_then(|info| info.labels.get("program"));
        let missed = scrape.family("tcpstat_events_missed_total");
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").context("osrelease")?;
        Ok(Self {
            kernel: release.trim().to_owned(),
            program: program.context("no program")?.clone(),
            events,
            lost,
            counted: missed.first().and_then(|sample| sample.count()).context("no misses")?,
            healed,
        })
    }

    /// Writes the line to the standard output, and to the file of `TCPSTAT_LOSSES`.
    pub(crate) fn write(&self) -> Result<()> {
        println!("{self}");
        let Some(path) = env::var_os(FILE_VARIABLE) else { return Ok(()) };
        let file = OpenOptions::new().create(true).append(true).open(&path);
        writeln!(file.with_context(|| format!("{}", path.display()))?, "{self}")?;
        Ok(())
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kernel, program, events, lost, counted, healed } = self;
        write!(formatter, "loss: kernel={kernel} program={program} events={events} lost={lost} ")?;
        write!(formatter, "counted={counted} healed_seconds=")?;
        match healed {
            Some(healed) => write!(formatter, "{:.1}", healed.as_secs_f64()),
            None => formatter.write_str("never"),
        }
    }
}
