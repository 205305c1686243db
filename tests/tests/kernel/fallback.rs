//! If one source of snapshots fails, the other one takes over, at the start and later.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
use tcpstat_tests::agreement::await_agreement;
use tcpstat_tests::binary::{LOG_FORMAT, Run, output, path_from};
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::exporter::{Exporter, FREQUENT_SNAPSHOTS, Options};
use tcpstat_tests::harness::{Test, kernel_test};
use tcpstat_tests::kernel_tests;
use tcpstat_tests::loopback::Pairs;
use tcpstat_tests::mounts::PrivateMounts;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::process_limits::{ROOT, no_room, set_limit};
use tcpstat_tests::seccomp::{BpfCommand, refuse};
use tcpstat_tests::tcp::Family;
use tcpstat_tests::unprivileged::ReachableBinary;
use tempfile::NamedTempFile;

use crate::snapshots::source;

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = kernel_tests![
        without_proc_snapshots_come_from_the_iterator,
        without_any_source_one_error_line_names_both,
        with_few_descriptors_it_runs_or_exits_with_one_line,
        with_too_few_threads_it_exits_with_one_line,
        without_descriptors_for_the_iterator_procfs_takes_over_until_it_works_again,
        a_snapshot_without_a_thread_fails_with_one_line_and_a_later_one_succeeds,
        with_proc_limited_to_processes_it_counts,
        with_proc_limited_to_processes_it_takes_snapshots_without_privileges
    ];
    for errno in [Errno::EPERM, Errno::ENOMEM] {
        for (choice, flags) in [
            ("requested", ["--snapshot=iter", "--snapshot-interval=200ms"]),
            ("chosen", ["--snapshot=auto", "--snapshot-interval=100ms"]),
        ] {
            for tracer in ["auto", "off"] {
                tests.push(kernel_test(
                    format!("if_the_iterator_is_{choice}_and_fails_with_{errno:?}_procfs_takes_over_with_{tracer}"),
                    move |_: &Namespace| no_iterator(errno, flags, tracer),
                ));
            }
        }
    }
    tests
}

fn no_iterator(errno: Errno, flags: [&str; 2], tracer: &str) -> Result<()> {
    refuse(&[BpfCommand::IterCreate], errno)?;
    let mut exporter = Options::default().args(flags).args(["--tracer", tracer]).start()?;
    let _pairs = Pairs::connect(5, Family::Ipv6)?;
    await_agreement(&mut exporter)?;
    let scrape = exporter.scrape()?;
    assert_eq!(source(&scrape).as_deref(), Some("procfs"));
    assert_eq!(scrape.value("tcpstat_snapshot_errors_total", &[])?, 0.0);
    assert_eq!(scrape.value("tcpstat_tracer_up", &[])?, f64::from(u8::from(tracer == "auto")));
    let log = exporter.log();
    let line = "opening iter/tcp: ";
    let number = format!("(os error {})", errno as i32);
    let warnings = log.lines().filter(|line| line.contains(" WARN "));
    let (of_listeners, warnings): (Vec<_>, Vec<_>) =
        warnings.partition(|line| line.contains("listening sockets are not shown"));
    ensure!(warnings.len() == 1 && warnings[0].contains(line), "{log}");
    ensure!(warnings[0].contains(&number), "{log}");
    ensure!(of_listeners.len() == usize::from(tracer == "auto"), "{log}");
    let (remedy, duration) = match errno {
        Errno::EPERM => ("let the seccomp filter of this process allow bpf", "from now on"),
        _ => ("free memory", "for now"),
    };
    ensure!(warnings[0].contains(remedy) && warnings[0].ends_with(duration), "{log}");
    for warning in of_listeners {
        ensure!(warning.contains(line) && warning.contains(remedy), "{log}");
        ensure!(warning.contains(&format!("not shown {duration}")), "{log}");
    }
    ensure!(exporter.stop()?.success());
    Ok(())
}

fn without_proc_snapshots_come_from_the_iterator(_: &Namespace) -> Result<()> {
    let binary = path_from("TCPSTAT_BIN")?;
    // The calling thread needs its own /proc later, so the mount is in another mount namespace.
    let mut check = Command::new("unshare");
    check.args(["--mount", "sh", "-c", "mount -t tmpfs tmpfs /proc && exec \"$0\" \"$@\""]);
    let run = output(check.arg(&binary).arg("check"))?;
    ensure!(run.status == Some(1), "{run:?}");
    ensure!(run.stdout.contains("serve would use snapshots only"), "{run:?}");
    let within =
        ["unshare", "--mount", "sh", "-c", "mount -t tmpfs tmpfs /proc && exec \"$0\" \"$@\""];
    let mut exporter = Options::default()
        .within(within)
        .args(["--snapshot=procfs", "--snapshot-interval=200ms"])
        .start()?;
    let _pairs = Pairs::connect(5, Family::Ipv6)?;
    await_agreement(&mut exporter)?;
    assert_eq!(source(&exporter.scrape()?).as_deref(), Some("iter"));
    let log = exporter.log();
    let notices =
        log.lines().filter(|line| line.contains("taking snapshots from iter/tcp for now"));
    ensure!(notices.count() == 1 && log.contains("No such file or directory"), "{log}");
    Ok(())
}

