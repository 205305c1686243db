//! Surroundings that are not as usual: what of the kernel is hidden, gone, or written otherwise.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use tcpstat_tests::agreement::{assert_agreement, await_agreement};
use tcpstat_tests::binary::{output, tcpstat};
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::exporter::{Exporter, Options};
use tcpstat_tests::harness::{Test, kernel_test};
use tcpstat_tests::loopback::{Churn, Pairs};
use tcpstat_tests::mounts::PrivateMounts;
use tcpstat_tests::netns::{Namespace, elsewhere};
use tcpstat_tests::proc_view;
use tcpstat_tests::tcp::{Family, State};
use tempfile::NamedTempFile;

use crate::privileges::ReachableBinary;

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = vec![
        kernel_test("with_hidden_processes_the_numbers_are_right", hidden_processes),
        kernel_test("unprivileged_with_hidden_processes_too", unprivileged_with_hidden_processes),
        kernel_test("a_namespace_that_lost_its_name_is_served_to_its_end", a_name_that_is_gone),
        kernel_test(
            "when_the_process_whose_proc_is_listed_ends_one_line_says_so_and_the_numbers_stay",
            a_process_that_ends,
        ),
        kernel_test("a_member_that_tp_btf_alone_needs_costs_that_rung", one_rung_less),
        kernel_test("a_member_that_both_need_costs_the_tracer", no_rung_left),
    ];
    for tracer in ["btf", "tracepoint", "off"] {
        tests.push(kernel_test(
            format!("with_ipv4_alone_the_numbers_are_right_with_{tracer}"),
            move |_: &Namespace| ipv4_alone(tracer),
        ));
    }
    tests
}

/// A procfs of which a user sees no process but the own (Documentation/filesystems/proc.rst, 4).
const HIDDEN: &str = "hidepid=2";

fn hidden_processes(_: &Namespace) -> Result<()> {
    PrivateMounts::enter()?.proc(HIDDEN)?;
    let mut exporter = Exporter::start(&["--snapshot-interval=200ms"])?;
    let _pairs = Pairs::connect(5, Family::Ipv6)?;
    await_agreement(&mut exporter)?;
    assert_eq!(exporter.scrape()?.value("tcpstat_tracer_up", &[])?, 1.0);
    Ok(())
}

fn unprivileged_with_hidden_processes(_: &Namespace) -> Result<()> {
    PrivateMounts::enter()?.proc(HIDDEN)?;
    let binary = ReachableBinary::copy()?;
    let mut exporter = binary.serve(&["--snapshot-interval=200ms"])?;
    let _pairs = Pairs::connect(5, Family::Ipv6)?;
    await_agreement(&mut exporter)?;
    Ok(())
}

/// The name is gone, the namespace is not: this thread and the exporter are still in it.
fn a_name_that_is_gone(namespace: &Namespace) -> Result<()> {
    const NAME: &str = "tcpstat-test";
    let _mounts = PrivateMounts::enter()?;
    fs::create_dir_all("/var/run/netns").context("/var/run/netns")?;
    let ip = |verb: &str, rest: &[&str]| -> Result<()> {
        let run = output(Command::new("ip").args(["netns", verb, NAME]).args(rest))?;
        ensure!(run.status == Some(0), "ip netns {verb}: {run:?}");
        Ok(())
    };
    ip("attach", &[&std::process::id().to_string()])?;
    let mut exporter = Exporter::start(&["--snapshot-interval=200ms"])?;
    assert_agreement(&mut exporter)?;

    ip("delete", &[])?;
    ensure!(!Path::new("/var/run/netns").join(NAME).exists(), "the name is still there");
    let pairs = Pairs::connect(5, Family::Ipv4)?;
    let told = await_agreement(&mut exporter)?;
    assert_eq!(told[&(Family::Ipv4, State::Established)], 12);
    drop(pairs);
    await_agreement(&mut exporter)?;
    assert_eq!(exporter.scrape()?.value("tcpstat_snapshot_errors_total", &[])?, 0.0);
    ensure!(exporter.stop()?.success());
    assert_eq!(proc_view::connections()?[&(Family::Ipv4, State::Listen)], 0, "{namespace:?}");
    Ok(())
}

/// Listing goes by a process of another namespace. When that ends nothing is known any more: the last
/// numbers stay, and their age (`tcpstat_snapshot_timestamp_seconds`) and the errors tell of it.
fn a_process_that_ends(_: &Namespace) -> Result<()> {
    let (send, receive) = std::sync::mpsc::channel();
    let elsewhere = elsewhere(move |_| {
        let sleep = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn()?;
        send.send(sleep)?;
        Pairs::connect(3, Family::Ipv4)
    })?;
    let mut sleep = receive.recv()?;
    let procfs = format!("/proc/{}", sleep.id());
    let mut exporter = Options::default()
        .args(["--snapshot-interval=200ms", "--path.procfs"])
        .args([&procfs])
        .start()?;
    let before = exporter.scrape()?.connections()?;
    assert_eq!(before[&(Family::Ipv4, State::Established)], 6);
    let warnings = warnings(&exporter);

    sleep.kill()?;
    sleep.wait()?;
    wait_until("snapshots that failed", DEADLINE, || {
        let failed = exporter.scrape()?.value("tcpstat_snapshot_errors_total", &[])?;
        Ok(if failed >= 3.0 { Progress::Done(()) } else { Progress::NotYet(failed.to_string()) })
    })?;
    // Not before: a listing that had begun goes on, and would show sockets that are ending.
    drop(elsewhere);
    let log = exporter.log();
    let told: Vec<_> = log.lines().filter(|line| line.contains("snapshot failed")).collect();
    // The file that was to be opened next.
    let named = ["tcp", "tcp6"].map(|file| format!("{procfs}/net/{file}: "));
    let names_it = |line: &str| named.iter().any(|file| line.contains(file));
    ensure!(told.len() == 1 && names_it(told[0]), "{log}");
    ensure!(self::warnings(&exporter) == warnings + 1, "{log}");
    assert_eq!(exporter.scrape()?.connections()?, before);
    assert_eq!(exporter.get("/-/healthy")?.status, 200);
    ensure!(exporter.stop()?.success());
    Ok(())
}

