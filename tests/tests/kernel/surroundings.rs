//! Unusual surroundings: parts of /proc and /sys that are hidden, missing, or different.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use tcpstat_tests::agreement::{assert_agreement, await_agreement};
use tcpstat_tests::binary::{output, tcpstat};
use tcpstat_tests::corrections::ensure_counted;
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::exporter::{Exporter, FREQUENT_SNAPSHOTS, Options};
use tcpstat_tests::harness::{Test, kernel_test};
use tcpstat_tests::kernel_tests;
use tcpstat_tests::loopback::{Churn, Pairs};
use tcpstat_tests::mounts::PrivateMounts;
use tcpstat_tests::netns::{Namespace, elsewhere};
use tcpstat_tests::owned_child::OwnedChild;
use tcpstat_tests::proc_view;
use tcpstat_tests::tcp::{Family, State};
use tcpstat_tests::unprivileged::ReachableBinary;
use tempfile::NamedTempFile;

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = kernel_tests![
        with_hidden_processes_the_numbers_are_right,
        with_hidden_processes_the_numbers_are_right_without_privileges,
        a_namespace_whose_name_is_deleted_is_still_served,
        if_the_observed_process_ends_one_line_says_so_and_the_numbers_stay,
        without_a_member_that_only_tp_btf_needs_the_tracepoint_counts,
        with_a_member_of_another_size_the_tracepoint_counts,
        without_rcv_tstamp_only_ages_are_missing,
        without_a_member_that_both_programs_need_there_is_no_tracer
    ];
    for (tracer, structure, member) in
        [("btf", "tcp_sock", "total_retrans"), ("tracepoint", "sock", "sk_err")]
    {
        tests.push(kernel_test(
            format!("without_{member}_only_causes_and_ages_are_missing_with_{tracer}"),
            move |_: &Namespace| {
                let metrics = [CAUSES, AGES].concat();
                without(tracer, structure, member, &metrics, "causes not counted")
            },
        ));
    }
    for tracer in ["btf", "tracepoint", "off"] {
        tests.push(kernel_test(
            format!("with_only_ipv4_the_numbers_are_right_with_{tracer}"),
            move |_: &Namespace| ipv4_alone(tracer),
        ));
    }
    tests
}

/// A procfs in which a user sees only the own processes (Documentation/filesystems/proc.rst, 4).
const HIDDEN: &str = "hidepid=2";

fn with_hidden_processes_the_numbers_are_right(_: &Namespace) -> Result<()> {
    PrivateMounts::enter()?.proc(HIDDEN)?;
    let mut exporter = Exporter::start(&FREQUENT_SNAPSHOTS)?;
    let _pairs = Pairs::connect(5, Family::Ipv6)?;
    await_agreement(&mut exporter)?;
    assert_eq!(exporter.scrape()?.value("tcpstat_tracer_up", &[])?, 1.0);
    Ok(())
}

fn with_hidden_processes_the_numbers_are_right_without_privileges(_: &Namespace) -> Result<()> {
    PrivateMounts::enter()?.proc(HIDDEN)?;
    let binary = ReachableBinary::copy()?;
    let mut exporter = binary.serve(&FREQUENT_SNAPSHOTS)?;
    let _pairs = Pairs::connect(5, Family::Ipv6)?;
    await_agreement(&mut exporter)?;
    Ok(())
}

/// The name is deleted, the namespace is not: this thread and the exporter are still in it.
fn a_namespace_whose_name_is_deleted_is_still_served(namespace: &Namespace) -> Result<()> {
    const NAME: &str = "tcpstat-test";
    let _mounts = PrivateMounts::enter()?;
    fs::create_dir_all("/var/run/netns").context("/var/run/netns")?;
    let ip = |verb: &str, rest: &[&str]| -> Result<()> {
        let run = output(Command::new("ip").args(["netns", verb, NAME]).args(rest))?;
        ensure!(run.status == Some(0), "ip netns {verb}: {run:?}");
        Ok(())
    };
    ip("attach", &[&std::process::id().to_string()])?;
    let mut exporter = Exporter::start(&FREQUENT_SNAPSHOTS)?;
    assert_agreement(&mut exporter)?;

    ip("delete", &[])?;
    ensure!(!Path::new("/var/run/netns").join(NAME).exists(), "the name is still there");
    let pairs = Pairs::connect(5, Family::Ipv4)?;
    let counts = await_agreement(&mut exporter)?;
    assert_eq!(counts[&(Family::Ipv4, State::Established)], 12);
    drop(pairs);
    await_agreement(&mut exporter)?;
    assert_eq!(exporter.scrape()?.value("tcpstat_snapshot_errors_total", &[])?, 0.0);
    ensure!(exporter.stop()?.success());
    assert_eq!(proc_view::connections()?[&(Family::Ipv4, State::Listen)], 0, "{namespace:?}");
    Ok(())
}

