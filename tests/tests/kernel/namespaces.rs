//! The exporter counts TCP sockets of its own namespace, or of the one at a path, and nothing else.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use tcpstat_tests::agreement::{assert_agreement, await_agreement};
use tcpstat_tests::binary::{output, path_from, tcpstat};
use tcpstat_tests::exporter::{Exporter, Options};
use tcpstat_tests::harness::{Test, kernel_test};
use tcpstat_tests::kernel_tests;
use tcpstat_tests::loopback::{Churn, Pairs, mptcp_pair};
use tcpstat_tests::mounts::PrivateMounts;
use tcpstat_tests::netns::{Namespace, elsewhere};
use tcpstat_tests::tcp::{Family, State};
use tcpstat_tests::unprivileged::{BPF_CAPABILITIES, NO_CAPABILITIES, ReachableBinary};

use crate::roots::process_elsewhere;

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for tracer in ["btf", "tracepoint"] {
        tests.push(kernel_test(
            format!("sockets_of_another_namespace_are_not_counted_with_{tracer}"),
            move |_: &Namespace| another_namespace(tracer),
        ));
        tests.push(kernel_test(
            format!("mptcp_is_counted_by_its_subflows_with_{tracer}"),
            move |_: &Namespace| mptcp(tracer),
        ));
        tests.push(kernel_test(
            format!("the_namespace_at_a_path_is_counted_with_{tracer}"),
            move |_: &Namespace| namespace_at_a_path(tracer),
        ));
    }
    tests.extend(kernel_tests![
        two_exporters_at_once_are_both_right,
        the_namespace_at_a_path_is_listed_without_a_tracer,
        ports_of_the_namespace_at_a_path_are_counted_and_their_range_is_unknown,
        check_reports_each_kind_of_scopes,
        check_reports_that_causes_ages_dwells_and_listeners_work
    ]);
    tests
}

/// Those that do not depend on the kernel.
pub(crate) fn surrounding_tests() -> Vec<Test> {
    kernel_tests![
        check_reports_what_the_kinds_of_scopes_lack,
        check_reports_that_without_a_tracer_no_causes_ages_dwells_and_listeners_work,
        check_reports_namespaces_that_procfs_hides,
        check_reports_that_it_is_in_a_pid_namespace_of_its_own,
        entering_a_namespace_without_the_capability_is_refused_with_the_remedy
    ]
}

fn another_namespace(tracer: &str) -> Result<()> {
    let mut exporter = Exporter::start(&["--tracer", tracer, "--snapshot-interval=1h"])?;
    let at_start = assert_agreement(&mut exporter)?;
    let transitions = |exporter: &mut Exporter| -> Result<f64> {
        let scrape = exporter.scrape()?;
        Ok(scrape.family("tcpstat_transitions_total").iter().map(|sample| sample.value).sum())
    };
    let before = transitions(&mut exporter)?;
    let _other = elsewhere(|_| {
        Churn { threads: 1, connections: 50, family: Family::Ipv4, resets: false }.run()?;
        Pairs::connect(10, Family::Ipv4)
    })?;
    assert_eq!(transitions(&mut exporter)?, before);
    assert_eq!(assert_agreement(&mut exporter)?, at_start);
    Ok(())
}

fn mptcp(tracer: &str) -> Result<()> {
    let mut exporter = Exporter::start(&["--tracer", tracer, "--snapshot-interval=1h"])?;
    let at_start = assert_agreement(&mut exporter)?;
    let pair = mptcp_pair(Family::Ipv4)?;
    let with_it = await_agreement(&mut exporter)?;
    let more = |state| with_it[&(Family::Ipv4, state)] - at_start[&(Family::Ipv4, state)];
    assert_eq!((more(State::Established), more(State::Listen)), (2, 1));
    drop(pair);
    await_agreement(&mut exporter)?;
    Ok(())
}

fn two_exporters_at_once_are_both_right(_: &Namespace) -> Result<()> {
    let mut first = Exporter::start(&["--snapshot-interval=1h"])?;
    let mut second = Options::default()
        .listen("127.0.0.1:10049".parse()?)
        .args(["--snapshot-interval=1h", "--tracer=tracepoint"])
        .start()?;
    let pairs = Pairs::connect(10, Family::Ipv6)?;
    await_agreement(&mut first)?;
    assert_agreement(&mut second)?;
    pairs.close()?;
    await_agreement(&mut first)?;
    await_agreement(&mut second)?;
    Ok(())
}

