//! Residents: processes that hold sockets in namespaces of their own. And what notices the end of a namespace.

use std::fs::File;

use anyhow::{Result, ensure};
use tcpstat_tests::deadline::DEADLINE;
use tcpstat_tests::end_marks::EndMarks;
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::loopback::Pairs;
use tcpstat_tests::netns::{Namespace, ip, within};
use tcpstat_tests::proc_view::{self, await_connections};
use tcpstat_tests::resident::{Order, Resident};
use tcpstat_tests::scopes::{Counts, counts_of, live_namespaces};
use tcpstat_tests::tcp::{Family, State};

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        a_resident_holds_what_it_was_ordered_to_make_in_its_own_namespace,
        a_resident_reports_what_prevents_an_order,
        a_resident_can_leave_its_namespace,
        an_orphan_outlives_its_process,
        a_namespace_is_destroyed_with_its_last_socket,
        an_open_file_of_a_namespace_keeps_it_alive
    ]
}

fn above_zero(counts: Counts) -> Counts {
    counts.into_iter().filter(|(_, count)| *count > 0).collect()
}

fn a_resident_holds_what_it_was_ordered_to_make_in_its_own_namespace(
    namespace: &Namespace,
) -> Result<()> {
    let mut resident = Resident::in_new_namespace()?;
    assert_ne!(resident.inum()?, namespace.inum());
    assert_eq!(live_namespaces()?.get(&resident.inum()?), Some(&resident.pid()));
    resident.order(&Order::Connect(3))?;
    resident.order(&Order::Leak(5))?;
    let counts = counts_of(resident.pid())?;
    assert_eq!(counts[&State::Established], 6);
    assert_eq!(counts[&State::CloseWait], 5);
    assert_eq!(counts[&State::Listen], 1);
    resident.order(&Order::Close)?;
    let counts = counts_of(resident.pid())?;
    assert_eq!(counts[&State::Established] + counts[&State::CloseWait], 0);
    assert_eq!(proc_view::connections()?, proc_view::no_connections());
    Ok(())
}

fn a_resident_reports_what_prevents_an_order(_: &Namespace) -> Result<()> {
    let mut resident = Resident::start()?;
    let orders = [
        (Order::Enter("/no/such/file".into()), "/no/such/file"),
        (Order::Orphan, "it has made no namespace"),
    ];
    for (order, obstacle) in orders {
        let answer = resident.order(&order);
        ensure!(
            answer.as_ref().is_err_and(|it| format!("{it:#}").contains(obstacle)),
            "{answer:?}"
        );
    }
    // It goes on.
    resident.order(&Order::NewNamespace)
}

fn a_resident_can_leave_its_namespace(namespace: &Namespace) -> Result<()> {
    let mut resident = Resident::in_new_namespace()?;
    resident.order(&Order::Connect(1))?;
    let own = Resident::start()?;
    resident.order(&Order::Enter(own.namespace_file()))?;
    assert_eq!(resident.inum()?, namespace.inum());
    assert_eq!(counts_of(resident.pid())?, counts_of(own.pid())?);
    Ok(())
}

fn an_orphan_outlives_its_process(namespace: &Namespace) -> Result<()> {
    let mut resident = Resident::in_new_namespace()?;
    resident.order(&Order::Orphan)?;
    let orphan = Counts::from([(State::FinWait1, 1)]);
    assert_eq!(above_zero(counts_of(resident.pid())?), orphan);
    let residents = [resident];
    let marks = EndMarks::place(namespace, &residents)?;
    let [resident] = residents;
    let file = File::open(resident.namespace_file())?;
    resident.end()?;
    within(&file, || {
        assert_eq!(proc_view::connections()?[&(Family::Ipv4, State::FinWait1)], 1);
        ip(&["link set lo up"])?;
        // The peer is gone: the next retransmission is answered by a reset.
        await_connections("end of the orphan", DEADLINE, |connections| {
            *connections == proc_view::no_connections()
        })
    })?;
    assert_eq!(marks.left()?, 1);
    drop(file);
    marks.await_end()
}

fn a_namespace_is_destroyed_with_its_last_socket(namespace: &Namespace) -> Result<()> {
    let residents = [Resident::in_new_namespace()?];
    let marks = EndMarks::place(namespace, &residents)?;
    let [resident] = residents;
    let pairs =
        within(&File::open(resident.namespace_file())?, || Pairs::connect(1, Family::Ipv4))?;
    resident.end()?;
    assert_eq!(marks.left()?, 1);
    drop(pairs);
    marks.await_end()
}

fn an_open_file_of_a_namespace_keeps_it_alive(namespace: &Namespace) -> Result<()> {
    let (kept, other) = (Resident::in_new_namespace()?, Resident::in_new_namespace()?);
    let marks = EndMarks::place(namespace, std::slice::from_ref(&kept))?;
    let others = EndMarks::place(namespace, std::slice::from_ref(&other))?;
    let file = File::open(format!("/proc/{}/net/tcp", kept.pid()))?;
    drop((kept, other));
    others.await_end()?;
    assert_eq!(marks.left()?, 1);
    drop(file);
    marks.await_end()
}
