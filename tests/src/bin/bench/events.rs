//! `tcpstat events` beside connections: what it costs the processes whose transitions it shows, and what its own process takes.
//!
//! The connections are made on one core. Where there is another one, `tcpstat events` runs there.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tcpstat_tests::binary::path_from;
use tcpstat_tests::loopback::Churn;
use tcpstat_tests::tcp::Family;

use crate::Effort;
use crate::load::cpu_seconds;
use crate::samples::Samples;
use crate::table::Row;
use crate::transitions::per_transition;

/// Samples of the time of a transition beside each, with the flags of `tcpstat events`.
const WITHOUT: &str = "events_none";
const ALL: &str = "events_all";
const LEFT_OUT: &str = "events_left_out";
const CASES: [(&str, &[&str]); 2] = [(ALL, &[]), (LEFT_OUT, &["--port=1"])];

/// Samples of the processor time of its process for each transition.
const READER: &str = "events_reader";

/// The time in which a process on a core of its own shows 200,000 transitions a second.
const READER_TARGET: f64 = 5e-6;

pub(crate) fn measure(effort: Effort, samples: &mut Samples) -> Result<()> {
    eprintln!("events ...");
    let (rounds, connections) = if effort.short { (1, 200) } else { (20, 4_000) };
    for _ in 0..rounds {
        samples.add(WITHOUT, 0, per_transition(connections)?.processor);
        for (name, flags) in CASES {
            let events = Events::start(flags)?;
            samples.add(name, 0, per_transition(connections)?.processor);
            events.end()?;
        }
    }
    let events = Events::start(&[])?;
    let before = cpu_seconds(events.process.id())?;
    // Whole ticks of the processor time, a hundredth of a second each.
    let connections = if effort.short { 200 } else { 100_000 };
    Churn { threads: 1, connections, family: Family::Ipv4, resets: true }.run()?;
    let spent = cpu_seconds(events.process.id())? - before;
    let (shown, lost) = events.end()?;
    ensure!(lost == 0, "{lost} of {shown} transitions were lost");
    samples.add(READER, 0, spent / shown as f64);
    Ok(())
}

/// `None` if they were not measured.
pub(crate) fn rows(samples: &Samples) -> Option<Vec<Row>> {
    let median = |name| samples.median(name, 0);
    let (without, reader) = (median(WITHOUT)?, median(READER)?);
    let slowed = |name, what| {
        let more = median(name)? - without;
        Some(Row {
            what,
            measured: format!("{:.1} % ({:.0} ns)", more / without * 100.0, more * 1e9),
            target: "3 %".to_owned(),
            met: more <= 0.03 * without,
        })
    };
    Some(vec![
        slowed(ALL, "connections slowed by tcpstat events, which shows all of their transitions")?,
        slowed(LEFT_OUT, "connections slowed by tcpstat events, whose filters leave them out")?,
        Row {
            what: "tcpstat events, processor time for a transition in JSON",
            measured: format!("{:.2} us", reader * 1e6),
            target: "5 us (200,000/s)".to_owned(),
            met: reader <= READER_TARGET,
        },
    ])
}

/// A running `tcpstat events --json` that writes its lines to a file.
struct Events {
    process: Child,
    output: tempfile::NamedTempFile,
}

impl Events {
    /// Returns when the program is attached.
    fn start(flags: &[&str]) -> Result<Self> {
        let output = tempfile::NamedTempFile::new()?;
        let mut process = Command::new(path_from("TCPSTAT_BIN")?)
            .args(["events", "--json", "--netns=all", "--buffer=64MiB"])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(output.reopen()?)
            .stderr(Stdio::piped())
            .spawn()
            .context("tcpstat events")?;
        let stderr = process.stderr.take().context("no standard error")?;
        for line in BufReader::new(stderr).lines() {
            let line = line?;
            if line.contains("showing transitions") {
                return Ok(Self { process, output });
            }
            eprintln!("    {line}");
        }
        bail!("tcpstat events did not start: {:?}", process.wait()?)
    }

    /// Ends it, and returns how many transitions it has shown and lost.
    fn end(mut self) -> Result<(u64, u64)> {
        kill(Pid::from_raw(self.process.id().try_into()?), Signal::SIGTERM)?;
        let status = self.process.wait()?;
        ensure!(status.success(), "tcpstat events: {status}");
        let lines = BufReader::new(self.output.reopen()?).lines();
        let last = lines.last().context("no line")??;
        let end: Value = serde_json::from_str(&last).context(last)?;
        let number = |name: &str| end[name].as_u64().with_context(|| format!("{name}: {end}"));
        Ok((number("events")?, number("lost")?))
    }
}