/// The snapshots read /proc of a process in another namespace. When that process ends, the last numbers stay;
/// their age (`tcpstat_snapshot_timestamp_seconds`) and the error count show that they are old.
fn if_the_observed_process_ends_one_line_says_so_and_the_numbers_stay(_: &Namespace) -> Result<()> {
    let (send, receive) = std::sync::mpsc::channel();
    let elsewhere = elsewhere(move |_| {
        let sleep = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn()?;
        send.send(OwnedChild::from(sleep))?;
        Pairs::connect(3, Family::Ipv4)
    })?;
    let mut sleep = receive.recv()?;
    let procfs = format!("/proc/{}", sleep.id());
    let mut exporter =
        Options::default().args(FREQUENT_SNAPSHOTS).args(["--path.procfs", &procfs]).start()?;
    let before = exporter.scrape()?.connections()?;
    assert_eq!(before[&(Family::Ipv4, State::Established)], 6);
    let warnings = warnings(&exporter);

    sleep.kill()?;
    sleep.wait()?;
    wait_until("snapshots that failed", DEADLINE, || {
        let failed = exporter.scrape()?.value("tcpstat_snapshot_errors_total", &[])?;
        Ok(if failed >= 3.0 { Progress::Done(()) } else { Progress::NotYet(failed.to_string()) })
    })?;
    // Not earlier: a snapshot that has begun continues, and would show sockets that are ending.
    drop(elsewhere);
    let log = exporter.log();
    let failures: Vec<_> = log.lines().filter(|line| line.contains("snapshot failed")).collect();
    // Whichever file was opened next.
    let named = ["tcp", "tcp6"].map(|file| format!("{procfs}/net/{file}: "));
    let names_it = |line: &str| named.iter().any(|file| line.contains(file));
    ensure!(failures.len() == 1 && names_it(failures[0]), "{log}");
    ensure!(self::warnings(&exporter) == warnings + 1, "{log}");
    assert_eq!(exporter.scrape()?.connections()?, before);
    assert_eq!(exporter.get("/-/healthy")?.status, 200);
    ensure!(exporter.stop()?.success());
    Ok(())
}

fn warnings(exporter: &Exporter) -> usize {
    exporter.log().matches(" WARN ").count()
}

/// Renames `member` in the kernel's BTF; everything else stays.
pub(crate) fn rename_member(mounts: &PrivateMounts, member: &str) -> Result<NamedTempFile> {
    let renamed = format!("{}__", &member[..member.len() - 2]);
    change_names(mounts, &[(member, &renamed)])
}

/// Replaces names in the kernel's BTF by others of the same length.
pub(crate) fn change_names(
    mounts: &PrivateMounts,
    names: &[(&str, &str)],
) -> Result<NamedTempFile> {
    let mut types = fs::read(KERNEL_BTF).context(KERNEL_BTF)?;
    let offsets =
        names.iter().map(|(name, _)| position(&types, name)).collect::<Result<Vec<_>>>()?;
    for (at, (name, other)) in offsets.into_iter().zip(names) {
        assert_eq!(name.len(), other.len(), "{name} {other}");
        types[at..at + other.len()].copy_from_slice(other.as_bytes());
    }
    replace_types(mounts, &types)
}

