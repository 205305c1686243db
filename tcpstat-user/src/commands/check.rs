//! `tcpstat check`: tries what the tracer needs, and says what to grant.

use std::{fmt::Write as _, process::ExitCode};

use clap::Args;
use nix::sys::utsname::uname;

use super::{ProcfsArgs, write_out};
use crate::{
    kernel::{Program, SocketIterator, Tracer},
    procfs::{Capabilities, Procfs},
    tracker::{self, Pass},
};

pub(super) const EXAMPLES: &str = "Examples:
  tcpstat check                                      what runs here, and what is missing for the rest
  tcpstat check > /dev/null && echo a tracer runs    the exit status tells too";

/// Flags of `tcpstat check`.
#[derive(Args, Debug)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    procfs: ProcfsArgs,
}

/// Prints a report. Success only where the tracer would run.
pub(super) fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let procfs = args.procfs.procfs();
    let mut report = String::new();
    let mut say = |what: &str, finding: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(report, "{what:<14}{finding}");
    };
    say("kernel", kernel_release());
    say("capabilities", capabilities());
    say("perf events", perf_events(&procfs));
    say("procfs", snapshot(&procfs));
    say("iter/tcp", iterator());

    let mut found = None;
    match procfs.netns_inum() {
        Err(error) => say("namespace", format!("unknown: {error}")),
        Ok(inum) => {
            say("namespace", format!("net:[{inum}]"));
            for program in Program::ladder() {
                match Tracer::load(program, inum) {
                    Ok(tracer) => {
                        say(program.word(), "runs".to_owned());
                        if found.is_none() {
                            hooks(&tracer, &mut say);
                        }
                        found.get_or_insert(program);
                    }
                    Err(error) => {
                        say(program.word(), format!("refused: {error}"));
                        say("", format!("→ {}", error.remedy()));
                    }
                }
            }
        }
    }
    let (verdict, status) = match found {
        Some(program) => (format!("would run, with {}", program.word()), ExitCode::SUCCESS),
        None => ("would not run; snapshots alone would be served".to_owned(), ExitCode::FAILURE),
    };
    say("tracer", verdict);
    write_out(report.as_bytes())?;
    Ok(status)
}

/// Not needed to run, so without a remedy.
fn hooks(tracer: &Tracer, say: &mut impl FnMut(&str, String)) {
    say("hooks", tracer.hooks.word().to_owned());
    for refusal in &tracer.hooks_refused {
        say("", format!("{} refused: {refusal}", refusal.group));
    }
}

fn kernel_release() -> String {
    uname().map_or_else(
        |error| format!("unknown: {error}"),
        |uname| uname.release().to_string_lossy().into_owned(),
    )
}

fn capabilities() -> String {
    match Capabilities::effective() {
        Err(error) => format!("unknown: {error}"),
        Ok(Capabilities { bpf, perfmon }) => {
            let word = |held| if held { "yes" } else { "no" };
            format!("CAP_BPF {}, CAP_PERFMON {}", word(bpf), word(perfmon))
        }
    }
}

fn perf_events(procfs: &Procfs) -> String {
    match procfs.sysctl("kernel/perf_event_paranoid") {
        Ok(level) => format!("kernel.perf_event_paranoid = {level}"),
        Err(error) => format!("unknown: {error}"),
    }
}

fn iterator() -> String {
    match SocketIterator::load() {
        Err(error) => format!("refused: {}", error.with_remedy()),
        Ok(mut iterator) => match tracker::take_by_iterator(&mut iterator) {
            Ok(pass) => listed(&pass),
            Err(error) => format!("impossible: {error}"),
        },
    }
}

fn snapshot(procfs: &Procfs) -> String {
    match tracker::take(procfs) {
        Ok(pass) => format!("{} below {}", listed(&pass), procfs.root().display()),
        Err(error) => format!("impossible: {error}"),
    }
}

fn listed(pass: &Pass) -> String {
    format!("{} sockets in {:.1} ms", pass.tally.rows, pass.duration.as_secs_f64() * 1e3)
}