fn without_any_source_one_error_line_names_both(_: &Namespace) -> Result<()> {
    let binary = ReachableBinary::copy()?;
    PrivateMounts::enter()?.empty(Path::new("/proc"))?;
    let run = binary.run(&["serve", "--web.listen-address=127.0.0.1:0", "--log.level=error"])?;
    ensure!(run.status == Some(1) && run.stderr.lines().count() == 1, "{run:?}");
    for part in ["net/tcp: No such file or directory", "iter/tcp", "Operation not permitted"] {
        ensure!(run.stderr.contains(part), "{part}: {run:?}");
    }
    let run = binary.run(&["check"])?;
    ensure!(run.status == Some(1), "{run:?}");
    ensure!(run.stdout.contains("serve would not start: no source of snapshots works"), "{run:?}");
    Ok(())
}

/// Runs a command until it logs that it is ready, and kills it then, or until it ends.
fn until_ready(command: &mut Command) -> Result<(Option<i32>, String)> {
    let log = NamedTempFile::new()?;
    let stderr = Stdio::from(File::create(log.path())?);
    command.env(LOG_FORMAT.0, LOG_FORMAT.1).stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.stderr(stderr).spawn()?;
    let ended = wait_until("end or readiness", DEADLINE, || {
        let status = child.try_wait()?;
        let text = fs::read_to_string(log.path())?;
        Ok(match status {
            Some(status) => Progress::Done((status.code(), text)),
            None if text.contains(" ready") => Progress::Done((None, text)),
            None => Progress::NotYet(text),
        })
    });
    child.kill()?;
    child.wait()?;
    ended
}

/// From too few to enough; with some in between snapshots work from procfs and not from the iterator.
fn with_few_descriptors_it_runs_or_exits_with_one_line(_: &Namespace) -> Result<()> {
    let binary = path_from("TCPSTAT_BIN")?;
    let (mut refused, mut fell_back, mut iterated) = (0, 0, 0);
    for limit in 4..40 {
        let mut command = Command::new("prlimit");
        command.arg(format!("--nofile={limit}:{limit}")).arg(&binary);
        command.args(["serve", "--web.listen-address=127.0.0.1:0", "--tracer=off"]);
        let (status, log) = until_ready(command.arg("--snapshot=iter"))?;
        ensure!(!log.contains("panicked"), "{limit}: {log}");
        match status {
            Some(status) => {
                let errors = log.lines().filter(|line| line.starts_with("tcpstat: ")).count();
                ensure!(status == 1 && errors == 1, "{limit}: {status}: {log}");
                refused += 1;
            }
            None if log.contains("source=\"procfs\"") => {
                ensure!(log.contains("(os error 24)"), "{limit}: {log}");
                ensure!(log.contains("raise RLIMIT_NOFILE"), "{limit}: {log}");
                fell_back += 1;
            }
            None => iterated += 1,
        }
    }
    ensure!(refused > 0 && fell_back > 0 && iterated > 0, "{refused} {fell_back} {iterated}");
    Ok(())
}

/// As a user without other processes: RLIMIT_NPROC counts all tasks of a user.
fn with_too_few_threads_it_exits_with_one_line(_: &Namespace) -> Result<()> {
    const USER: &str = "64123";
    let binary = ReachableBinary::copy()?;
    let start = |limit: u32| {
        let mut command = Command::new("prlimit");
        command.arg(format!("--nproc={limit}:{limit}")).arg("setpriv");
        command.args([format!("--reuid={USER}"), format!("--regid={USER}")]);
        command.args(["--clear-groups", "--bounding-set=-all", "--inh-caps=-all", "--"]);
        command.arg(binary.path()).args(["serve", "--web.listen-address=127.0.0.1:0"]);
        until_ready(&mut command)
    };
    for limit in 1..=4 {
        let (status, log) = start(limit)?;
        assert_eq!(status, Some(1), "{limit}: {log}");
        ensure!(log.lines().count() == 1, "{limit}: {log}");
        ensure!(log.starts_with("tcpstat: starting ") && log.contains("RLIMIT_NPROC"), "{log}");
    }
    let (status, log) = start(16)?;
    assert_eq!(status, None, "{log}");
    Ok(())
}

/// As systemd mounts it for `ProcSubset=pid`.
const PROCESSES: &str = "subset=pid";

