//! One network namespace besides the own one.

use std::{path::PathBuf, sync::Arc, time::Instant};

use super::{
    ActiveTracer, FoundNetns, Namespace, NamespaceId, NetnsKey, NetnsLabel, Schedule, Slot,
    SnapshotIntervals,
};
use crate::{
    procfs::Procfs,
    tracker::{SourceChoice, published::PublishedNetns, roots::Roots, sources::Sources},
};

/// A namespace with its name, and the process by whose directory it is listed.
pub(super) struct Other {
    pub(super) key: NetnsKey,
    pub(super) namespace: Namespace,
    pub(super) published: Arc<PublishedNetns>,
    id: NamespaceId,
    label: NetnsLabel,
    /// The directory of a process in it.
    process: Option<PathBuf>,
}

impl Other {
    /// `is_new` says that it had no sockets before the first event that its slot has counted.
    pub(super) fn new(
        id: NamespaceId,
        label: Arc<str>,
        found: FoundNetns,
        slot: Slot,
        intervals: SnapshotIntervals,
        active: Option<&ActiveTracer>,
        is_new: bool,
    ) -> Self {
        let process = found.processes.into_iter().next();
        let roots = roots(process.as_ref());
        let sources = Sources::new(roots, SourceChoice::Auto, intervals.calm, active.is_some());
        let mut namespace = Namespace::other(sources, slot, intervals.outdated);
        if let Some(active) = active {
            namespace.begin(active, is_new);
        }
        let label = NetnsLabel { value: label, name: Arc::new(found.name) };
        let mut other =
            Self { key: found.key, namespace, published: Arc::default(), id, label, process };
        other.publish(active);
        other
    }

    /// Lets it take turns, if a process is in it.
    pub(super) fn schedule(&self, schedule: &mut Schedule) {
        if self.process.is_some() {
            schedule.add(self.id, Instant::now());
        }
    }

    /// Notes the name and the processes that it has now.
    pub(super) fn update(
        &mut self,
        label: Arc<str>,
        found: FoundNetns,
        active: Option<&ActiveTracer>,
        schedule: &mut Schedule,
    ) {
        if self.label.value != label || *self.label.name != found.name {
            self.label = NetnsLabel { value: label, name: Arc::new(found.name) };
            self.publish(active);
        }
        if self.process.as_ref().is_some_and(|process| found.processes.contains(process)) {
            return;
        }
        let had_process = self.process.is_some();
        self.process = found.processes.into_iter().next();
        self.namespace.set_roots(roots(self.process.as_ref()));
        match (had_process, &self.process) {
            (false, Some(_)) => schedule.add(self.id, Instant::now()),
            (true, None) => schedule.remove(self.id),
            _ => {}
        }
    }

    /// Notes that no process is in it: nothing lists its sockets any more.
    pub(super) fn leave_process(&mut self, active: Option<&ActiveTracer>, schedule: &mut Schedule) {
        if self.process.take().is_some() {
            self.namespace.set_roots(Roots::default());
            schedule.remove(self.id);
            self.publish(active);
        }
    }

    pub(super) fn publish(&mut self, active: Option<&ActiveTracer>) {
        self.published = Arc::new(PublishedNetns {
            label: Some(self.label.clone()),
            tw: self.process.as_ref().and(self.namespace.tw()),
            numbers: self.namespace.publication(active),
        });
    }
}

pub(super) fn roots(process: Option<&PathBuf>) -> Roots {
    Roots::new(process.into_iter().map(Procfs::new).collect())
}
