//! Measured beside the targets.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result};
use tcpstat_tests::binary::path_from;

use crate::load::IDLE_SOCKETS;
use crate::samples::Samples;

/// A table in Markdown of the medians.
pub(crate) fn table(samples: &Samples, sockets: usize) -> Result<String> {
    let at = |what| samples.median(what, sockets);
    let few = |what| samples.median(what, 10);
    let (scrape, node) = (at("tcpstat")?, at("node_exporter")?);
    let cat = at("cat")?;
    let (memory, megabyte) = (at("memory")?, 1e6);
    let cost = samples.median("transition_cost", 0)? * 1e9;
    let late = samples.quantile("scrape_under_load", 0, 0.99)?;
    let slowed = 1.0 - samples.median("churn_scraped", 0)? / samples.median("churn_alone", 0)?;
    let idle = samples.median("idle_cpu", IDLE_SOCKETS)?;
    let binary = path_from("TCPSTAT_BIN")?;
    let binary = fs::metadata(&binary).with_context(|| binary.display().to_string())?.len() as f64;
    let empty = at("empty")?;

    let mut text = format!("{sockets} sockets, medians\n\n| what | measured | target | met |\n");
    text.push_str("| --- | --- | --- | --- |\n");
    let mut row = |what: &str, measured: String, target: &str, met: bool| {
        let met = if met { "yes" } else { "no" };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| {what} | {measured} | {target} | {met} |");
    };
    row(
        "a scrape, against node_exporter's",
        format!("{:.3} ms, {:.1} ms: 1/{:.0}", scrape * 1e3, node * 1e3, node / scrape),
        "1/1000",
        node / scrape >= 1000.0,
    );
    let ratio = scrape / few("tcpstat")?;
    row("the same, against 10 sockets", format!("{ratio:.2}"), "1.2", ratio <= 1.2);
    row(
        "resident memory",
        format!(
            "{:.1} MB (node_exporter {:.0} MB)",
            memory / megabyte,
            at("node_exporter_memory")? / megabyte
        ),
        "12 MB",
        memory <= 12.0 * megabyte,
    );
    let ratio = memory / few("memory")?;
    row("the same, against 10 sockets", format!("{ratio:.2}"), "1.1", ratio <= 1.1);
    row("a transition, end to end", format!("{cost:.0} ns"), "50 ns", cost <= 50.0);
    let both = cat + at("cat6")?;
    for (what, pass, target) in
        [("a procfs pass", at("pass_procfs")?, 1.1), ("an iterator pass", at("pass_iter")?, 0.3)]
    {
        row(
            &format!("{what}, against `cat` of tcp and tcp6"),
            format!("{:.0} ms, {:.0} ms: {:.2}", pass * 1e3, both * 1e3, pass / both),
            &target.to_string(),
            pass / both <= target,
        );
    }
    row("CPU at rest, of one core", format!("{:.2} %", idle * 100.0), "0.3 %", idle <= 0.003);
    row(
        "p99 of a scrape, 40 at once under churn",
        format!("{:.1} ms", late * 1e3),
        "10 ms",
        late <= 0.01,
    );
    row("churn slowed by them", format!("{:.1} %", slowed * 100.0), "5 %", slowed <= 0.05);
    for (source, start, pass) in
        [("procfs", "start_procfs", "pass_procfs"), ("iter", "start_iter", "pass_iter")]
    {
        let ratio = at(start)? / at(pass)?;
        let measured = format!("{:.2} s: {ratio:.2} passes", at(start)?);
        row(&format!("start to ready ({source})"), measured, "1.5 passes", ratio <= 1.5);
    }
    row("the binary", format!("{:.1} MB", binary / megabyte), "6 MB", binary <= 6.0 * megabyte);
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "\nAn empty handler of the same server answers in {:.3} ms: a scrape is {:.1} of it.",
        empty * 1e3,
        scrape / empty
    );
    Ok(text)
}
