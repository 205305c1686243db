//! The measured values beside their targets.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result};
use tcpstat_tests::binary::path_from;

use crate::attack;
use crate::events;
use crate::load::{IDLE_IN_CLOSE_WAIT, IDLE_SOCKETS};
use crate::samples::Samples;
use crate::scope_rows;

pub(crate) const MEGABYTE: f64 = 1e6;

/// A row: what, measured, the target, and whether it is met.
pub(crate) struct Row {
    pub(crate) what: &'static str,
    pub(crate) measured: String,
    pub(crate) target: String,
    pub(crate) met: bool,
}

/// A table in Markdown of the medians, without the values that were not measured.
///
/// # Errors
/// Fails if there is no binary.
pub(crate) fn table(samples: &Samples, sockets: usize) -> Result<String> {
    let mut text = format!(
        "{sockets} sockets, medians\n\n| what | measured | target | met |\n| --- | --- | --- | --- |\n"
    );
    let mut rows = sizes(samples, sockets).unwrap_or_default();
    rows.extend(per_transition(samples));
    rows.extend(events::rows(samples).unwrap_or_default());
    rows.extend(scope_rows::bodies(samples));
    rows.extend(scope_rows::starts(samples).unwrap_or_default());
    rows.extend(scope_rows::scopes(samples).unwrap_or_default());
    rows.extend(under_load(samples));
    rows.extend(under_attack(samples));
    rows.push(binary()?);
    for row in rows {
        let met = if row.met { "yes" } else { "no" };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| {} | {} | {} | {met} |", row.what, row.measured, row.target);
    }
    if let (Some(scrape), Some(empty)) =
        (samples.median("tcpstat", sockets), samples.median("empty", sockets))
    {
        let _ = writeln!(
            text,
            "\nAn empty handler of the same server answers in {:.3} ms: a scrape is {:.1} of it.",
            empty * 1e3,
            scrape / empty
        );
    }
    if let (Some(scrape), Some(compressed), Some(bytes)) = (
        samples.median("tcpstat", sockets),
        samples.median("tcpstat_gzip", sockets),
        samples.median("gzip_bytes", sockets),
    ) {
        let _ = writeln!(
            text,
            "\nWith gzip, as Prometheus asks for it, a scrape takes {:.3} ms instead of {:.3} ms, and its body \
             is {:.1} kB.",
            compressed * 1e3,
            scrape * 1e3,
            bytes / 1e3
        );
    }
    Ok(text)
}

/// `None` if the sizes were not measured.
fn sizes(samples: &Samples, sockets: usize) -> Option<Vec<Row>> {
    let at = |what| samples.median(what, sockets);
    let few = |what| samples.median(what, 10);
    let (scrape, node) = (at("tcpstat")?, at("node_exporter")?);
    let growth = scrape / few("tcpstat")?;
    let memory = at("memory")?;
    let memory_growth = memory / few("memory")?;
    let cat = at("cat")? + at("cat6")?;
    let mut rows = vec![
        Row {
            what: "a scrape, against node_exporter's",
            measured: format!(
                "{:.3} ms, {:.1} ms: 1/{:.0}",
                scrape * 1e3,
                node * 1e3,
                node / scrape
            ),
            target: "1/1000".to_owned(),
            met: node / scrape >= 1000.0,
        },
        Row {
            what: "the same, against 10 sockets",
            measured: format!("{growth:.2}"),
            target: "1.2".to_owned(),
            met: growth <= 1.2,
        },
        Row {
            what: "resident memory",
            measured: format!(
                "{:.1} MB (node_exporter {:.0} MB)",
                memory / MEGABYTE,
                at("node_exporter_memory")? / MEGABYTE
            ),
            target: "12 MB".to_owned(),
            met: memory <= 12.0 * MEGABYTE,
        },
        Row {
            what: "the same, against 10 sockets",
            measured: format!("{memory_growth:.2}"),
            target: "1.1".to_owned(),
            met: memory_growth <= 1.1,
        },
    ];
    for (what, pass, shown, target) in [
        ("a procfs snapshot, against `cat` of tcp and tcp6", "pass_procfs", "1.1", 1.1),
        ("an iterator snapshot, against `cat` of tcp and tcp6", "pass_iter", "0.3", 0.3),
    ] {
        let pass = at(pass)?;
        rows.push(Row {
            what,
            measured: format!("{:.0} ms, {:.0} ms: {:.2}", pass * 1e3, cat * 1e3, pass / cat),
            target: shown.to_owned(),
            met: pass / cat <= target,
        });
    }
    for (what, start, pass) in [
        ("start to ready (procfs)", "start_procfs", "pass_procfs"),
        ("start to ready (iter)", "start_iter", "pass_iter"),
    ] {
        let (start, pass) = (at(start)?, at(pass)?);
        rows.push(Row {
            what,
            measured: format!("{start:.2} s: {:.2} snapshots", start / pass),
            target: "1.5 snapshots".to_owned(),
            met: start / pass <= 1.5,
        });
    }
    Some(rows)
}