fn with_proc_limited_to_processes_it_counts(_: &Namespace) -> Result<()> {
    PrivateMounts::enter()?.proc(PROCESSES)?;
    ensure!(!Path::new("/proc/net").exists(), "/proc/net exists");
    for source in ["procfs", "iter"] {
        let flags = ["--snapshot", source, "--snapshot-interval=200ms"];
        let mut exporter = Exporter::start(&flags)?;
        let _pairs = Pairs::connect(5, Family::Ipv6)?;
        await_agreement(&mut exporter)?;
        let scrape = exporter.scrape()?;
        assert_eq!(scrape.value("tcpstat_tracer_up", &[])?, 1.0);
        assert_eq!(self::source(&scrape).as_deref(), Some(source));
        ensure!(!exporter.log().contains(" WARN "), "{}", exporter.log());
    }
    Ok(())
}

fn with_proc_limited_to_processes_it_takes_snapshots_without_privileges(
    _: &Namespace,
) -> Result<()> {
    PrivateMounts::enter()?.proc(PROCESSES)?;
    let binary = ReachableBinary::copy()?;
    let mut exporter = binary.serve(&FREQUENT_SNAPSHOTS)?;
    let _pairs = Pairs::connect(5, Family::Ipv6)?;
    await_agreement(&mut exporter)?;
    let Run { status, stdout, .. } = binary.run(&["show"])?;
    ensure!(status == Some(0), "{stdout}");
    let report = binary.run(&["check"])?.stdout;
    let line = report.lines().find(|line| line.starts_with("perf events"));
    ensure!(line.context("no line about perf events")?.contains("is unknown"), "{report}");
    Ok(())
}

/// Whether the log has `part`.
fn logged(exporter: &Exporter, part: &str) -> Progress<()> {
    let log = exporter.log();
    if log.contains(part) { Progress::Done(()) } else { Progress::NotYet(log) }
}

fn without_descriptors_for_the_iterator_procfs_takes_over_until_it_works_again(
    _: &Namespace,
) -> Result<()> {
    let mut exporter =
        Exporter::start(&["--tracer=off", "--snapshot=iter", "--snapshot-interval=200ms"])?;
    let pid = exporter.pid();
    let cause = "opening iter/tcp: No file descriptors available";
    wait_until("the cause in the log", DEADLINE, || {
        // A snapshot in progress may hold descriptors.
        set_limit(ROOT, pid, &format!("--nofile={}:", no_room(pid)?))?;
        Ok(logged(&exporter, cause))
    })?;
    set_limit(ROOT, pid, "--nofile=1024:")?;
    wait_until("snapshot from procfs", DEADLINE, || {
        let source = source(&exporter.scrape()?);
        Ok(if source.as_deref() == Some("procfs") {
            Progress::Done(())
        } else {
            Progress::NotYet(format!("{source:?}"))
        })
    })?;
    // The exporter retries it after ten seconds.
    wait_until("snapshot from the iterator", 3 * DEADLINE, || {
        let source = source(&exporter.scrape()?);
        Ok(if source.as_deref() == Some("iter") {
            Progress::Done(())
        } else {
            Progress::NotYet(format!("{source:?}"))
        })
    })?;
    // The log may be later than the metrics.
    wait_until("success in the log", DEADLINE, || Ok(logged(&exporter, "iter/tcp works again")))?;
    ensure!(exporter.stop()?.success());
    Ok(())
}

fn a_snapshot_without_a_thread_fails_with_one_line_and_a_later_one_succeeds(
    _: &Namespace,
) -> Result<()> {
    // A user without other processes.
    const USER: &str = "64124";
    const HELD: &str = "-all,+cap_38,+cap_39";
    // Before 5.11 the kernel charges maps to this limit; later kernels ignore it.
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
    let binary = ReachableBinary::copy()?;
    let within = ["setpriv", "--reuid", USER, "--regid", USER, "--clear-groups"].map(str::to_owned);
    let mut exporter = Options::default()
        .binary(binary.path())
        .within(within)
        .within(["inh", "ambient", "bounding"].map(|set| {
            let word = if set == "bounding" { "bounding-set" } else { &format!("{set}-caps") };
            format!("--{word}={HELD}")
        }))
        .within(["--"])
        .args(FREQUENT_SNAPSHOTS)
        .start()?;
    assert_eq!(exporter.scrape()?.value("tcpstat_tracer_up", &[])?, 1.0);
    let pid = exporter.pid();
    set_limit(USER, pid, "--nproc=1:")?;
    wait_until("failure in the log", DEADLINE, || {
        Ok(logged(&exporter, "starting the thread that drains the event log: "))
    })?;
    exporter.scrape()?;
    set_limit(USER, pid, "--nproc=100:")?;
    wait_until("success in the log", DEADLINE, || {
        Ok(logged(&exporter, "snapshots succeed again"))
    })?;
    let log = exporter.log();
    ensure!(!log.contains("panicked") && log.matches("snapshot failed").count() == 1, "{log}");
    await_agreement(&mut exporter)?;
    Ok(())
}
