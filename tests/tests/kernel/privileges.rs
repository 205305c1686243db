//! Without root: what works, and which remedy is printed for the rest.

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
use tcpstat_tests::agreement::await_agreement;
use tcpstat_tests::binary::{output, tcpstat};
use tcpstat_tests::exporter::{Exporter, FREQUENT_SNAPSHOTS};
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::loopback::Pairs;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::proc_view;
use tcpstat_tests::tcp::Family;
use tcpstat_tests::unprivileged::{BPF_CAPABILITIES, ReachableBinary};

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        without_privileges_snapshots_are_served_and_one_line_says_why,
        with_the_tracer_off_snapshots_are_served,
        with_two_capabilities_tp_btf_runs,
        show_needs_no_privileges,
        check_succeeds_if_the_tracer_runs,
        check_fails_without_privileges_and_says_what_to_grant
    ]
}

fn without_privileges_snapshots_are_served_and_one_line_says_why(_: &Namespace) -> Result<()> {
    let binary = ReachableBinary::copy()?;
    let mut exporter = binary.serve(&FREQUENT_SNAPSHOTS)?;
    let _pairs = Pairs::connect(5, Family::Ipv6)?;
    await_agreement(&mut exporter)?;
    let scrape = exporter.scrape()?;
    assert_eq!(scrape.value("tcpstat_tracer_up", &[])?, 0.0);
    let log = exporter.log();
    let warnings: Vec<_> = log.lines().filter(|line| line.contains("WARN")).collect();
    ensure!(warnings.len() == 1, "{log}");
    ensure!(warnings[0].contains("grant CAP_BPF and CAP_PERFMON"), "{log}");
    Ok(())
}

fn with_the_tracer_off_snapshots_are_served(_: &Namespace) -> Result<()> {
    let mut exporter = Exporter::start(&[&["--tracer=off"], &FREQUENT_SNAPSHOTS[..]].concat())?;
    let _pairs = Pairs::connect(5, Family::Ipv4)?;
    await_agreement(&mut exporter)?;
    assert_eq!(exporter.scrape()?.value("tcpstat_tracer_up", &[])?, 0.0);
    assert!(
        !exporter.log().contains("WARN"),
        "a warning although the flag turns the tracer off: {}",
        exporter.log()
    );
    Ok(())
}

fn with_two_capabilities_tp_btf_runs(_: &Namespace) -> Result<()> {
    // Before 5.11 the kernel charges maps to this limit, and the two capabilities may not raise it. If this
    // process may not either, later kernels ignore it and earlier ones fail the test.
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
    let binary = ReachableBinary::copy()?;
    let run = output(binary.command(BPF_CAPABILITIES).arg("check"))?;
    ensure!(run.status == Some(0), "{run:?}");
    ensure!(run.stdout.contains("CAP_BPF yes, CAP_PERFMON yes"), "{}", run.stdout);
    let tp_btf = run.stdout.lines().find(|line| line.starts_with("tp_btf"));
    ensure!(tp_btf.is_some_and(|line| line.ends_with("runs")), "{}", run.stdout);
    ensure!(run.stdout.contains(" found by iter/task"), "{}", run.stdout);
    ensure!(!run.stdout.contains(" hidden"), "{}", run.stdout);
    Ok(())
}

fn show_needs_no_privileges(_: &Namespace) -> Result<()> {
    let _pairs = Pairs::connect(7, Family::Ipv4)?;
    let run = ReachableBinary::copy()?.run(&["show", "--json"])?;
    ensure!(run.status == Some(0), "{run:?}");
    let shown: serde_json::Value = serde_json::from_str(&run.stdout)?;
    for ((family, state), count) in proc_view::connections()? {
        assert_eq!(shown[family.word()][state.word()], count, "{family:?} {state:?}");
    }
    Ok(())
}

fn check_succeeds_if_the_tracer_runs(namespace: &Namespace) -> Result<()> {
    let run = tcpstat(["check"])?;
    ensure!(run.status == Some(0), "{run:?}");
    ensure!(run.stdout.contains(&format!("net:[{}]", namespace.inum())), "{}", run.stdout);
    let verdict = run.stdout.lines().last().context("check prints nothing")?;
    ensure!(verdict.starts_with("tracer") && verdict.contains("would run, with"), "{verdict}");
    Ok(())
}

fn check_fails_without_privileges_and_says_what_to_grant(_: &Namespace) -> Result<()> {
    let run = ReachableBinary::copy()?.run(&["check"])?;
    ensure!(run.status == Some(1), "{run:?}");
    for part in ["CAP_BPF no, CAP_PERFMON no", "grant CAP_BPF and CAP_PERFMON", "would not run"] {
        ensure!(run.stdout.contains(part), "{part}: {}", run.stdout);
    }
    Ok(())
}
