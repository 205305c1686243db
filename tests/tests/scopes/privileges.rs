//! What an unprivileged exporter sees of other namespaces: with two capabilities, and without BPF.

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
use serde_json::Value;
use tcpstat_tests::agreement::await_agreement;
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::mounts::PrivateMounts;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::resident::{Order, Resident};
use tcpstat_tests::scopes::{
    FREQUENT, all_namespaces, await_one_with, await_right, counts_of, infos, transitions,
};
use tcpstat_tests::unprivileged::{BPF_CAPABILITIES, NO_CAPABILITIES, ReachableBinary};

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        with_two_capabilities_an_unprivileged_user_counts_other_namespaces,
        without_bpf_an_unprivileged_user_has_snapshots_of_other_namespaces,
        namespaces_that_an_unprivileged_user_may_not_read_are_hidden,
        with_the_tracer_off_snapshots_of_other_namespaces_are_served
    ]
}

fn with_two_capabilities_an_unprivileged_user_counts_other_namespaces(_: &Namespace) -> Result<()> {
    // Before 5.11 the kernel charges maps to this limit. If this process may not raise it, later kernels
    // ignore it and earlier ones fail the test.
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
    let mut before = Resident::in_new_namespace()?;
    before.order(&Order::Connect(3))?;
    before.order(&Order::Leak(2))?;
    let binary = ReachableBinary::copy()?;
    let options = binary.exporter(BPF_CAPABILITIES).args(["--netns=all", "--snapshot-interval=1h"]);
    let mut exporter = options.start()?;
    let scrape = exporter.scrape()?;
    ensure!(scrape.value("tcpstat_tracer_up", &[])? == 1.0, "{}", exporter.log());
    let mut after = Resident::in_new_namespace()?;
    after.order(&Order::Connect(4))?;
    for resident in [&mut before, &mut after] {
        await_right(&mut exporter, resident.pid()).with_context(|| exporter.log())?;
        resident.order(&Order::Connect(1))?;
        await_right(&mut exporter, resident.pid()).with_context(|| exporter.log())?;
    }
    assert_eq!(hidden(&mut exporter)?, 0.0);
    Ok(())
}

fn without_bpf_an_unprivileged_user_has_snapshots_of_other_namespaces(_: &Namespace) -> Result<()> {
    let binary = ReachableBinary::copy()?;
    let options = binary.exporter(NO_CAPABILITIES).args(["--netns=all"]).args(FREQUENT);
    let mut exporter = options.start()?;
    assert_served(&mut exporter)?;
    assert_eq!(hidden(&mut exporter)?, 0.0, "{}", exporter.log());
    // The user may not read the numbers of namespaces with processes of root.
    let unknown = infos(&exporter.scrape()?)?;
    let mut unknown = unknown.iter().filter(|labels| labels["netns"].starts_with("procfs-"));
    let labels = unknown.next().context("each inode is known")?;
    ensure!(labels["inode"].is_empty(), "{labels:?}");
    let answer: Value = serde_json::from_str(&exporter.get("/api/v1/scopes")?.body)?;
    let scopes = answer["kinds"][0]["scopes"].as_array().context("scopes")?;
    let scope = scopes.iter().find(|scope| scope["name"] == *labels["netns"]).context("none")?;
    ensure!(scope["netns"]["inode"].is_null(), "{scope:#}");
    Ok(())
}

fn with_the_tracer_off_snapshots_of_other_namespaces_are_served(_: &Namespace) -> Result<()> {
    let args = [&["--tracer=off"], &FREQUENT[..]].concat();
    let mut exporter = all_namespaces(&args).start()?;
    assert_served(&mut exporter)?;
    ensure!(!exporter.log().contains("WARN"), "{}", exporter.log());
    Ok(())
}

/// Two namespaces that differ and change, without a tracer. They may have no inode number: to read it takes
/// privileges.
fn assert_served(exporter: &mut Exporter) -> Result<()> {
    assert_eq!(exporter.scrape()?.value("tcpstat_tracer_up", &[])?, 0.0);
    let mut residents = [Resident::in_new_namespace()?, Resident::in_new_namespace()?];
    for (resident, pairs) in residents.iter_mut().zip([31, 37]) {
        resident.order(&Order::Connect(pairs))?;
    }
    let before = names(exporter, &residents)?;
    for resident in &mut residents {
        resident.order(&Order::Connect(2))?;
    }
    assert_eq!(names(exporter, &residents)?, before);
    let scrape = exporter.scrape()?;
    for name in before {
        ensure!(transitions(&scrape, &name)?.is_empty(), "transitions without a tracer");
    }
    Ok(())
}

/// The name of the one namespace that has the gauges of each resident.
fn names(exporter: &mut Exporter, residents: &[Resident]) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for resident in residents {
        let shown = counts_of(resident.pid())?;
        names.push(await_one_with(exporter, &shown).with_context(|| exporter.log())?);
    }
    Ok(names)
}

/// With `hidepid=1` the processes of others are there, and their files are not.
fn namespaces_that_an_unprivileged_user_may_not_read_are_hidden(_: &Namespace) -> Result<()> {
    let mut resident = Resident::in_new_namespace()?;
    resident.order(&Order::Connect(2))?;
    let mounts = PrivateMounts::enter()?;
    mounts.proc("hidepid=1")?;
    let binary = ReachableBinary::copy()?;
    let options = binary.exporter(NO_CAPABILITIES).args(["--netns=all"]).args(FREQUENT);
    let mut exporter = options.start()?;
    let found = wait_until("hidden namespace", DEADLINE, || {
        let some = hidden(&mut exporter)? >= 1.0;
        Ok(if some { Progress::Done(()) } else { Progress::NotYet("none is hidden".to_owned()) })
    });
    found.with_context(|| exporter.log())?;
    // What it may read is served.
    await_agreement(&mut exporter)?;
    Ok(())
}

fn hidden(exporter: &mut Exporter) -> Result<f64> {
    exporter.scrape()?.value("tcpstat_scopes_hidden", &[("kind", "netns")])
}
