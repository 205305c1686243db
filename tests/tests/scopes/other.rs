//! When the scope `other` has gauges.

use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, anyhow};
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::harness::{Test, kernel_test};
use tcpstat_tests::kernel_release::namespaces_have_cookies;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::loopback::Pairs;
use tcpstat_tests::netns::{Namespace, within};
use tcpstat_tests::resident::{Order, Resident};
use tcpstat_tests::scopes::{Counts, OTHER, all_namespaces, await_right, gauges, live_namespaces};
use tcpstat_tests::tcp::{Family, State};

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = kernel_tests![
        other_is_counted_from_its_first_socket_on_without_a_snapshot,
        namespaces_that_end_all_the_time_do_not_keep_other_from_its_seed
    ];
    for tracer in ["off", "btf", "tracepoint"] {
        tests.push(kernel_test(
            format!("no_socket_is_left_in_other_after_its_last_namespace_with_tracer_{tracer}"),
            move |_| no_socket_is_left(tracer),
        ));
    }
    tests
}

/// Also none that only a snapshot shows: the peers of a leak are mini-sockets in FIN_WAIT2.
fn no_socket_is_left(tracer: &str) -> Result<()> {
    let tracer = format!("--tracer={tracer}");
    let (mut exporter, _last_slot) =
        without_room(&[&tracer, "--snapshot=procfs", "--snapshot-interval=200ms"])?;
    let mut member = with_sockets(2)?;
    member.order(&Order::Leak(5))?;
    await_other(&mut exporter, |other| {
        other[&State::FinWait2] >= 5 && other[&State::CloseWait] >= 5
    })?;
    member.end()?;
    wait_until("the end of all sockets in other", DEADLINE, || {
        let other = gauges(&exporter.scrape()?, OTHER)?.unwrap_or_default();
        let left: Vec<_> = other.into_iter().filter(|&(_, count)| count > 0).collect();
        Ok(if left.is_empty() { Progress::Done(()) } else { Progress::NotYet(format!("{left:?}")) })
    })
    .with_context(|| exporter.log())
}

/// No snapshot lists the sockets: no process is in their namespace.
fn other_is_counted_from_its_first_socket_on_without_a_snapshot(_: &Namespace) -> Result<()> {
    let (mut exporter, _last_slot) = without_room(&["--snapshot-interval=1h"])?;
    let resident = Resident::in_new_namespace()?;
    let file = File::open(resident.namespace_file())?;
    resident.end()?;
    let pairs = within(&file, || Pairs::connect(3, Family::Ipv6))?;
    // Before 5.12 nothing shows that its sockets are not older than the exporter, until a snapshot lists them.
    let _listed = if namespaces_have_cookies()? { None } else { Some(Resident::inside(&file)?) };
    await_other(&mut exporter, |other| {
        other[&State::Established] >= 6 && other[&State::Listen] >= 1
    })?;
    drop(pairs);
    await_other(&mut exporter, |other| other[&State::Established] < 6)
}

/// Each search lists processes that have ended when their namespaces are listed.
fn namespaces_that_end_all_the_time_do_not_keep_other_from_its_seed(_: &Namespace) -> Result<()> {
    let staying = (0..6).map(|_| with_sockets(2)).collect::<Result<Vec<_>>>()?;
    let stop = AtomicBool::new(false);
    let come_and_go = || -> Result<()> {
        let mut last = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            last.push(with_sockets(1)?);
            if last.len() > 3 {
                last.remove(0).end()?;
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let coming_and_going = scope.spawn(come_and_go);
        let shown = all_namespaces(&["--scopes-max=1"]).start().and_then(|mut exporter| {
            // All but one of those that stay are in it.
            await_other(&mut exporter, |other| other[&State::Established] >= 20)
        });
        stop.store(true, Ordering::Relaxed);
        let came_and_went = coming_and_going.join().map_err(|_| anyhow!("a panic"))?;
        shown.and(came_and_went)
    })?;
    drop(staying);
    Ok(())
}

/// An exporter in which the next namespace finds no room, as long as the second part is there: it has the last slot.
fn without_room(args: &[&str]) -> Result<(Exporter, Resident)> {
    // The own one has a slot besides.
    let others = live_namespaces()?.len() - 1;
    let slots = format!("--scopes-max={}", others + 1);
    let mut exporter = all_namespaces(&[&[&*slots], args].concat()).start()?;
    let last_slot = with_sockets(1)?;
    await_right(&mut exporter, last_slot.pid())?;
    Ok((exporter, last_slot))
}

fn with_sockets(pairs: usize) -> Result<Resident> {
    let mut resident = Resident::in_new_namespace()?;
    resident.order(&Order::Connect(pairs))?;
    Ok(resident)
}

fn await_other(exporter: &mut Exporter, wanted: impl Fn(&Counts) -> bool) -> Result<()> {
    let shown = wait_until("the gauges of other", DEADLINE, || {
        let other = gauges(&exporter.scrape()?, OTHER)?;
        let is_wanted = other.as_ref().is_some_and(&wanted);
        Ok(if is_wanted { Progress::Done(()) } else { Progress::NotYet(format!("{other:?}")) })
    });
    shown.with_context(|| exporter.log())
}
