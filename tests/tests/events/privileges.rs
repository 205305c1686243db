//! What a stream needs: two capabilities.

use std::process::Stdio;

use anyhow::{Result, ensure};
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
use tcpstat_tests::binary::output;
use tcpstat_tests::event_record::summaries;
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::pid_namespace::as_process_1;
use tcpstat_tests::tcp::Family;
use tcpstat_tests::transition_stream::Stream;
use tcpstat_tests::unprivileged::{BPF_CAPABILITIES, NO_CAPABILITIES, ReachableBinary};

use crate::scene::{Scene, assert_exact_by};

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        with_two_capabilities_an_unprivileged_user_sees_every_transition,
        without_capabilities_one_line_says_what_to_grant,
        in_a_pid_namespace_one_line_says_that_no_process_is_shown
    ]
}

fn with_two_capabilities_an_unprivileged_user_sees_every_transition(_: &Namespace) -> Result<()> {
    // Before 5.11 the kernel charges maps to this limit, and the two capabilities may not raise it.
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
    let binary = ReachableBinary::copy()?;
    let mut scene = Scene::new(Family::Ipv4, 0)?;
    let start = || Stream::run(binary.command(BPF_CAPABILITIES), &[]);
    assert_exact_by(start, || {
        scene.next_ports();
        scene.orderly()?;
        scene.orderly_expected()
    })
}

fn without_capabilities_one_line_says_what_to_grant(_: &Namespace) -> Result<()> {
    let binary = ReachableBinary::copy()?;
    let mut command = binary.command(NO_CAPABILITIES);
    let run = output(command.args(["events", "--duration=1s"]).stderr(Stdio::piped()))?;
    ensure!(run.status == Some(1) && run.stdout.is_empty(), "{run:?}");
    ensure!(run.stderr.lines().count() == 1, "{run:?}");
    ensure!(run.stderr.contains("CAP_BPF and CAP_PERFMON"), "{run:?}");
    Ok(())
}

/// The kernel gives the ids of the host alone.
fn in_a_pid_namespace_one_line_says_that_no_process_is_shown(_: &Namespace) -> Result<()> {
    as_process_1(1, one_line_says_that_no_process_is_shown)
}

fn one_line_says_that_no_process_is_shown() -> Result<()> {
    let mut scene = Scene::new(Family::Ipv4, 0)?;
    let stream = Stream::start(&[])?;
    scene.orderly()?;
    let shown = stream
        .await_own("all transitions", |shown| shown.iter().any(|one| one.from == "last_ack"))?;
    ensure!(
        !shown.is_empty() && shown.iter().all(|one| one.process.is_none()),
        "{}",
        summaries(&shown)
    );
    let log = stream.log();
    let lines = log.lines().filter(|line| line.contains("processes are not shown"));
    assert_eq!(lines.count(), 1, "{log}");
    Ok(())
}
