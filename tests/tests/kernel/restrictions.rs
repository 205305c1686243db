//! What an exporter that root starts keeps of its privileges. That it works with them is what all other tests show.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use tcpstat_tests::agreement::await_agreement;
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::exporter::{Exporter, Options};
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::loopback::Pairs;
use tcpstat_tests::mounts::PrivateMounts;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::resident::{Order, Resident};
use tcpstat_tests::scopes::await_right;
use tcpstat_tests::tcp::Family;
use tempfile::TempDir;

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        root_drops_to_two_capabilities_and_no_thread_is_without_a_filter,
        the_capability_to_enter_a_namespace_does_not_outlive_the_start,
        without_the_filter_the_capabilities_are_dropped_all_the_same
    ]
}

/// Those that do not depend on the kernel.
pub(crate) fn surrounding_tests() -> Vec<Test> {
    kernel_tests![
        a_textfile_in_the_folder_of_another_user_is_written_again_and_again,
        a_configuration_that_only_another_user_may_read_is_read_again,
        hidden_processes_are_found_after_the_start_too
    ]
}

const DAC_OVERRIDE: u64 = 1 << 1;
const DAC_READ_SEARCH: u64 = 1 << 2;
const SYS_PTRACE: u64 = 1 << 19;
const SYS_ADMIN: u64 = 1 << 21;
/// CAP_PERFMON and CAP_BPF.
const TWO: u64 = 1 << 38 | 1 << 39;

/// Reads the status of every thread: none has more than `most`, and one has that.
fn check_threads(exporter: &Exporter, most: u64, seccomp: &str) -> Result<()> {
    let mut seen = 0;
    for thread in fs::read_dir(format!("/proc/{}/task", exporter.pid()))? {
        // It can end meanwhile.
        let Ok(status) = fs::read_to_string(thread?.path().join("status")) else { continue };
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.map(str::trim).with_context(|| format!("{name}: {status}"))
        };
        let set = |name: &str| Ok::<_, anyhow::Error>(u64::from_str_radix(field(name)?, 16)?);
        let permitted = set("CapPrm:")?;
        assert_eq!(permitted & !most, 0, "{permitted:x} {status}{}", exporter.log());
        assert_eq!(set("CapEff:")?, permitted, "{status}");
        for empty in ["CapInh:", "CapBnd:", "CapAmb:"] {
            assert_eq!(set(empty)?, 0, "{empty} {status}");
        }
        assert_eq!(field("NoNewPrivs:")?, "1", "{status}");
        assert_eq!(field("Seccomp:")?, seccomp, "{status}");
        seen |= permitted;
    }
    assert_eq!(seen, most, "{}", exporter.log());
    Ok(())
}

fn root_drops_to_two_capabilities_and_no_thread_is_without_a_filter(_: &Namespace) -> Result<()> {
    PrivateMounts::enter()?.tracefs()?;
    let paranoid = fs::read_to_string("/proc/sys/kernel/perf_event_paranoid")?;
    let (for_change, names) = if paranoid.trim().parse::<i64>()? >= 3 {
        (TWO | SYS_ADMIN, "CAP_SYS_ADMIN CAP_PERFMON CAP_BPF")
    } else {
        (TWO, "CAP_PERFMON CAP_BPF")
    };
    for (args, most, names) in [
        (
            &["--tracer=btf", "--netns=all", "--cgroups=*.service", "--dwell=established"][..],
            TWO,
            "CAP_PERFMON CAP_BPF",
        ),
        (&["--tracer=tracepoint,btf", "--ports=80", "--snapshot=iter"], for_change, names),
    ] {
        let mut exporter = Exporter::start(args)?;
        let _pairs = Pairs::connect(3, Family::Ipv4)?;
        await_agreement(&mut exporter)?;
        // A thread of the pool of the runtime writes the answer.
        exporter.get("/api/v1/status")?;
        check_threads(&exporter, most, "2")?;
        let log = exporter.log();
        let line = log.lines().find(|line| line.contains("privileges are reduced"));
        let line = line.with_context(|| log.clone())?;
        ensure!(line.contains(&format!("capabilities=\"{names}\" dropped=")), "{line}");
        ensure!(line.contains("seccomp=\"") && line.contains(" calls\""), "{line}");
        ensure!(exporter.stop()?.success());
    }
    Ok(())
}

