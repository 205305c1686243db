//! `tcpstat check`: tries everything that the tracer needs, and prints which privileges are missing.

mod features;
mod scopes;

use std::{fmt::Write as _, process::ExitCode};

use clap::Args;
use nix::sys::utsname::uname;

use super::{ProcfsArgs, counting::described, restrictions::SeccompArgs, write_out};
use crate::{
    kernel::{HookRefusal, Namespaces, Needs, Program, SocketIterator, Tracer},
    procfs::{Lockdown, Privileges, Procfs, ProcfsError},
    text::plural,
    tracker::{self, Snapshot},
};

pub(super) const EXAMPLES: &str = "Examples:
  tcpstat check                                      what can run here, and what is missing for the rest
  tcpstat check > /dev/null && echo a tracer runs    use the exit status";

/// Flags of `tcpstat check`.
#[derive(Args, Debug)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    procfs: ProcfsArgs,
}

/// Prints a report. The exit status is success only if a tracer would run.
pub(super) fn run(args: &CheckArgs, seccomp: SeccompArgs) -> anyhow::Result<ExitCode> {
    // It tries everything with what it was started with, as serve does at its start.
    seccomp.restrict(Needs { bpf: true, ..Needs::default() }).log_refusals()?;
    let mut report = Report(String::new());
    let verdict = report.check_all(&Procfs::new(&args.procfs.path));
    report.add("tracer", &verdict.words());
    write_out(report.0.as_bytes())?;
    Ok(match verdict {
        Verdict::Runs(_) => ExitCode::SUCCESS,
        Verdict::SnapshotsOnly | Verdict::NoStart(_) => ExitCode::FAILURE,
    })
}

/// What `tcpstat serve` would do.
enum Verdict {
    Runs(Program),
    SnapshotsOnly,
    /// With the reason.
    NoStart(&'static str),
}

impl Verdict {
    fn words(&self) -> String {
        match self {
            Self::Runs(program) => format!("would run, with {}", program.word()),
            Self::SnapshotsOnly => "would not run; serve would use snapshots only".to_owned(),
            Self::NoStart(reason) => format!("would not run; serve would not start: {reason}"),
        }
    }
}

struct Report(String);

impl Report {
    fn add(&mut self, subject: &str, finding: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{subject:<14}{finding}");
    }

    fn check_all(&mut self, procfs: &Procfs) -> Verdict {
        let privileges = Privileges::read();
        self.add("kernel", &kernel_release());
        self.add("capabilities", &capabilities(&privileges));
        self.obstacles(&privileges);
        self.add("perf events", &setting("perf_event_paranoid", privileges.perf_event_paranoid));
        let unprivileged = privileges.unprivileged_bpf_disabled;
        self.add("BPF", &setting("unprivileged_bpf_disabled", unprivileged));
        if let Err(error) = procfs.check_kind() {
            self.add("procfs", &error.to_string());
            return Verdict::NoStart("--path.procfs is not a procfs");
        }
        if let Err(error) = procfs.check_namespace() {
            self.add("procfs", &error.to_string());
            return Verdict::NoStart(
                "--path.procfs shows the network namespace of this process, not that of process 1 there",
            );
        }
        let by_procfs = tracker::take(procfs);
        self.add(
            "procfs",
            &match &by_procfs {
                Ok(snapshot) => format!("{} from {}", summary(snapshot), procfs.root().display()),
                Err(error) => format!("failed: {error}"),
            },
        );
        let by_iterator = iterator(procfs, &privileges);
        self.add("iter/tcp", by_iterator.as_ref().unwrap_or_else(|refusal| refusal));
        let program = self.programs(procfs, &privileges);
        if program.is_none() {
            self.no_features();
        }
        self.scopes(procfs, program, &privileges);
        match program {
            _ if by_procfs.is_err() && by_iterator.is_err() => {
                Verdict::NoStart("no source of snapshots works")
            }
            Some(program) => Verdict::Runs(program),
            None => Verdict::SnapshotsOnly,
        }
    }