/// Gives a member in the kernel's BTF the offset of `other`, a member of the same structure.
pub(crate) fn change_offset(
    mounts: &PrivateMounts,
    member: &str,
    other: &str,
) -> Result<NamedTempFile> {
    let mut types = fs::read(KERNEL_BTF).context(KERNEL_BTF)?;
    let word = |at: usize| u32::from_ne_bytes(types[at..at + 4].try_into().expect("four bytes"));
    // Header (Documentation/bpf/btf.rst): its length, then where types and strings begin after it.
    let [header, first, bytes, strings] = [4, 8, 12, 16].map(|at| word(at) as usize);
    let types_end = header + first + bytes;
    // A member is its name, its type, and its offset.
    let places = |name: &str| -> Result<Vec<usize>> {
        let name = u32::try_from(position(&types, name)? - header - strings)?;
        let words = (header + first..types_end).step_by(4);
        Ok(words.filter(|&at| word(at) == name).collect())
    };
    let (members, others) = (places(member)?, places(other)?);
    let pairs = members.iter().flat_map(|&one| others.iter().map(move |&two| (one, two)));
    // Another word can have the value of a name; members of one structure are near one another.
    let (one, two) =
        pairs.min_by_key(|(one, two)| one.abs_diff(*two)).context("no such members")?;
    types.copy_within(two + 8..two + 12, one + 8);
    replace_types(mounts, &types)
}

const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// Where the first name in the kernel's BTF is that has this text.
fn position(types: &[u8], name: &str) -> Result<usize> {
    let text = [b"\0", name.as_bytes(), b"\0"].concat();
    let found = types.windows(text.len()).position(|window| window == text);
    Ok(found.with_context(|| format!("{name} is not in {KERNEL_BTF}"))? + 1)
}

fn replace_types(mounts: &PrivateMounts, types: &[u8]) -> Result<NamedTempFile> {
    let file = NamedTempFile::new()?;
    fs::write(file.path(), types)?;
    mounts.replace(Path::new(KERNEL_BTF), file.path())?;
    Ok(file)
}

fn without_a_member_that_only_tp_btf_needs_the_tracepoint_counts(_: &Namespace) -> Result<()> {
    let _file = rename_member(&PrivateMounts::enter()?, "skc_v6_daddr")?;
    assert_tracepoint_counts("kernel BTF has no `__sk_common.skc_v6_daddr` in `struct sock`")
}

/// The names of two members are swapped: the one that the program reads has one byte instead of two.
fn with_a_member_of_another_size_the_tracepoint_counts(_: &Namespace) -> Result<()> {
    let swapped = [("sk_protocol", "sk_shutdown"), ("sk_shutdown", "sk_protocol")];
    let _file = change_names(&PrivateMounts::enter()?, &swapped)?;
    assert_tracepoint_counts("kernel BTF has size 1 for `sk_protocol` in `struct sock`")
}

const CAUSES: &[&str] = &["tcpstat_closed_total", "tcpstat_connects_retried_total"];
const AGES: &[&str] = &[
    "tcpstat_close_wait_silence_seconds_count",
    "tcpstat_close_wait_oldest_seconds",
    "tcpstat_close_wait_aged_connections",
];

fn without_rcv_tstamp_only_ages_are_missing(_: &Namespace) -> Result<()> {
    without("btf,tracepoint", "tcp_sock", "rcv_tstamp", AGES, "ages not measured")
}

/// These metrics are absent, one line says so, and everything else is as usual.
fn without(
    tracer: &str,
    structure: &str,
    member: &str,
    metrics: &[&str],
    verdict: &str,
) -> Result<()> {
    let _file = rename_member(&PrivateMounts::enter()?, member)?;
    let mut exporter = Exporter::start(&[&["--tracer", tracer], &FREQUENT_SNAPSHOTS[..]].concat())?;
    let churn = Churn { threads: 2, connections: 100, family: Family::Ipv6, resets: true };
    let resets = churn.run()?.reset;
    await_agreement(&mut exporter)?;
    let scrape = exporter.scrape()?;
    for metric in [CAUSES, AGES].concat() {
        let is_absent = scrape.family(metric).is_empty();
        assert_eq!(is_absent, metrics.contains(&metric), "{metric}");
    }
    let closed = [("family", "ipv6"), ("from", "established"), ("to", "close")];
    let counted = scrape.value("tcpstat_transitions_total", &closed)?;
    ensure_counted(&mut exporter, counted, 2 * resets, 0.0)?;

    let cause = format!(": kernel BTF has no `{member}` in `struct {structure}`");
    let log = exporter.log();
    let warnings: Vec<_> = log.lines().filter(|line| line.contains(" WARN ")).collect();
    ensure!(warnings.len() == 1 && warnings[0].contains(&cause), "{log}");
    let run = tcpstat(["check"])?;
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let expected = format!("{verdict}{cause}");
    ensure!(
        run.status == Some(0) && run.stdout.lines().any(|line| words(line) == expected),
        "{run:?}"
    );
    Ok(())
}

