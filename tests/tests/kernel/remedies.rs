//! If the kernel refuses, `check` names the one cause and its remedy.

use std::process::Command;

use anyhow::{Result, ensure};
use nix::errno::Errno;
use tcpstat_tests::binary::{Run, output, tcpstat};
use tcpstat_tests::cgroups::MemoryLimit;
use tcpstat_tests::exporter::Options;
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::mounts::PrivateMounts;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::seccomp::{BpfCommand, refuse};
use tcpstat_tests::unprivileged::ReachableBinary;

use crate::surroundings::change_offset;

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        only_the_missing_capability_is_named,
        a_user_namespace_is_named_and_no_capability,
        a_seccomp_filter_is_named_and_no_capability,
        an_unreadable_tracefs_is_named,
        the_verifiers_log_is_complete_at_debug,
        a_refusal_without_a_reason_names_what_was_requested,
        dwells_that_find_no_memory_are_off_with_cause_and_remedy
    ]
}

/// Runs `check` as nobody with these capabilities alone, as setpriv takes them.
fn check_with(binary: &ReachableBinary, capabilities: &str) -> Result<Run> {
    output(binary.command(&format!("-all{capabilities}")).arg("check"))
}

/// The remedies for tp_btf, for the classic tracepoint, and for the iterator (with its cause). Refused hooks have
/// a line of the same form, which names no remedy.
fn remedies(report: &str) -> Vec<&str> {
    let for_program = |line: &str| line.starts_with('→') && !line.contains("nothing to grant");
    let remedy = |line: &str| for_program(line.trim_start()) || line.starts_with("iter/tcp");
    report.lines().filter(|line| remedy(line)).collect()
}

fn assert_all_name(run: &Run, named: &str, not: &[&str]) -> Result<()> {
    assert_eq!(run.status, Some(1), "{run:?}");
    let remedies = remedies(&run.stdout);
    assert_eq!(remedies.len(), 3, "{}", run.stdout);
    for remedy in remedies {
        ensure!(remedy.contains(named), "{remedy}\n{}", run.stdout);
        ensure!(not.iter().all(|other| !remedy.contains(other)), "{remedy}");
    }
    Ok(())
}

/// CAP_PERFMON is 38 and CAP_BPF 39: an older setpriv does not know their names.
fn only_the_missing_capability_is_named(_: &Namespace) -> Result<()> {
    PrivateMounts::enter()?.tracefs()?;
    let binary = ReachableBinary::copy()?;
    let run = check_with(&binary, "")?;
    assert_all_name(&run, "grant CAP_BPF and CAP_PERFMON", &["seccomp"])?;
    let run = check_with(&binary, ",+cap_39")?;
    assert_all_name(&run, "grant CAP_PERFMON", &["CAP_BPF", "seccomp"])?;
    let run = check_with(&binary, ",+cap_38")?;
    assert_all_name(&run, "grant CAP_BPF", &["CAP_PERFMON", "seccomp"])
}

fn a_user_namespace_is_named_and_no_capability(_: &Namespace) -> Result<()> {
    let binary = ReachableBinary::copy()?;
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--"]).arg(binary.path()).arg("check");
    let run = output(&mut command)?;
    ensure!(run.stdout.contains("CAP_BPF yes, CAP_PERFMON yes"), "{run:?}");
    assert_all_name(&run, "run it in the initial user namespace", &["grant", "root;"])
}

fn a_seccomp_filter_is_named_and_no_capability(_: &Namespace) -> Result<()> {
    refuse(&[BpfCommand::MapCreate, BpfCommand::ProgLoad], Errno::EPERM)?;
    let run = tcpstat(["check"])?;
    assert_all_name(&run, "let the seccomp filter of this process allow bpf", &["grant", "root"])?;
    let exporter = Options::default().start()?;
    let log = exporter.log();
    assert_eq!(log.matches(" WARN ").count(), 1, "{log}");
    ensure!(log.contains("let the seccomp filter of this process allow bpf"), "{log}");
    Ok(())
}

