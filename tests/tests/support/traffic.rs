//! Loopback traffic makes the sockets it says and leaves those it says.

use anyhow::Result;
use tcpstat_tests::deadline::DEADLINE;
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::loopback::{Churn, Churned, Pairs, mptcp_pair};
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::proc_view::{self, no_connections};
use tcpstat_tests::tcp::{Family, State};

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        pairs_are_two_established_sockets_each,
        pairs_closed_leave_time_wait,
        more_pairs_than_one_listener_takes,
        churn_leaves_only_time_wait,
        churn_with_resets_leaves_half,
        mptcp_subflows_are_tcp_sockets
    ]
}

fn pairs_are_two_established_sockets_each(_: &Namespace) -> Result<()> {
    for family in Family::ALL {
        let pairs = Pairs::connect(20, family)?;
        let mut expected = no_connections();
        expected.insert((family, State::Established), 40);
        expected.insert((family, State::Listen), 1);
        assert_eq!(proc_view::await_quiet(DEADLINE)?.connections, expected);
        drop(pairs);
        proc_view::await_connections("end of all", DEADLINE, |now| *now == no_connections())?;
    }
    Ok(())
}

fn pairs_closed_leave_time_wait(_: &Namespace) -> Result<()> {
    let mut expected = no_connections();
    for family in Family::ALL {
        Pairs::connect(20, family)?.close()?;
        expected.insert((family, State::TimeWait), 20);
        proc_view::await_connections("20 TIME_WAIT", DEADLINE, |now| *now == expected)?;
    }
    assert_eq!(proc_view::sockstat()?.tw, 40);
    Ok(())
}

fn more_pairs_than_one_listener_takes(_: &Namespace) -> Result<()> {
    let pairs = Pairs::connect(5_001, Family::Ipv4)?;
    assert_eq!((pairs.streams().len(), pairs.listeners()), (5_001, 2));
    let connections = proc_view::await_quiet(DEADLINE)?.connections;
    assert_eq!(connections[&(Family::Ipv4, State::Established)], 10_002);
    Ok(())
}

fn churn_leaves_only_time_wait(_: &Namespace) -> Result<()> {
    for family in Family::ALL {
        let standing = Pairs::connect(3, family)?;
        let before = proc_view::await_quiet(DEADLINE)?.connections;
        let done = Churn { threads: 4, connections: 250, family, resets: false }.run()?;
        assert_eq!(done, Churned { listeners: 4, orderly: 1000, reset: 0 });
        proc_view::await_connections("TIME_WAIT beside what stood before", DEADLINE, |now| {
            let mut expected = before.clone();
            // Within a second no port is used again, after it some may be.
            let left = now[&(family, State::TimeWait)];
            expected.insert((family, State::TimeWait), left);
            *now == expected && (1..=1000).contains(&left)
        })?;
        drop(standing);
        proc_view::await_connections("end of what stood", DEADLINE, |now| {
            now.iter().all(|((_, state), &left)| *state == State::TimeWait || left == 0)
        })?;
    }
    Ok(())
}

fn churn_with_resets_leaves_half(_: &Namespace) -> Result<()> {
    let churn = Churn { threads: 2, connections: 101, family: Family::Ipv6, resets: true };
    let done = churn.run()?;
    assert_eq!(done, Churned { listeners: 2, orderly: 102, reset: 100 });
    assert_eq!(done.transitions()[&(State::Established, State::Close)], 200);
    let births = done.transitions()[&(State::Close, State::SynSent)];
    assert_eq!(births, 202);
    Ok(())
}

fn mptcp_subflows_are_tcp_sockets(_: &Namespace) -> Result<()> {
    let pair = mptcp_pair(Family::Ipv4)?;
    let mut expected = no_connections();
    expected.insert((Family::Ipv4, State::Established), 2);
    expected.insert((Family::Ipv4, State::Listen), 1);
    proc_view::await_connections("subflows", DEADLINE, |now| *now == expected)?;
    drop(pair);
    proc_view::await_connections("end of the subflows", DEADLINE, |now| {
        now[&(Family::Ipv4, State::Established)] == 0
    })?;
    Ok(())
}
