//! `check` reports what `serve` does, in all surroundings.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use tcpstat_tests::binary::output;
use tcpstat_tests::exporter::Options;
use tcpstat_tests::harness::{Test, kernel_test};
use tcpstat_tests::mounts::PrivateMounts;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::seccomp::{BpfCommand, refuse};
use tcpstat_tests::unprivileged::ReachableBinary;

use crate::roots::process_elsewhere;
use crate::surroundings::rename_member;

/// How the two are run: through this command, with these flags.
#[derive(Clone, Copy)]
struct Way<'a> {
    within: &'a [&'a str],
    flags: &'a [&'a str],
}

const AS_ROOT: Way<'_> = Way { within: &[], flags: &[] };
const AS_NOBODY: Way<'_> = Way {
    within: &[
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--bounding-set=-all",
        "--inh-caps=-all",
        "--",
    ],
    flags: &[],
};
const WITH_TWO_CAPABILITIES: Way<'_> = Way {
    within: &[
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--inh-caps=-all,+cap_38,+cap_39",
        "--ambient-caps=-all,+cap_38,+cap_39",
        "--bounding-set=-all,+cap_38,+cap_39",
        "--",
    ],
    flags: &[],
};
const IN_A_USER_NAMESPACE: Way<'_> =
    Way { within: &["unshare", "--user", "--map-root-user", "--"], flags: &[] };

/// What `serve` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Traces,
    TakesSnapshots,
    Exits,
}

use Outcome::{Exits, TakesSnapshots, Traces};

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for (name, way, outcome) in [
        ("as_root", AS_ROOT, Traces),
        ("as_nobody", AS_NOBODY, TakesSnapshots),
        ("with_two_capabilities", WITH_TWO_CAPABILITIES, Traces),
        ("in_a_user_namespace", IN_A_USER_NAMESPACE, TakesSnapshots),
    ] {
        let mut push = |surrounding: &str, prepare: fn(&PrivateMounts) -> Result<()>, outcome| {
            tests.push(kernel_test(
                format!("check_and_serve_agree_{name}_{surrounding}"),
                move |_: &Namespace| {
                    prepare(&PrivateMounts::enter()?)?;
                    agree(way, outcome)
                },
            ));
        };
        push("with_all_of_proc", |_| Ok(()), outcome);
        push("with_hidden_processes", |mounts| mounts.proc("hidepid=2"), outcome);
        push("with_proc_limited_to_processes", |mounts| mounts.proc("subset=pid"), outcome);
        push("with_both", |mounts| mounts.proc("hidepid=2,subset=pid"), outcome);
        push("with_tracefs", PrivateMounts::tracefs, outcome);
        push("without_tracefs", PrivateMounts::no_tracefs, outcome);
        if name == "in_a_user_namespace" {
            // unshare(1) writes the map of ids through /proc.
            continue;
        }
        let without_proc = if outcome == Traces { TakesSnapshots } else { Exits };
        push("without_proc", |mounts| mounts.empty(Path::new("/proc")), without_proc);
    }
    tests.push(kernel_test("check_and_serve_agree_without_a_member_of_one_program", |_| {
        let mounts = PrivateMounts::enter()?;
        let _file = rename_member(&mounts, "skc_v6_daddr")?;
        // The other program needs tracefs.
        mounts.tracefs()?;
        agree(AS_ROOT, Traces)
    }));
    tests.push(kernel_test("check_and_serve_agree_without_a_member_of_both", |_| {
        let _file = rename_member(&PrivateMounts::enter()?, "skc_net")?;
        agree(AS_ROOT, TakesSnapshots)
    }));
    for (what, table, outcome) in
        [("a_folder", HEADER, TakesSnapshots), ("an_empty_file", "", Exits)]
    {
        tests.push(kernel_test(format!("check_and_serve_agree_over_{what}"), move |_| {
            let folder = tempfile::tempdir()?;
            fs::create_dir(folder.path().join("net"))?;
            fs::write(folder.path().join("net/tcp"), table)?;
            // Readable without privileges.
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
            let flags = flag(folder.path());
            agree(Way { flags: &[&flags], ..AS_ROOT }, outcome)?;
            agree(Way { flags: &[&flags], ..AS_NOBODY }, outcome)
        }));
    }
    tests.push(kernel_test("check_and_serve_agree_on_another_namespace", |_| {
        let (_elsewhere, process) = process_elsewhere()?;
        let root = format!("/proc/{}", process.id());
        agree(Way { flags: &[&flag(Path::new(&root))], ..AS_ROOT }, TakesSnapshots)?;
        Ok(())
    }));
    tests.push(kernel_test("check_and_serve_agree_on_the_proc_of_a_host", |_| {
        let folder = tempfile::tempdir()?;
        PrivateMounts::enter()?.replace(folder.path(), Path::new("/proc"))?;
        agree(Way { flags: &[&flag(folder.path())], ..AS_ROOT }, Exits)
    }));
    for (refused, outcome) in [
        (BpfCommand::MapCreate, TakesSnapshots),
        (BpfCommand::ProgLoad, TakesSnapshots),
        (BpfCommand::IterCreate, Traces),
    ] {
        tests.push(kernel_test(format!("check_and_serve_agree_without_{refused:?}"), move |_| {
            refuse(&[refused], Errno::EPERM)?;
            agree(AS_ROOT, outcome)
        }));
    }
    tests
}

/// A table without a socket.
const HEADER: &str = "  sl  local_address rem_address   st tx_queue rx_queue\n";

fn flag(root: &Path) -> String {
    format!("--path.procfs={}", root.display())
}

/// Fails unless `check` reports the outcome that `serve` has, and that is `expected`.
fn agree(Way { within, flags }: Way<'_>, expected: Outcome) -> Result<()> {
    let reachable = ReachableBinary::copy()?;
    let path = reachable.path();
    let binary = path.to_str().context("a path in UTF-8")?;
    let mut command: Vec<&str> = within.to_vec();
    command.extend([binary, "check"]);
    command.extend(flags);
    let check = output(std::process::Command::new(command[0]).args(&command[1..]))?;
    let verdict = check.stdout.lines().last().context("check prints nothing")?;
    let verdict = verdict.strip_prefix("tracer").context("no verdict in the last line")?.trim();

    let started = Options::default()
        .binary(binary)
        .within(within)
        .args(["--log.level=info"])
        .args(flags)
        .start();
    let (outcome, predicted) = match started {
        Err(error) => {
            let error = format!("{error:?}");
            ensure!(error.contains("it ended: exit status: 1"), "{error}");
            assert_eq!(error.matches("\ntcpstat: ").count(), 1, "{error}");
            (Exits, "would not run; serve would not start: ".to_owned())
        }
        Ok(mut exporter) => {
            let scrape = exporter.scrape()?;
            let info = scrape.family("tcpstat_tracer_info");
            let program = info.iter().find(|sample| sample.value == 1.0);
            let program = program.and_then(|sample| sample.labels.get("program"));
            let up = scrape.value("tcpstat_tracer_up", &[])? == 1.0;
            match program {
                Some(program) if up => (Traces, format!("would run, with {program}")),
                _ => (TakesSnapshots, "would not run; serve would use snapshots only".to_owned()),
            }
        }
    };
    assert_eq!(outcome, expected, "{}", check.stdout);
    ensure!(verdict.starts_with(&predicted), "serve: {predicted}; check: {}", check.stdout);
    assert_eq!(check.status, Some(i32::from(outcome != Traces)), "{}", check.stdout);
    Ok(())
}
