//! `tcpstat events`: every transition, live.

mod arguments;
mod cgroups;
mod chosen;
mod human;
mod json;
mod lines;
mod losses;
mod netns;
mod output;
mod pace;
mod session;
mod time;

use std::{process::ExitCode, time::Instant};

use anyhow::anyhow;
use tracing::{debug, info};

pub(super) use arguments::{EXAMPLES, EventsArgs};
use cgroups::Cgroups;
use lines::Lines;
use losses::Losses;
use netns::NetnsNames;
use output::Output;
use session::{Limits, Session};

use super::{
    restrictions::{SeccompArgs, Stays},
    signals::EventsSignals,
};
use crate::{
    kernel::{Attempt, Needs, Program, TransitionStream},
    procfs::{Privileges, Procfs},
    stream::{Connects, Filter},
};

/// Shows transitions until a limit, a signal, or the end of the reader of standard output.
pub(super) fn run(args: &EventsArgs, seccomp: SeccompArgs) -> anyhow::Result<ExitCode> {
    // Before any thread starts.
    let mut restrictions = seccomp.restrict(Needs { bpf: true, ..Needs::default() });
    let signals = EventsSignals::new()?;
    restrictions.log_refusals()?;
    let programs = args.programs()?;
    let procfs = args.procfs()?;
    let mut names = args.names(&procfs)?;
    let (filter, cgroup_patterns) = args.filter(&procfs, &mut names)?;
    let own_namespace = filter.netns.is_some();
    let mut stream = load(&programs, &filter, args.buffer)?;
    // After the programs were accepted: without privileges one line says what to grant.
    names.find_once();
    let chosen = args.chosen(&filter, &names);
    let mut cgroups = Cgroups::new(cgroup_patterns, stream.has_cgroups)?;
    cgroups.find(&mut stream);
    if !stream.has_processes && Procfs::in_initial_pid_namespace() == Some(false) {
        info!(
            "processes are not shown: tcpstat does not run in the PID namespace of the host (hostPID: true, --pid host)"
        );
    }
    info!(program = stream.program.word(), "showing transitions");
    restrictions.keep_sight(&procfs);
    restrictions.reduce(Stays::Briefly);
    let lines = if args.json { Lines::json() } else { Lines::human(!own_namespace) };
    let limits =
        Limits { end: args.duration.map(|duration| Instant::now() + duration), count: args.count };
    let namespaces = args.shown_namespaces(&names.own(&procfs));
    let output = Output::start()?;
    Session {
        stream,
        signals,
        output,
        lines,
        names,
        chosen,
        cgroups,
        limits,
        losses: Losses::default(),
        connects: Connects::default(),
        namespaces,
    }
    .run()
}

/// # Errors
/// Which program needs what.
fn load(programs: &[Program], filter: &Filter, buffer: u32) -> anyhow::Result<TransitionStream> {
    let loaded = TransitionStream::load_first(programs, filter, buffer);
    loaded.map_err(|refused| {
        let privileges = Privileges::read();
        for Attempt { program, error } in &refused {
            debug!(program = program.word(), "refused: {error}");
            error.write_kernel_log();
        }
        let with_remedy = |Attempt { program, error }: &Attempt| {
            format!("{}: {}", program.word(), error.with_remedy(&privileges))
        };
        // One remedy for both, where they are refused before they differ.
        let mut reasons: Vec<_> =
            refused.iter().map(|Attempt { error, .. }| error.with_remedy(&privileges)).collect();
        reasons.dedup();
        if reasons.len() > 1 {
            reasons = refused.iter().map(with_remedy).collect();
        }
        anyhow!("transitions cannot be shown: {}", reasons.join("; "))
    })
}