fn per_transition(samples: &Samples) -> Vec<Row> {
    let nanoseconds = |what| samples.median(what, 0).map(|seconds| seconds * 1e9);
    let end_to_end = nanoseconds("transition_cost").map(|cost| Row {
        what: "a transition, end to end",
        measured: format!("{cost:.0} ns"),
        target: "50 ns".to_owned(),
        met: cost <= 50.0,
    });
    let body = nanoseconds("program_body").map(|body| Row {
        what: "the program's body, above an empty program",
        measured: format!("{body:.0} ns"),
        target: "22 ns".to_owned(),
        met: body <= 22.0,
    });
    [end_to_end, body].into_iter().flatten().collect()
}

fn under_load(samples: &Samples) -> Vec<Row> {
    let idle = [
        ("idle_cpu", "CPU at rest, of one core"),
        (IDLE_IN_CLOSE_WAIT, "CPU at rest with 1,000 sockets in CLOSE_WAIT, of one core"),
    ];
    let idle = idle.into_iter().filter_map(|(name, what)| {
        let idle = samples.median(name, IDLE_SOCKETS)?;
        let measured = format!("{:.2} %", idle * 100.0);
        Some(Row { what, measured, target: "0.3 %".to_owned(), met: idle <= 0.003 })
    });
    let mut rows: Vec<_> = idle.collect();
    for (what, slowed_by, scrape, alone, churn) in [
        (
            "p99 of a scrape, 40 at once under churn",
            "churn slowed by them",
            "scrape_under_load",
            "churn_alone",
            "churn_scraped",
        ),
        (
            "the p99 without the unit's priority",
            "churn slowed then",
            "scrape_under_load_without_priority",
            "churn_alone_without_priority",
            "churn_scraped_without_priority",
        ),
    ] {
        let (Some(late), Some(scraped), Some(alone)) =
            (samples.quantile(scrape, 0, 0.99), samples.median(churn, 0), samples.median(alone, 0))
        else {
            continue;
        };
        let slowed = 1.0 - scraped / alone;
        rows.push(Row {
            what,
            measured: format!("{:.1} ms", late * 1e3),
            target: "10 ms".to_owned(),
            met: late <= 0.01,
        });
        rows.push(Row {
            what: slowed_by,
            measured: format!("{:.1} %", slowed * 100.0),
            target: "5 %".to_owned(),
            met: slowed <= 0.05,
        });
    }
    rows
}

fn under_attack(samples: &Samples) -> Vec<Row> {
    let p99 = |name| samples.quantile(name, 0, 0.99);
    let Some(without) = p99(attack::WITHOUT) else { return Vec::new() };
    let row = |kind: attack::Measured| {
        let late = p99(kind.name)?;
        Some(Row {
            what: kind.what,
            measured: format!("{:.1} ms: {:.1}", late * 1e3, late / without),
            target: "50 ms".to_owned(),
            met: late <= 0.05,
        })
    };
    attack::KINDS.into_iter().filter_map(row).collect()
}

fn binary() -> Result<Row> {
    let binary = path_from("TCPSTAT_BIN")?;
    let bytes = fs::metadata(&binary).with_context(|| binary.display().to_string())?.len() as f64;
    Ok(Row {
        what: "the binary",
        measured: format!("{:.1} MB", bytes / MEGABYTE),
        target: "6 MB".to_owned(),
        met: bytes <= 6.0 * MEGABYTE,
    })
}