fn an_unreadable_tracefs_is_named(_: &Namespace) -> Result<()> {
    let mounts = PrivateMounts::enter()?;
    mounts.tracefs()?;
    let binary = ReachableBinary::copy()?;
    let run = check_with(&binary, ",+cap_38,+cap_39")?;
    let remedies = remedies(&run.stdout);
    ensure!(run.stdout.contains("/sys/kernel/tracing: Permission denied"), "{}", run.stdout);
    ensure!(remedies[1].contains("grant CAP_DAC_READ_SEARCH"), "{}", run.stdout);
    ensure!(!run.stdout.contains("grant CAP_PERFMON"), "{}", run.stdout);
    Ok(())
}

fn a_refusal_without_a_reason_names_what_was_requested(_: &Namespace) -> Result<()> {
    refuse(&[BpfCommand::RawTracepointOpen, BpfCommand::LinkCreate], Errno::EINVAL)?;
    let run = tcpstat(["check"])?;
    for requested in [
        "BPF_PROG_TYPE_TRACING, BPF_TRACE_RAW_TP, inet_sock_set_state) and the kernel release, ",
        "BPF_PROG_TYPE_TRACING, BPF_TRACE_ITER, tcp) and the kernel release, ",
    ] {
        ensure!(run.stdout.contains(requested), "{requested}: {}", run.stdout);
    }
    ensure!(!run.stdout.contains("--log.level debug"), "{}", run.stdout);
    Ok(())
}

/// The program reads two bytes at a member of one: the verifier returns EACCES.
fn the_verifiers_log_is_complete_at_debug(_: &Namespace) -> Result<()> {
    let _file = change_offset(&PrivateMounts::enter()?, "sk_protocol", "sk_shutdown")?;
    let run = tcpstat(["check", "--log.level=debug"])?;
    let line = run.stdout.lines().skip_while(|line| !line.starts_with("tp_btf"));
    let lines: Vec<_> = line.take(2).collect();
    ensure!(lines[0].contains("loading the program: Permission denied"), "{}", run.stdout);
    ensure!(lines[1].contains("run with `--log.level debug` to see"), "{}", run.stdout);
    let log = "loading the program: Permission denied (os error 13): the kernel's log:";
    ensure!(run.stderr.contains(log) && run.stderr.contains("sk_shutdown"), "{}", run.stderr);

    // One line at warn; all lines at debug only.
    let exporter = Options::default().args(["--tracer=btf"]).start()?;
    let log = exporter.log();
    assert_eq!(log.matches(" WARN ").count(), 1, "{log}");
    ensure!(log.contains("run with `--log.level debug`") && !log.contains("sk_shutdown"), "{log}");
    Ok(())
}

/// Everything else works, scopes too: they need little memory.
fn dwells_that_find_no_memory_are_off_with_cause_and_remedy(_: &Namespace) -> Result<()> {
    let limit = MemoryLimit::new(60 << 20)?;
    let mut exporter = Options::default()
        .within(limit.within())
        .args(["--tracer=btf", "--dwell=established", "--dwell-max=1048576", "--ports=443"])
        .start()?;
    let scrape = exporter.scrape()?;
    assert_eq!(scrape.value("tcpstat_tracer_up", &[])?, 1.0);
    ensure!(!scrape.family("tcpstat_port_connections").is_empty(), "{}", exporter.log());
    let log = exporter.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains(" WARN ")).collect();
    ensure!(lines.len() == 1, "{log}");
    for words in [
        "--dwell is off: no tracer runs that measures it: tp_btf: ",
        "(os error 12)",
        "raise the memory limit of the service or container",
    ] {
        ensure!(lines[0].contains(words), "{words}: {log}");
    }
    exporter.stop()?;
    Ok(())
}
