//! A namespace that appears after the start is right from its first socket on.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::harness::{Test, kernel_test};
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::resident::{Order, Resident};
use tcpstat_tests::scopes::{all_namespaces, await_right, transitions};
use tcpstat_tests::tcp::State;

pub(crate) fn tests() -> Vec<Test> {
    let test = |program: &'static str| {
        kernel_test(
            format!("a_new_namespace_is_right_from_its_first_socket_on_with_{program}"),
            move |_: &Namespace| from_the_first_socket_on(program),
        )
    };
    ["btf", "tracepoint"].into_iter().map(test).collect()
}

/// Every transition is counted once, and no snapshot helps: the next one is an hour away. Some of the
/// namespaces get their first socket in the same moment in which they appear.
fn from_the_first_socket_on(program: &str) -> Result<()> {
    let args = ["--tracer", program, "--snapshot-interval=1h"];
    let mut exporter = all_namespaces(&args).start()?;
    let mut residents = Vec::new();
    for pairs in 1..=8 {
        let mut resident = Resident::in_new_namespace()?;
        resident.order(&Order::Connect(pairs))?;
        residents.push((resident, u64::try_from(pairs)?));
    }
    for (resident, pairs) in &mut residents {
        assert_exact(&mut exporter, resident, *pairs)?;
        resident.order(&Order::Connect(1))?;
        assert_exact(&mut exporter, resident, *pairs + 1)?;
    }
    Ok(())
}

/// The gauges equal `/proc`, and the transitions are those of so many connections to their listeners.
fn assert_exact(exporter: &mut Exporter, resident: &Resident, made: u64) -> Result<()> {
    use State::{Close, Established, Listen, SynRecv, SynSent};
    let found = await_right(exporter, resident.pid());
    let (name, gauges) = found.with_context(|| exporter.log())?;
    ensure!(gauges[&Established] == 2 * made, "{gauges:?}");
    let expected = BTreeMap::from([
        ((Close, Listen), gauges[&Listen]),
        ((Close, SynSent), made),
        ((SynSent, Established), made),
        ((Listen, SynRecv), made),
        ((SynRecv, Established), made),
    ]);
    let scrape = exporter.scrape()?;
    let counted = transitions(&scrape, &name)?;
    ensure!(counted == expected, "{name}: {counted:?}\n{}", exporter.log());
    let consistent = scrape.value("tcpstat_netns_consistent", &[("netns", &name)])?;
    ensure!(consistent == 1.0, "{name} is not consistent\n{}", exporter.log());
    Ok(())
}