fn the_capability_to_enter_a_namespace_does_not_outlive_the_start(_: &Namespace) -> Result<()> {
    let netns = format!("--netns=/proc/{}/ns/net", std::process::id());
    let exporter = Options::default().args(["--tracer=btf", &netns]).start()?;
    check_threads(&exporter, TWO, "2")
}

fn without_the_filter_the_capabilities_are_dropped_all_the_same(_: &Namespace) -> Result<()> {
    let exporter = Exporter::start(&["--no-seccomp", "--tracer=off", "--snapshot=procfs"])?;
    check_threads(&exporter, 0, "0")?;
    ensure!(exporter.log().contains("seccomp=\"off\""), "{}", exporter.log());
    Ok(())
}

/// A folder of nobody, to which nobody else may write.
fn folder_of_nobody() -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
    chown(folder.path(), Some(65534), Some(65534))?;
    Ok(folder)
}

fn await_change(what: &Path, exporter: &Exporter) -> Result<()> {
    let modified = || Ok::<_, anyhow::Error>(fs::metadata(what)?.modified()?);
    let before = modified()?;
    wait_until("a newer file", DEADLINE, || {
        Ok(if modified()? > before { Progress::Done(()) } else { Progress::NotYet(exporter.log()) })
    })
}

fn a_textfile_in_the_folder_of_another_user_is_written_again_and_again(
    _: &Namespace,
) -> Result<()> {
    let folder = folder_of_nobody()?;
    let path = folder.path().join("tcpstat.prom");
    let flag = format!("--textfile={}", path.display());
    let exporter = Exporter::start(&[&flag, "--snapshot-interval=100ms", "--tracer=btf"])?;
    wait_until("the file", DEADLINE, || {
        Ok(if path.exists() { Progress::Done(()) } else { Progress::NotYet(exporter.log()) })
    })?;
    await_change(&path, &exporter)?;
    check_threads(&exporter, TWO | DAC_OVERRIDE, "2")?;
    let note = "CAP_DAC_OVERRIDE is kept for the folder of --textfile";
    ensure!(exporter.log().contains(note), "{}", exporter.log());
    ensure!(exporter.stop()?.success());
    ensure!(!path.exists(), "the file is removed at the end");
    Ok(())
}

fn a_configuration_that_only_another_user_may_read_is_read_again(_: &Namespace) -> Result<()> {
    let folder = folder_of_nobody()?;
    let path = folder.path().join("web.yml");
    fs::write(&path, "{}\n")?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    chown(&path, Some(65534), Some(65534))?;
    let flag = format!("--web.config.file={}", path.display());
    let exporter = Exporter::start(&[&flag, "--tracer=btf"])?;
    let note = "CAP_DAC_READ_SEARCH is kept for the files of --web.config.file";
    ensure!(exporter.log().contains(note), "{}", exporter.log());
    check_threads(&exporter, TWO | DAC_READ_SEARCH, "2")?;
    exporter.signal(nix::sys::signal::Signal::SIGHUP)?;
    exporter.wait_log("web.yml: read again")
}

/// With hidepid=4 the kernel shows only processes that one may trace, to root too.
fn hidden_processes_are_found_after_the_start_too(_: &Namespace) -> Result<()> {
    PrivateMounts::enter()?.proc("hidepid=4")?;
    let mut exporter = Exporter::start(&["--netns=all", "--tracer=btf"])?;
    check_threads(&exporter, TWO | SYS_PTRACE, "2")?;
    let log = exporter.log();
    ensure!(log.contains("CAP_SYS_PTRACE is kept for a procfs that hides processes"), "{log}");
    ensure!(!log.contains("not every network namespace is found"), "{log}");
    let mut resident = Resident::in_new_namespace()?;
    resident.order(&Order::Connect(2))?;
    let (name, counts) = await_right(&mut exporter, resident.pid())?;
    ensure!(!counts.is_empty(), "{name} has no sockets");
    ensure!(!exporter.log().contains("not every network namespace is found"), "{}", exporter.log());
    Ok(())
}
