//! The first tracer: which program runs, and what the log says of those that do not.

use tracing::{debug, info, warn};

use crate::{
    dwell::DwellChoice,
    kernel::{
        self, Attempt, FirstTracer, HookRefusal, Namespaces, Program, ScopeKinds, Tracer,
        WantedIterators,
    },
    procfs::{Privileges, Procfs},
};

/// The programs to try in order, and what the tracer has to count.
#[derive(Clone, Copy)]
pub(super) struct WantedTracer<'a> {
    pub(super) programs: &'a [Program],
    pub(super) procfs: &'a Procfs,
    pub(super) namespaces: Namespaces,
    pub(super) kinds: &'a ScopeKinds,
    pub(super) dwell: DwellChoice,
    pub(super) iterators: WantedIterators,
}

/// The first tracer that runs. If there is none, a warning names what each program needs.
pub(super) fn find_tracer(wanted: WantedTracer<'_>) -> Option<Tracer> {
    let WantedTracer { programs, kinds, dwell, .. } = wanted;
    let first = first_tracer(wanted);
    let FirstTracer { tracer, refused_with_dwells, refused_with_kinds, .. } = first;
    // Without a tracer another line has the causes.
    let cause = |refused: &[Attempt]| {
        if refused.is_empty() || tracer.is_none() {
            String::new()
        } else {
            format!(": {}", with_remedies(refused))
        }
    };
    if kinds.any() && tracer.as_ref().is_none_or(|tracer| tracer.scopes.is_none()) {
        let cause = cause(&refused_with_kinds);
        warn!("{}: {}{cause}", flags_off(kinds), no_tracer(programs, "counts them"));
    }
    if dwell.any() && tracer.as_ref().is_none_or(|tracer| tracer.dwell_map.is_none()) {
        let cause = cause(&refused_with_dwells);
        warn!("--dwell is off: {}{cause}", no_tracer(programs, "measures it"));
    }
    tracer
}

/// Why no tracer of `programs` does what a flag asks for.
fn no_tracer(programs: &[Program], what: &str) -> String {
    if programs.is_empty() {
        format!("only a tracer {what}: leave out --tracer off")
    } else {
        format!("no tracer runs that {what}")
    }
}

/// The flags that ask for `kinds`, of which there is at least one.
fn flags_off(kinds: &ScopeKinds) -> &'static str {
    match (kinds.cgroups.is_some(), !kinds.ports.is_empty()) {
        (true, true) => "--cgroups and --ports are off",
        (true, false) => "--cgroups is off",
        (false, _) => "--ports is off",
    }
}

fn first_tracer(wanted: WantedTracer<'_>) -> FirstTracer {
    let WantedTracer { programs, procfs, namespaces, kinds, dwell, iterators } = wanted;
    if programs.is_empty() {
        info!("the tracer is off: using snapshots only");
        return FirstTracer::default();
    }
    let netns_inum = match procfs.netns_inum() {
        Ok(inum) => inum,
        Err(error) => {
            warn!("using snapshots only: {error}");
            return FirstTracer::default();
        }
    };
    let first = kernel::load_first(programs, netns_inum, namespaces, kinds, dwell, iterators);
    let FirstTracer { tracer, refused, refused_with_dwells, refused_with_kinds } = &first;
    for Attempt { program, error } in
        refused_with_dwells.iter().chain(refused_with_kinds).chain(refused)
    {
        debug!(program = program.word(), "refused: {error}");
        error.write_kernel_log();
    }
    if let Some(tracer) = tracer {
        if !refused.is_empty() {
            info!("the preferred program does not run: {}", with_remedies(refused));
        }
        for refusal in &tracer.hooks_refused {
            debug!(hooks = refusal.group, "refused: {refusal}");
            refusal.error.write_kernel_log();
        }
        if let Some(error) = &tracer.causes_refused {
            warn!("the causes of closed connections are not counted: {error}");
        }
        if let Some(error) = &tracer.silence_refused {
            warn!("how long sockets are in CLOSE_WAIT is not measured: {error}");
        }
        let lost = without_hooks(&tracer.hooks_refused);
        let hooks = tracer.hooks.word();
        info!(program = tracer.program.word(), hooks, "counting in the kernel{lost}");
    } else {
        warn!("no tracer runs, using snapshots only: {}", with_remedies(refused));
    }
    first
}

/// What is not counted without the hooks that the kernel refuses. The log has the reasons at the level debug.
fn without_hooks(refused: &[HookRefusal]) -> String {
    let lost: Vec<_> = refused.iter().map(HookRefusal::lost).collect();
    if lost.is_empty() {
        return String::new();
    }
    format!(
        "; only snapshots show {}, because this kernel takes no hooks for them: there is nothing to grant, and \
         `tcpstat check` shows the reason",
        lost.join(", and ")
    )
}

/// Why programs do not run, and what to do.
fn with_remedies(refused: &[Attempt]) -> String {
    let privileges = Privileges::read();
    let with_remedy = |Attempt { program, error }: &Attempt| {
        format!("{}: {}", program.word(), error.with_remedy(&privileges))
    };
    refused.iter().map(with_remedy).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_flags_that_were_given_are_off() {
        let words = |cgroups, ports| flags_off(&ScopeKinds { cgroups, ports });
        assert_eq!(words(Some(9), vec![80]), "--cgroups and --ports are off");
        assert_eq!(words(Some(9), vec![]), "--cgroups is off");
        assert_eq!(words(None, vec![80]), "--ports is off");
    }

    #[test]
    fn a_tracer_that_is_off_is_named_as_the_reason() {
        let off = no_tracer(&[], "counts them");
        assert_eq!(off, "only a tracer counts them: leave out --tracer off");
        let refused = no_tracer(&[Program::Tracepoint], "counts them");
        assert_eq!(refused, "no tracer runs that counts them");
    }
}
