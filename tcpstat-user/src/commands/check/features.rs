//! The lines of `tcpstat check` about causes, ages, dwells, and listening sockets: which work here, and what the others
//! lack.

use super::Report;
use crate::{
    dwell::{DwellChoice, DwellStates},
    kernel::{
        CloseWaitIterator, DwellIterator, HeldIterator, HeldStateIterator, ListenerIterator,
        LoadError, Namespaces, Program, ScopeKinds, Tracer, WantedIterators,
    },
    procfs::Procfs,
};

/// The iterator lists the namespace of this process.
const NOT_LISTED: &str = "the iterator does not list this network namespace";

impl Report {
    /// Adds a line for each. `tracer` is the one that would count. Where the iterator itself is refused, another line has
    /// the remedy.
    pub(super) fn features(&mut self, procfs: &Procfs, tracer: &Tracer) {
        self.add("causes", &causes(tracer));
        let listed = procfs.lists_own_namespace();
        self.add("ages", &ages(tracer, listed));
        self.add("dwells", &dwells(tracer, listed));
        self.add("listeners", &listeners(listed));
    }

    /// Adds the lines of the features where no tracer would run.
    pub(super) fn no_features(&mut self) {
        for feature in ["causes", "ages", "dwells", "listeners"] {
            self.add(feature, "does not work without a tracer");
        }
    }

    /// Adds the line about ages and listening sockets of other network namespaces, of which `inum` is not one.
    pub(super) fn held(&mut self, program: Option<Program>, inum: u32) {
        if program.is_none() {
            return;
        }
        let finding = match HeldIterator::load(inum) {
            Ok(_) => "their ages and listening sockets: works".to_owned(),
            Err(error) => format!(
                "their ages and listening sockets: not shown: {}; namespaces without a process have no gauges",
                refused(&error)
            ),
        };
        self.add("", &finding);
        let finding = match HeldStateIterator::load(inum) {
            Ok(_) => "one walk for the first counts of many: works".to_owned(),
            Err(error) => format!("each is listed by itself at the start: {}", refused(&error)),
        };
        self.add("", &finding);
    }
}

fn causes(tracer: &Tracer) -> String {
    match &tracer.causes_refused {
        None => "works: the kernel shows why sockets close".to_owned(),
        Some(error) => format!("not counted: {error}"),
    }
}

fn ages(tracer: &Tracer, listed: bool) -> String {
    if tracer.causes_refused.is_some() {
        return "not measured: they need what causes need".to_owned();
    }
    if let Some(error) = &tracer.silence_refused {
        return format!("not measured: {error}");
    }
    let Some(rate) = tracer.silence_rate else {
        return "not measured: the rate of the kernel's clock is not known".to_owned();
    };
    if !listed {
        return format!("works for the histogram alone: {NOT_LISTED}");
    }
    match CloseWaitIterator::load() {
        Ok(_) => format!("works: the kernel's clock has {} ticks per second", rate.0),
        Err(error) => format!("works for the histogram alone: {}", refused(&error)),
    }
}

fn dwells(tracer: &Tracer, listed: bool) -> String {
    if !listed {
        return format!("not measured: {NOT_LISTED}");
    }
    let states = DwellStates::all();
    let (kinds, choice) = (ScopeKinds::default(), DwellChoice { states, max: 1 });
    let (program, inum) = (tracer.program, tracer.netns_inum);
    let iterators = WantedIterators::default();
    let measuring =
        Tracer::load_with(program, inum, Namespaces::Own, kinds, choice, iterators).map(drop);
    match measuring.and_then(|()| DwellIterator::load(states).map(drop)) {
        Ok(()) => format!("works: {} measures them with --dwell", program.word()),
        Err(error) => format!("not measured: {}", refused(&error)),
    }
}

fn listeners(listed: bool) -> String {
    if !listed {
        return format!("not shown: {NOT_LISTED}");
    }
    match ListenerIterator::load() {
        Ok(_) => "works: the iterator shows accept queues and drops".to_owned(),
        Err(error) => format!("not shown: {}", refused(&error)),
    }
}

/// The cause. Writes the kernel's log to that of this process.
fn refused(error: &LoadError) -> String {
    error.write_kernel_log();
    error.to_string()
}