    /// Settings that make capabilities ineffective.
    fn obstacles(&mut self, privileges: &Privileges) {
        if privileges.initial_user_namespace == Some(false) {
            self.add("user ns", "not the initial one: its capabilities have no effect on BPF");
        }
        if privileges.seccomp_filter == Some(true) {
            self.add("seccomp", "a filter is active");
        }
        match privileges.lockdown {
            Some(Lockdown::Integrity) => self.add("lockdown", "integrity"),
            Some(Lockdown::Confidentiality) => self.add("lockdown", "confidentiality"),
            Some(Lockdown::None) | None => {}
        }
    }

    /// Tries each program. Returns the one that serve would use.
    fn programs(&mut self, procfs: &Procfs, privileges: &Privileges) -> Option<Program> {
        match procfs.namespace() {
            Ok(namespace) => self.add("namespace", &described(&namespace)),
            Err(error) => self.add("namespace", &format!("unknown: {error}")),
        }
        let inum = match procfs.netns_inum() {
            Ok(inum) => inum,
            Err(error @ ProcfsError::ForeignNamespace { .. }) => {
                self.add("", &error.to_string());
                return None;
            }
            Err(_) => return None,
        };
        let mut found = None;
        for program in Program::in_order() {
            match Tracer::load(program, inum, Namespaces::Own) {
                Ok(tracer) => {
                    self.add(program.word(), "runs");
                    if found.is_none() {
                        self.hooks(&tracer);
                        self.features(procfs, &tracer);
                    }
                    found.get_or_insert(program);
                }
                Err(error) => {
                    error.write_kernel_log();
                    self.add(program.word(), &format!("refused: {error}"));
                    self.add("", &format!("→ {}", error.remedy(privileges)));
                }
            }
        }
        found
    }

    /// A tracer runs without hooks, so there is no remedy.
    fn hooks(&mut self, tracer: &Tracer) {
        self.add("hooks", tracer.hooks.word());
        for refusal in &tracer.hooks_refused {
            let (group, lost) = (refusal.group, refusal.lost());
            self.add("", &format!("without {group} only snapshots show {lost} ({refusal})"));
        }
        if !tracer.hooks_refused.is_empty() {
            self.add("", &format!("→ {}", HookRefusal::REMEDY));
        }
    }
}

fn kernel_release() -> String {
    uname().map_or_else(
        |error| format!("unknown: {error}"),
        |uname| uname.release().to_string_lossy().into_owned(),
    )
}

fn capabilities(privileges: &Privileges) -> String {
    match privileges.capabilities {
        None => "unknown".to_owned(),
        Some(held) => {
            let word = |held| if held { "yes" } else { "no" };
            format!("CAP_BPF {}, CAP_PERFMON {}", word(held.bpf()), word(held.perfmon()))
        }
    }
}

fn setting(name: &str, value: Option<i64>) -> String {
    value.map_or_else(
        || format!("kernel.{name} is unknown"),
        |value| format!("kernel.{name} = {value}"),
    )
}

/// The result of a snapshot by the iterator, or why serve would not use it.
fn iterator(procfs: &Procfs, privileges: &Privileges) -> Result<String, String> {
    let refused = |refusal: String| format!("refused: {refusal}");
    let mut iterator =
        SocketIterator::load().map_err(|error| refused(error.with_remedy(privileges)))?;
    let snapshot = tracker::take_by_iterator(&mut iterator)
        .map_err(|error| refused(error.with_remedy(privileges)))?;
    if procfs.lists_own_namespace() {
        Ok(summary(&snapshot))
    } else {
        Err(format!("{}, of another network namespace", summary(&snapshot)))
    }
}

fn summary(snapshot: &Snapshot) -> String {
    let sockets = snapshot.tally.rows;
    format!(
        "{sockets} socket{} in {:.1} ms",
        plural(sockets),
        snapshot.duration.as_secs_f64() * 1e3
    )
}