/// The number of established sockets that the exporter shows.
fn established(exporter: &mut Exporter) -> Result<u64> {
    Ok(exporter.scrape()?.connections()?[&(Family::Ipv4, State::Established)])
}

/// Sockets of the own namespace, such as those of the scrape, do not count. The exporter keeps the namespace alive.
fn namespace_at_a_path(tracer: &str) -> Result<()> {
    let (elsewhere, process) = process_elsewhere()?;
    let path = format!("/proc/{}/ns/net", process.id());
    let args = ["--netns", &path, "--tracer", tracer, "--snapshot-interval=1h"];
    let mut exporter = Exporter::start(&args)?;
    assert_eq!(exporter.scrape()?.value("tcpstat_tracer_up", &[])?, 1.0);
    assert_eq!(established(&mut exporter)?, 10);
    let more = elsewhere.run(|| Pairs::connect(3, Family::Ipv4))?;
    assert_eq!(established(&mut exporter)?, 16);
    let log = exporter.log();
    ensure!(log.contains(&format!("net:[{}]", elsewhere.inum())), "{log}");

    more.close()?;
    drop(elsewhere);
    let scrape = exporter.scrape()?;
    assert_eq!(scrape.value("tcpstat_consistent", &[])?, 1.0);
    assert_eq!(scrape.value("tcpstat_snapshot_errors_total", &[])?, 0.0);
    assert_eq!(established(&mut exporter)?, 0);
    let log = exporter.log();
    ensure!(!log.contains(" WARN "), "{log}");
    Ok(())
}

fn the_namespace_at_a_path_is_listed_without_a_tracer(_: &Namespace) -> Result<()> {
    let (_elsewhere, process) = process_elsewhere()?;
    let path = format!("/proc/{}/ns/net", process.id());
    let args = ["--netns", &path, "--tracer=off", "--snapshot=iter"];
    let mut exporter = Exporter::start(&args)?;
    assert_eq!(established(&mut exporter)?, 10);
    Ok(())
}

fn ports_of_the_namespace_at_a_path_are_counted_and_their_range_is_unknown(
    _: &Namespace,
) -> Result<()> {
    let (_elsewhere, process) = process_elsewhere()?;
    let path = format!("/proc/{}/ns/net", process.id());
    let args = ["--netns", &path, "--ports=443", "--snapshot-interval=1h"];
    let mut exporter = Exporter::start(&args)?;
    let other = [("port", "other"), ("state", "established")];
    assert_eq!(exporter.scrape()?.value("tcpstat_port_connections", &other)?, 10.0);
    let log = exporter.log();
    let remedy = format!("`nsenter --net={path} sysctl net.ipv4.ip_local_port_range`");
    let warnings: Vec<_> = log.lines().filter(|line| line.contains(" WARN ")).collect();
    ensure!(warnings.len() == 1 && warnings[0].ends_with(&remedy), "{log}");
    Ok(())
}

fn entering_a_namespace_without_the_capability_is_refused_with_the_remedy(
    _: &Namespace,
) -> Result<()> {
    let run = ReachableBinary::copy()?.run(&["serve", "--netns=/proc/self/ns/net"])?;
    let line = "tcpstat: --netns /proc/self/ns/net: entering this network namespace: \
                Operation not permitted (os error 1): grant CAP_SYS_ADMIN";
    ensure!(run.status == Some(1) && run.stderr.starts_with(line), "{run:?}");
    assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
    Ok(())
}

/// The lines of a report about a subject.
fn about<'a>(report: &'a str, subject: &str) -> Result<Vec<&'a str>> {
    let mut lines = report.lines().skip_while(|line| !line.starts_with(subject));
    let first = lines.next().with_context(|| format!("nothing about {subject}: {report}"))?;
    let more = lines.take_while(|line| line.starts_with(' '));
    Ok(std::iter::once(first).chain(more).collect())
}

