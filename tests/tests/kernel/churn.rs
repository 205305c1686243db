//! Connections that are made and closed while the exporter starts, counts and is scraped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, anyhow};
use tcpstat_tests::agreement::{await_agreement, await_agreement_between_snapshots};
use tcpstat_tests::corrections::{
    ensure_counted, lacking, missed, unexplained_corrections, without_corrections,
};
use tcpstat_tests::deadline::DEADLINE;
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::exposition::Scrape;
use tcpstat_tests::flow::{assert_grown, transitions};
use tcpstat_tests::guest::is_guest;
use tcpstat_tests::harness::{Test, kernel_test};
use tcpstat_tests::loopback::{Churn, Pairs};
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::proc_view;
use tcpstat_tests::tcp::{Family, State};

const TRACERS: [&str; 2] = ["btf", "tracepoint"];

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for tracer in TRACERS {
        tests.push(kernel_test(
            format!("every_transition_is_counted_by_{tracer}"),
            move |_: &Namespace| every_transition_is_counted(tracer),
        ));
        tests.push(kernel_test(
            format!("a_start_during_churn_seeds_{tracer}_exactly"),
            move |_: &Namespace| without_corrections(tracer, || a_start_during_churn(tracer)),
        ));
        tests.push(kernel_test(
            format!("after_churn_all_gauges_of_{tracer}_equal_proc"),
            move |_: &Namespace| after_churn_all_gauges_equal_proc(tracer),
        ));
    }
    tests
}

/// One thread: other traffic does not interrupt the tracer between two transitions. A timer still can.
fn every_transition_is_counted(tracer: &str) -> Result<()> {
    let mut exporter = Exporter::start(&["--tracer", tracer, "--snapshot-interval=1h"])?;
    for family in Family::ALL {
        let before = exporter.scrape()?;
        let churn = Churn { threads: 1, connections: 500, family, resets: true };
        let expected = churn.run()?.transitions();
        proc_view::await_quiet(DEADLINE)?;
        let after = exporter.scrape()?;
        let mut missed = missed(&before)?;
        for ((from, to), count) in expected {
            let labels = [("family", family.word()), ("from", from.word()), ("to", to.word())];
            let value = |scrape: &Scrape| scrape.value("tcpstat_transitions_total", &labels);
            let counted = value(&after)? - value(&before)?;
            ensure_counted(&mut exporter, counted, count, missed)
                .with_context(|| format!("{labels:?}"))?;
            missed += lacking(counted, count)?;
        }
    }
    Ok(())
}

/// Several starts, each while some connections are made and closed and others stay open. The snapshot interval is
/// an hour, so only the seed and the transitions make the numbers.
fn a_start_during_churn(tracer: &str) -> Result<f64> {
    let mut unexplained = 0.0;
    let _open = [Pairs::connect(30, Family::Ipv4)?, Pairs::connect(30, Family::Ipv6)?];
    let starts = if is_guest() { 5 } else { 20 };
    for _ in 0..starts {
        let churning: Vec<_> = Family::ALL
            .into_iter()
            .map(|family| {
                let churn = Churn { threads: 1, connections: 400, family, resets: true };
                thread::spawn(move || churn.run())
            })
            .collect();
        let mut exporter = Exporter::start(&["--tracer", tracer, "--snapshot-interval=1h"])?;
        for thread in churning {
            thread.join().map_err(|_| anyhow!("churn panicked"))??;
        }
        let exported = await_agreement_between_snapshots(&mut exporter)?;
        assert_eq!(exported[&(Family::Ipv6, State::Established)], 60, "{exported:?}");
        unexplained += unexplained_corrections(&mut exporter)?;
    }
    Ok(unexplained)
}

/// Eight threads make connections while the exporter is scraped; half of the connections are reset. During churn
/// no gauge has a value to compare with, and a counter never falls.
fn after_churn_all_gauges_equal_proc(tracer: &str) -> Result<()> {
    const SCRAPES: usize = 20;
    let mut exporter = Exporter::start(&["--tracer", tracer, "--snapshot-interval=1h"])?;
    let mut counted = transitions(&exporter.scrape()?)?;
    let scraped = Arc::new(AtomicBool::new(false));
    let until = Arc::clone(&scraped);
    let churning = thread::spawn(move || -> Result<()> {
        while !until.load(Ordering::Relaxed) {
            Churn { threads: 8, connections: 250, family: Family::Ipv4, resets: true }.run()?;
        }
        Ok(())
    });
    for _ in 0..SCRAPES {
        let now = transitions(&exporter.scrape()?)?;
        assert_grown(&counted, &now)?;
        counted = now;
    }
    scraped.store(true, Ordering::Relaxed);
    churning.join().map_err(|_| anyhow!("churn panicked"))??;
    await_agreement(&mut exporter)?;
    Ok(())
}
