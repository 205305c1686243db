//! Namespaces that come and go, with sockets in them: nothing of them is left, and nothing is kept alive.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result, ensure};
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::end_marks::EndMarks;
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::exposition::Scrape;
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::memory::resident_bytes;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::resident::{Order, Resident};
use tcpstat_tests::scopes::{
    all_namespaces, await_right, await_search, counts_of, gauges, infos, inode, live_namespaces,
};

use crate::is_guest;

/// Fewer slots than namespaces in all, more than there are at a time.
const SLOTS: &str = "--scopes-max=100";

/// Half of what a namespace that is not forgotten costs, in bytes, on two processors.
const HALF_OF_A_NAMESPACE: u64 = 20 << 10;

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        after_200_namespaces_have_come_and_gone_nothing_of_them_is_left,
        namespaces_that_end_at_once_leave_nothing
    ]
}

/// Waves, and namespaces of each: 200 in all, fewer where the processor is emulated.
fn waves() -> (usize, usize) {
    if is_guest() { (3, 14) } else { (4, 50) }
}

fn after_200_namespaces_have_come_and_gone_nothing_of_them_is_left(
    namespace: &Namespace,
) -> Result<()> {
    let mut staying = Resident::in_new_namespace()?;
    staying.order(&Order::Connect(3))?;
    let mut exporter = all_namespaces(&[SLOTS, "--snapshot-interval=1h"]).start()?;
    let (waves, size) = waves();
    let mut costs = Vec::new();
    for _ in 0..waves {
        wave(namespace, &mut exporter, size)?;
        await_only_live(&mut exporter)?;
        costs.push(Cost::of(&mut exporter)?);
    }
    let (first, last) = costs.first().zip(costs.last()).context("no wave")?;
    ensure!(last.descriptors <= first.descriptors, "{costs:?}");
    // The allocator may keep megabytes at one time or another. What is not forgotten stays after each wave.
    let growth = costs.windows(2).map(|pair| pair[1].memory.saturating_sub(pair[0].memory)).min();
    let bound = u64::try_from(size)? * HALF_OF_A_NAMESPACE;
    ensure!(growth.is_some_and(|growth| growth < bound), "{costs:?}");
    // The machine may have other namespaces, which come and go as well.
    let overflow = exporter.scrape()?.value("tcpstat_scopes_overflow_total", NETNS)?;
    ensure!(overflow == 0.0, "{overflow} found no slot");
    let (_, gauges) = await_right(&mut exporter, staying.pid())?;
    ensure!(gauges.values().sum::<u64>() == 7, "{gauges:?}");
    Ok(())
}

const NETNS: &[(&str, &str)] = &[("kind", "netns")];

/// That many namespaces with sockets in several states. Each is exported before it ends, some end with
/// mini-sockets and orphans in them.
fn wave(namespace: &Namespace, exporter: &mut Exporter, size: usize) -> Result<()> {
    let new = (0..size).map(|_| Resident::in_new_namespace());
    let mut residents = new.collect::<Result<Vec<_>>>()?;
    let marks = EndMarks::place(namespace, &residents)?;
    for (number, resident) in residents.iter_mut().enumerate() {
        resident.order(&Order::Connect(1 + number % 3))?;
        if number % 4 == 0 {
            resident.order(&Order::Leak(2))?;
        }
    }
    let inodes = residents.iter().map(Resident::inum).collect::<Result<BTreeSet<_>>>()?;
    await_all_exported(exporter, &inodes)?;
    drop(residents);
    marks.await_end().context("the exporter keeps namespaces alive")
}

fn await_all_exported(exporter: &mut Exporter, inodes: &BTreeSet<u64>) -> Result<()> {
    let exported = wait_until("export of all namespaces", DEADLINE, || {
        let scrape = exporter.scrape()?;
        let mut missing = inodes.clone();
        for labels in infos(&scrape)? {
            if gauges(&scrape, &labels["netns"])?.is_some() {
                missing.remove(&inode(&labels)?);
            }
        }
        Ok(match missing.len() {
            0 => Progress::Done(()),
            _ => Progress::NotYet(format!("not exported: {missing:?}")),
        })
    });
    exported.with_context(|| exporter.log())
}

/// Waits until the exported namespaces are those that have a process, each once and right.
fn await_only_live(exporter: &mut Exporter) -> Result<()> {
    let only_live = wait_until("export of live namespaces alone", DEADLINE, || {
        let _newest = await_search(exporter)?;
        let scrape = exporter.scrape()?;
        let wrong = wrong_in(&scrape, &live_namespaces()?)?;
        Ok(if wrong.is_empty() { Progress::Done(()) } else { Progress::NotYet(wrong.join("; ")) })
    });
    only_live.with_context(|| exporter.log())
}

fn wrong_in(scrape: &Scrape, live: &BTreeMap<u64, u32>) -> Result<Vec<String>> {
    let (mut wrong, mut named) = (Vec::new(), BTreeSet::new());
    let mut missing: BTreeSet<_> = live.keys().collect();
    for labels in infos(scrape)? {
        let (name, inum) = (labels["netns"].clone(), inode(&labels)?);
        match live.get(&inum).filter(|_| missing.remove(&inum)) {
            None => wrong.push(format!("{name} ({inum}) is not there")),
            Some(pid) => {
                // The process may have ended.
                let (exported, shown) = (gauges(scrape, &name)?, counts_of(*pid).ok());
                if exported.is_none() || exported != shown {
                    wrong.push(format!("{name}: {exported:?}, in /proc {shown:?}"));
                }
            }
        }
        named.insert(name);
    }
    wrong.extend(missing.iter().map(|inum| format!("{inum} is not exported")));
    // No other metric has a series of a namespace that is gone.
    let other = |name: &&String| !named.contains(*name);
    let names = scrape.samples.iter().filter_map(|sample| sample.labels.get("netns"));
    wrong.extend(names.filter(other).map(|name| format!("a series of {name}")));
    Ok(wrong)
}

/// What the exporter uses.
#[derive(Debug)]
struct Cost {
    descriptors: usize,
    memory: u64,
}

impl Cost {
    fn of(exporter: &mut Exporter) -> Result<Self> {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", exporter.pid()))?.count();
        Ok(Self { descriptors, memory: resident_bytes(exporter.pid())? })
    }
}

/// Sockets are made and closed at once, and the process ends: the exporter may never see it.
fn namespaces_that_end_at_once_leave_nothing(namespace: &Namespace) -> Result<()> {
    let mut exporter = all_namespaces(&["--snapshot-interval=1h"]).start()?;
    let (_, size) = waves();
    for _ in 0..size {
        let mut residents = [Resident::in_new_namespace()?];
        let marks = EndMarks::place(namespace, &residents)?;
        residents[0].order(&Order::Connect(2))?;
        drop(residents);
        marks.await_end()?;
    }
    await_only_live(&mut exporter)
}