fn check_reports_each_kind_of_scopes(_: &Namespace) -> Result<()> {
    let _elsewhere = process_elsewhere()?;
    let report = tcpstat(["check"])?.stdout;
    let netns = about(&report, "netns ")?;
    let found = netns[0].split_whitespace().nth(1).context("no number")?.parse::<u64>()?;
    // That of the process, and that of this machine.
    ensure!(found >= 2 && netns[0].ends_with("others found by iter/task"), "{report}");
    let counted = |line: &&str| {
        let mistakes = [", and mistakes none for an earlier one", ", and can mistake a new one"];
        mistakes.iter().any(|mistakes| line.contains(&format!(" counts them{mistakes}")))
    };
    ensure!(netns.iter().any(counted), "{report}");
    assert_eq!(about(&report, "cgroup ")?.len(), 1, "{report}");
    ensure!(about(&report, "port ")?[0].contains(" works: "), "{report}");
    Ok(())
}

/// The subjects of `check` that are about single sockets.
const FEATURES: [&str; 4] = ["causes ", "ages ", "dwells ", "listeners "];

fn check_reports_that_causes_ages_dwells_and_listeners_work(_: &Namespace) -> Result<()> {
    let report = tcpstat(["check"])?.stdout;
    for subject in FEATURES {
        let lines = about(&report, subject)?;
        ensure!(lines.len() == 1 && lines[0].contains(" works: "), "{subject}: {report}");
    }
    let netns = about(&report, "netns ")?;
    let held = netns.iter().find_map(|line| line.split_once("their ages and listening sockets: "));
    let (_, held) = held.with_context(|| report.clone())?;
    // Since Linux 5.12, as the cookie of a namespace.
    let has_cookie = netns.iter().any(|line| line.contains("each has a cookie"));
    let expected = if has_cookie { "works" } else { "not shown: " };
    ensure!(held.starts_with(expected), "{report}");
    let walk = if has_cookie {
        "one walk for the first counts of many: works"
    } else {
        "each is listed by itself at the start: "
    };
    ensure!(netns.iter().any(|line| line.contains(walk)), "{report}");
    Ok(())
}

fn check_reports_that_without_a_tracer_no_causes_ages_dwells_and_listeners_work(
    _: &Namespace,
) -> Result<()> {
    let report = ReachableBinary::copy()?.run(&["check"])?.stdout;
    for subject in FEATURES {
        let lines = about(&report, subject)?;
        let is_off = lines.len() == 1 && lines[0].ends_with(" does not work without a tracer");
        ensure!(is_off, "{subject}: {report}");
    }
    ensure!(!report.contains("their ages and listening sockets"), "{report}");
    Ok(())
}

fn check_reports_what_the_kinds_of_scopes_lack(_: &Namespace) -> Result<()> {
    let report = ReachableBinary::copy()?.run(&["check"])?.stdout;
    let netns = about(&report, "netns ")?;
    ensure!(netns[0].ends_with(" found in the files of processes"), "{report}");
    for words in ["iter/task refused: ", "grant CAP_BPF and CAP_PERFMON", "snapshots only"] {
        ensure!(netns.iter().any(|line| line.contains(words)), "{words}: {report}");
    }
    ensure!(about(&report, "port ")?[0].ends_with("does not work without a tracer"), "{report}");
    Ok(())
}

fn check_reports_namespaces_that_procfs_hides(_: &Namespace) -> Result<()> {
    let _elsewhere = process_elsewhere()?;
    PrivateMounts::enter()?.proc("hidepid=2")?;
    let binary = ReachableBinary::copy()?;
    for (capabilities, how) in
        [(NO_CAPABILITIES, "in the files of processes"), (BPF_CAPABILITIES, "by iter/task")]
    {
        let report = output(binary.command(capabilities).arg("check"))?.stdout;
        let netns = about(&report, "netns ")?;
        // The processes of this user that other tests run are not hidden.
        ensure!(netns[0].ends_with(&format!(" found {how}")), "{report}");
        let hidden = netns.iter().find(|line| line.contains("namespaces or processes hidden"));
        let number = hidden.and_then(|line| line.split_whitespace().next()).unwrap_or_default();
        ensure!(number.parse::<u64>()? >= 1, "{report}");
    }
    Ok(())
}

fn check_reports_that_it_is_in_a_pid_namespace_of_its_own(_: &Namespace) -> Result<()> {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc"]).arg(path_from("TCPSTAT_BIN")?).arg("check");
    let report = output(&mut command)?.stdout;
    let netns = about(&report, "netns ")?;
    ensure!(netns[0].ends_with(" 0 others found by iter/task"), "{report}");
    ensure!(netns.iter().any(|line| line.contains("hostPID: true, --pid host")), "{report}");
    Ok(())
}
