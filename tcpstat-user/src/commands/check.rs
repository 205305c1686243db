//! `tcpstat check`: tries what the tracer needs, and says what to grant.

use std::{fmt::Write as _, process::ExitCode};

use clap::Args;
use nix::sys::utsname::uname;

use super::{ProcfsArgs, counting::described, write_out};
use crate::{
    kernel::{Program, SocketIterator, Tracer},
    procfs::{Lockdown, Privileges, Procfs, ProcfsError},
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

/// Prints a report. Success only where the tracer would run.
pub(super) fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let mut report = Report(String::new());
    let verdict = report.findings(&Procfs::new(&args.procfs.path));
    report.say("tracer", &verdict.words());
    write_out(report.0.as_bytes())?;
    Ok(match verdict {
        Verdict::Runs(_) => ExitCode::SUCCESS,
        Verdict::SnapshotsAlone | Verdict::NoStart(_) => ExitCode::FAILURE,
    })
}

/// What `tcpstat serve` would do.
enum Verdict {
    Runs(Program),
    SnapshotsAlone,
    /// Why it would end at once.
    NoStart(&'static str),
}

impl Verdict {
    fn words(&self) -> String {
        match self {
            Self::Runs(program) => format!("would run, with {}", program.word()),
            Self::SnapshotsAlone => "would not run; serve would use snapshots only".to_owned(),
            Self::NoStart(reason) => format!("would not run; serve would not start: {reason}"),
        }
    }
}

struct Report(String);

impl Report {
    fn say(&mut self, what: &str, finding: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{what:<14}{finding}");
    }

    fn findings(&mut self, procfs: &Procfs) -> Verdict {
        let privileges = Privileges::read();
        self.say("kernel", &kernel_release());
        self.say("capabilities", &capabilities(&privileges));
        self.obstacles(&privileges);
        self.say("perf events", &setting("perf_event_paranoid", privileges.perf_event_paranoid));
        let unprivileged = privileges.unprivileged_bpf_disabled;
        self.say("BPF", &setting("unprivileged_bpf_disabled", unprivileged));
        if let Err(error) = procfs.check_namespace() {
            self.say("procfs", &error.to_string());
            return Verdict::NoStart(
                "--path.procfs shows a different network namespace from the one it promises",
            );
        }
        let by_procfs = tracker::take(procfs);
        self.say(
            "procfs",
            &match &by_procfs {
                Ok(pass) => format!("{} from {}", listed(pass), procfs.root().display()),
                Err(error) => format!("failed: {error}"),
            },
        );
        let by_iterator = iterator(procfs, &privileges);
        self.say("iter/tcp", by_iterator.as_ref().unwrap_or_else(|refusal| refusal));
        let program = self.programs(procfs, &privileges);
        match program {
            _ if by_procfs.is_err() && by_iterator.is_err() => {
                Verdict::NoStart("no source of snapshots works")
            }
            Some(program) => Verdict::Runs(program),
            None => Verdict::SnapshotsAlone,
        }
    }

    /// What takes the effect of capabilities away, where there is something.
    fn obstacles(&mut self, privileges: &Privileges) {
        if privileges.initial_user_namespace == Some(false) {
            self.say("user ns", "not the initial one: its capabilities have no effect on BPF");
        }
        if privileges.seccomp_filter == Some(true) {
            self.say("seccomp", "a filter is active");
        }
        match privileges.lockdown {
            Some(Lockdown::Integrity) => self.say("lockdown", "integrity"),
            Some(Lockdown::Confidentiality) => self.say("lockdown", "confidentiality"),
            Some(Lockdown::None) | None => {}
        }
    }

    /// The first program that runs, as serve would choose it.
    fn programs(&mut self, procfs: &Procfs, privileges: &Privileges) -> Option<Program> {
        match procfs.namespace() {
            Ok(namespace) => self.say("namespace", &described(&namespace)),
            Err(error) => self.say("namespace", &format!("unknown: {error}")),
        }
        let inum = match procfs.netns_inum() {
            Ok(inum) => inum,
            Err(error @ ProcfsError::ForeignNamespace { .. }) => {
                self.say("", &error.to_string());
                return None;
            }
            Err(_) => return None,
        };
        let mut found = None;
        for program in Program::in_order() {
            match Tracer::load(program, inum) {
                Ok(tracer) => {
                    self.say(program.word(), "runs");
                    if found.is_none() {
                        self.hooks(&tracer);
                    }
                    found.get_or_insert(program);
                }
                Err(error) => {
                    error.write_kernel_log();
                    self.say(program.word(), &format!("refused: {error}"));
                    self.say("", &format!("→ {}", error.remedy(privileges)));
                }
            }
        }
        found
    }

    /// Not needed to run, so without a remedy.
    fn hooks(&mut self, tracer: &Tracer) {
        self.say("hooks", tracer.hooks.word());
        for refusal in &tracer.hooks_refused {
            self.say("", &format!("{} refused: {refusal}", refusal.group));
        }
        if !tracer.hooks_refused.is_empty() {
            self.say("", "→ nothing to grant: not every kernel takes hooks, and none are required");
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

/// What the iterator lists, or why serve would not use it.
fn iterator(procfs: &Procfs, privileges: &Privileges) -> Result<String, String> {
    let refused = |refusal: String| format!("refused: {refusal}");
    let mut iterator =
        SocketIterator::load().map_err(|error| refused(error.with_remedy(privileges)))?;
    let pass = tracker::take_by_iterator(&mut iterator)
        .map_err(|error| refused(error.with_remedy(privileges)))?;
    if procfs.lists_own_namespace() {
        Ok(listed(&pass))
    } else {
        Err(format!("{}, of another network namespace", listed(&pass)))
    }
}

fn listed(pass: &Snapshot) -> String {
    format!("{} sockets in {:.1} ms", pass.tally.rows, pass.duration.as_secs_f64() * 1e3)
}
