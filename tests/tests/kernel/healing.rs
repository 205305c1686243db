//! What the transitions did not tell: noticed, told and mended.

use std::net::{Ipv6Addr, TcpListener, TcpStream};

use anyhow::Result;
use tcpstat_tests::addrform::become_ipv4;
use tcpstat_tests::agreement::{assert_agreement, await_agreement};
use tcpstat_tests::deadline::{DEADLINE, Look, wait_until};
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::harness::{Test, kernel_test};
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::tcp::{Family, State};

pub(crate) fn tests() -> Vec<Test> {
    vec![kernel_test(
        "a_socket_that_changes_its_family_is_a_drift_and_is_corrected",
        a_changed_family_is_corrected,
    )]
}

/// IPV6_ADDRFORM moves a socket between the families without a transition. The sum stays, so the
/// tripwire is silent: it takes two snapshots that agree.
fn a_changed_family_is_corrected(_: &Namespace) -> Result<()> {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0))?;
    let port = listener.local_addr()?.port();
    let client = TcpStream::connect(("::ffff:127.0.0.1", port))?;
    let (_accepted, _) = listener.accept()?;
    let mut exporter = Exporter::start(&["--snapshot-interval=200ms"])?;
    let before = assert_agreement(&mut exporter)?;

    become_ipv4(&client)?;
    let after = await_agreement(&mut exporter)?;
    let established = |family| (family, State::Established);
    assert_eq!(after[&established(Family::Ipv6)], before[&established(Family::Ipv6)] - 1);
    assert_eq!(after[&established(Family::Ipv4)], before[&established(Family::Ipv4)] + 1);

    let corrected = [("state", "established")];
    assert_eq!(exporter.scrape()?.value("tcpstat_corrections_total", &corrected)?, 2.0);
    assert_eq!(exporter.log().matches("corrected").count(), 2, "{}", exporter.log());
    // The next snapshot finds nothing to mend.
    wait_until("the end of the drift", DEADLINE, || {
        let drift = exporter.scrape()?;
        let drift = drift.family("tcpstat_drift_connections");
        let left: Vec<_> = drift.iter().filter(|sample| sample.value != 0.0).collect();
        Ok(if left.is_empty() { Look::Done(()) } else { Look::NotYet(format!("{left:?}")) })
    })?;
    assert_eq!(exporter.scrape()?.value("tcpstat_corrections_total", &corrected)?, 2.0);
    Ok(())
}
