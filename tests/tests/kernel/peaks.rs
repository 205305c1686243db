//! Bursts between two scrapes.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use tcpstat_tests::agreement::await_agreement_between_snapshots;
use tcpstat_tests::events::EventStream;
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::exposition::Scrape;
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::loopback::Pairs;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::tcp::{Family, State};

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![a_burst_between_two_scrapes_is_in_the_peaks]
}

/// The burst lasts until a sample has seen it, which is at most a second.
fn a_burst_between_two_scrapes_is_in_the_peaks(_: &Namespace) -> Result<()> {
    let mut exporter = Exporter::start(&["--snapshot-interval=1h"])?;
    let before = exporter.scrape()?;
    ensure!(peaks(&before)?[&State::Established] < 100);

    let mut samples = EventStream::open(exporter.address(), "/api/v1/stream")?;
    let pairs = [Pairs::connect(60, Family::Ipv4)?, Pairs::connect(40, Family::Ipv6)?];
    let mut seen = 0;
    while seen < 200 {
        let event = samples.next_event()?.context("the stream has ended")?;
        if event.name == "sample" {
            let of = |family: Family| {
                event.data["connections"][family.word()]["established"].as_u64().unwrap_or(0)
            };
            seen = Family::ALL.into_iter().map(of).sum();
        }
    }
    drop((pairs, samples));
    await_agreement_between_snapshots(&mut exporter)?;
    let after = exporter.scrape()?;
    let (gauges, peaks) = (gauges(&after)?, peaks(&after)?);
    assert_eq!(peaks.len(), State::ALL.len());
    ensure!(gauges[&State::Established] < 100, "{gauges:?}");
    // A connection of this test can have come or gone since that sample.
    ensure!((200..=210).contains(&peaks[&State::Established]), "{peaks:?}, {seen} seen");
    for (state, sockets) in gauges {
        ensure!(peaks[&state] >= sockets, "{state}: {sockets} now, {peaks:?}");
    }
    Ok(())
}

fn peaks(scrape: &Scrape) -> Result<BTreeMap<State, u64>> {
    let samples = scrape.family("tcpstat_connections_peak").into_iter();
    let read = samples.map(|sample| {
        let state = sample.labels.get("state").and_then(|word| State::from_word(word));
        state.zip(sample.count()).with_context(|| format!("{sample:?}"))
    });
    read.collect()
}

/// Both families together.
fn gauges(scrape: &Scrape) -> Result<BTreeMap<State, u64>> {
    let mut sums = BTreeMap::new();
    for ((_, state), sockets) in scrape.connections()? {
        *sums.entry(state).or_default() += sockets;
    }
    Ok(sums)
}
