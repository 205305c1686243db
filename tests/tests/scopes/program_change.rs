//! Another program replaces the one that counts: the scopes of all kinds stay right.

use std::collections::BTreeMap;
use std::net::Shutdown;

use anyhow::{Context, Result, ensure};
use tcpstat_tests::cgroups::Cgroup;
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::exposition::Scrape;
use tcpstat_tests::harness::Test;
use tcpstat_tests::held::{Addressing, Held};
use tcpstat_tests::kernel_tests;
use tcpstat_tests::misses::churn_under_misses;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::own_scopes::{await_scope, check_sum, connections, counts};
use tcpstat_tests::resident::{Order, Resident};
use tcpstat_tests::scopes::{Labels, all_namespaces, await_right};
use tcpstat_tests::states;
use tcpstat_tests::wire::Wire;

const KINDS: [&str; 3] = ["netns", "cgroup", "port"];

/// The states whose sockets have a cgroup.
const FULL: [&str; 8] = [
    "syn_sent",
    "established",
    "fin_wait1",
    "fin_wait2",
    "close_wait",
    "last_ack",
    "closing",
    "listen",
];

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![missed_events_switch_the_program_and_every_kind_of_scope_stays_right]
}

/// A process that reads BPF maps prevents the programs of classic tracepoints from running. So transitions of the
/// busy cgroup are missed, and the next program counts right.
fn missed_events_switch_the_program_and_every_kind_of_scope_stays_right(
    namespace: &Namespace,
) -> Result<()> {
    let wire = Wire::open(namespace)?;
    let [web, states, busy] = ["web.service", "states.service", "busy.service"].map(Cgroup::new);
    let (web, states, busy) = (web?, states?, busy?);
    let mut exporter = all_namespaces(&[
        "--cgroups=*.service",
        "--ports=443,8443",
        "--tracer=tracepoint,btf",
        "--snapshot-interval=1h",
    ])
    .start()?;
    let mut resident = Resident::in_new_namespace()?;
    resident.order(&Order::Connect(3))?;
    resident.order(&Order::Leak(2))?;
    let web_sockets = web.inside(|| connections(443, 4))?;
    let (_, pairs) = &web_sockets;
    pairs[0].0.shutdown(Shutdown::Write)?;
    let held = states.inside(|| one_of_each(&wire))?;
    let in_web = [("established", 6), ("fin_wait2", 1), ("close_wait", 1), ("listen", 1)];
    let on_443 = [("established", 3), ("close_wait", 1), ("listen", 1)];
    let in_states = FULL.map(|state| (state, 1));
    let check = |exporter: &mut Exporter, in_web: &[(&str, u64)]| -> Result<()> {
        await_scope(exporter, "cgroup", &web.path(), in_web)?;
        await_scope(exporter, "cgroup", &states.path(), &in_states)?;
        await_scope(exporter, "cgroup", &busy.path(), &[])?;
        await_scope(exporter, "port", "443", &on_443)?;
        await_right(exporter, resident.pid()).with_context(|| exporter.log())?;
        await_right(exporter, std::process::id()).with_context(|| exporter.log())?;
        Ok(())
    };
    check(&mut exporter, &in_web)?;
    // The sockets until now have a cgroup that is gone.
    web.restart()?;
    let after_restart = web.inside(|| connections(0, 2))?;
    let in_web = [("established", 10), ("fin_wait2", 1), ("close_wait", 1), ("listen", 2)];
    check(&mut exporter, &in_web)?;
    let mut counted = Counted::default();
    counted.check(&exporter.scrape()?)?;

    busy.inside(|| {
        churn_under_misses(namespace, &mut exporter, |scrape| {
            counted.check(scrape)?;
            Ok(scrape.value("tcpstat_tracer_changes_total", &[])? > 0.0)
        })
    })?;
    check(&mut exporter, &in_web)?;
    counted.check(&exporter.scrape()?)?;
    // It goes on counting, in each kind.
    let more = web.inside(|| connections(8443, 1))?;
    await_scope(&mut exporter, "port", "8443", &[("established", 1), ("listen", 1)])?;
    counted.check(&exporter.scrape()?)?;
    drop((more, held, after_restart, web_sockets));
    for cgroup in [web.path(), states.path()] {
        await_scope(&mut exporter, "cgroup", &cgroup, &[])?;
    }
    counted.check(&exporter.scrape()?)
}

/// A socket in each state of full sockets.
fn one_of_each(wire: &Wire) -> Result<Vec<Held>> {
    let is_full = |(name, _): &(&str, states::Hold)| FULL.contains(name);
    let all = states::ALL.into_iter().filter(is_full);
    all.map(|(_, hold)| hold(wire, Addressing::Ipv4)).collect()
}

/// The transitions of a scrape, by labels. They never decrease.
#[derive(Default)]
struct Counted(BTreeMap<(&'static str, Labels), u64>);

impl Counted {
    fn check(&mut self, scrape: &Scrape) -> Result<()> {
        for kind in KINDS {
            if kind != "netns" {
                check_sum(scrape, kind)?;
            }
            ensure!(!counts(scrape, kind)?.is_empty(), "no gauges of the kind {kind}");
            for sample in scrape.family(&format!("tcpstat_{kind}_transitions_total")) {
                let now = sample.count().with_context(|| format!("not a count: {sample:?}"))?;
                let before = self.0.insert((kind, sample.labels.clone()), now).unwrap_or_default();
                ensure!(now >= before, "{before}, then {now}: {sample:?}");
            }
        }
        Ok(())
    }
}