/// Only `tp_btf` is refused, and check reports the cause.
fn assert_tracepoint_counts(cause: &str) -> Result<()> {
    let mut exporter = Options::default().start()?;
    let _pairs = Pairs::connect(5, Family::Ipv6)?;
    await_agreement(&mut exporter)?;
    let program = [("program", "tracepoint")];
    assert_eq!(exporter.scrape()?.value("tcpstat_tracer_info", &program)?, 1.0);

    let run = tcpstat(["check"])?;
    ensure!(run.status == Some(0) && run.stdout.contains(cause), "{run:?}");
    // The log says that the program does not run only if it is the first choice. The hooks may need the member too.
    let first = first_choice(&run.stdout);
    let refused = |line: &&str| line.contains("program does not run: ") && line.contains(cause);
    let logged = exporter.log().lines().filter(refused).count();
    ensure!(logged == usize::from(first == Some("tp_btf")), "{}", exporter.log());
    Ok(())
}

/// `tcpstat check` prints the programs in the order in which it tries them.
fn first_choice(report: &str) -> Option<&str> {
    let words = report.lines().filter_map(|line| line.split_whitespace().next());
    words.into_iter().find(|word| ["tp_btf", "tracepoint"].contains(word))
}

fn without_a_member_that_both_programs_need_there_is_no_tracer(_: &Namespace) -> Result<()> {
    let _file = rename_member(&PrivateMounts::enter()?, "skc_net")?;
    let mut exporter = Exporter::start(&FREQUENT_SNAPSHOTS)?;
    let _pairs = Pairs::connect(5, Family::Ipv6)?;
    await_agreement(&mut exporter)?;
    assert_eq!(exporter.scrape()?.value("tcpstat_tracer_up", &[])?, 0.0);

    let log = exporter.log();
    let warnings: Vec<_> = log.lines().filter(|line| line.contains(" WARN ")).collect();
    ensure!(warnings.len() == 1, "{log}");
    for program in ["tp_btf", "tracepoint"] {
        let cause =
            format!("{program}: kernel BTF has no `__sk_common.skc_net.net` in `struct sock`");
        ensure!(warnings[0].contains(&cause), "{log}");
    }
    assert_eq!(tcpstat(["check"])?.status, Some(1));
    Ok(())
}

/// If IPv6 is disabled at boot, there is no /proc/net/tcp6 and no IPv6 socket, and sockstat has only IPv4.
fn ipv4_alone(tracer: &str) -> Result<()> {
    let off = fs::read_to_string("/proc/cmdline")?.contains("ipv6.disable=1");
    assert_eq!(Path::new("/proc/self/net/tcp6").exists(), !off);
    let mut exporter = Exporter::start(&[&["--tracer", tracer], &FREQUENT_SNAPSHOTS[..]].concat())?;
    let _pairs = Pairs::connect(5, Family::Ipv4)?;
    Churn { threads: 2, connections: 100, family: Family::Ipv4, resets: true }.run()?;
    let counts = await_agreement(&mut exporter)?;
    assert_eq!(counts[&(Family::Ipv4, State::Established)], 12);
    let scrape = exporter.scrape()?;
    let ipv6 = [("kind", "inuse"), ("family", "ipv6")];
    assert_eq!(scrape.value("tcpstat_sockstat_sockets", &ipv6)?, 0.0);
    ensure!(!exporter.log().contains(" WARN "), "{}", exporter.log());
    Ok(())
}