fn warnings(exporter: &Exporter) -> usize {
    exporter.log().matches(" WARN ").count()
}

/// Has the kernel's BTF have another name instead of `member`; everything else stays.
pub(crate) fn rename_member(mounts: &PrivateMounts, member: &str) -> Result<NamedTempFile> {
    let renamed = format!("{}__", &member[..member.len() - 2]);
    change_names(mounts, &[(member, &renamed)])
}

/// Has the kernel's BTF have other names, as long as those that they replace.
pub(crate) fn change_names(
    mounts: &PrivateMounts,
    names: &[(&str, &str)],
) -> Result<NamedTempFile> {
    const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";
    let mut types = fs::read(KERNEL_BTF).context(KERNEL_BTF)?;
    let mut places = Vec::new();
    for (name, _) in names {
        let text = [b"\0", name.as_bytes(), b"\0"].concat();
        let found = types.windows(text.len()).position(|window| window == text);
        places.push(found.with_context(|| format!("{name} is not in {KERNEL_BTF}"))? + 1);
    }
    for (at, (name, other)) in places.into_iter().zip(names) {
        assert_eq!(name.len(), other.len(), "{name} {other}");
        types[at..at + other.len()].copy_from_slice(other.as_bytes());
    }
    let file = NamedTempFile::new()?;
    fs::write(file.path(), types)?;
    mounts.replace(Path::new(KERNEL_BTF), file.path())?;
    Ok(file)
}

fn one_rung_less(_: &Namespace) -> Result<()> {
    const MISSING: &str = "kernel BTF has no `__sk_common.skc_v6_daddr` in `struct sock`";
    let _file = rename_member(&PrivateMounts::enter()?, "skc_v6_daddr")?;
    let mut exporter = Options::default().start()?;
    let _pairs = Pairs::connect(5, Family::Ipv6)?;
    await_agreement(&mut exporter)?;
    let program = [("program", "tracepoint")];
    assert_eq!(exporter.scrape()?.value("tcpstat_tracer_info", &program)?, 1.0);

    let run = tcpstat(["check"])?;
    ensure!(run.status == Some(0) && run.stdout.contains(MISSING), "{run:?}");
    // Only where that rung is the first choice there is cause to tell of it.
    let first = tcpstat_first_choice(&run.stdout);
    let told = exporter.log().lines().filter(|line| line.contains(MISSING)).count();
    ensure!(told == usize::from(first == Some("tp_btf")), "{}", exporter.log());
    Ok(())
}

/// The rungs stand in the report of `tcpstat check` in the order in which they are tried.
fn tcpstat_first_choice(report: &str) -> Option<&str> {
    let words = report.lines().filter_map(|line| line.split_whitespace().next());
    words.into_iter().find(|word| ["tp_btf", "tracepoint"].contains(word))
}

fn no_rung_left(_: &Namespace) -> Result<()> {
    let _file = rename_member(&PrivateMounts::enter()?, "skc_net")?;
    let mut exporter = Options::default().args(["--snapshot-interval=200ms"]).start()?;
    let _pairs = Pairs::connect(5, Family::Ipv6)?;
    await_agreement(&mut exporter)?;
    assert_eq!(exporter.scrape()?.value("tcpstat_tracer_up", &[])?, 0.0);

    let log = exporter.log();
    let told: Vec<_> = log.lines().filter(|line| line.contains(" WARN ")).collect();
    ensure!(told.len() == 1, "{log}");
    for rung in ["tp_btf", "tracepoint"] {
        let cause = format!("{rung}: kernel BTF has no `__sk_common.skc_net.net` in `struct sock`");
        ensure!(told[0].contains(&cause), "{log}");
    }
    ensure!(tcpstat(["check"])?.status == Some(1), "check would not run the tracer");
    Ok(())
}

/// Where IPv6 is off at boot there is no /proc/net/tcp6 and no IPv6 socket; the sums that prove the
/// numbers are those of IPv4.
fn ipv4_alone(tracer: &str) -> Result<()> {
    let off = fs::read_to_string("/proc/cmdline")?.contains("ipv6.disable=1");
    assert_eq!(Path::new("/proc/self/net/tcp6").exists(), !off);
    let mut exporter = Exporter::start(&["--tracer", tracer, "--snapshot-interval=200ms"])?;
    let _pairs = Pairs::connect(5, Family::Ipv4)?;
    Churn { threads: 2, connections: 100, family: Family::Ipv4, resets: true }.run()?;
    let told = await_agreement(&mut exporter)?;
    assert_eq!(told[&(Family::Ipv4, State::Established)], 12);
    let scrape = exporter.scrape()?;
    let ipv6 = [("kind", "inuse"), ("family", "ipv6")];
    assert_eq!(scrape.value("tcpstat_sockstat_sockets", &ipv6)?, 0.0);
    ensure!(!exporter.log().contains(" WARN "), "{}", exporter.log());
    Ok(())
}
