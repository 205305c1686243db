//! One network namespace besides the own one.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::info;

use super::{
    ActiveTracer, FoundNetns, Namespace, NamespaceId, NetnsKey, NetnsLabel, Schedule, Slot,
    SnapshotIntervals, Unseen,
};
use crate::{
    procfs::Procfs,
    tracker::{held::Held, published::PublishedNetns, roots::Roots},
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
    held: Held,
    /// What was counted when a transition was last noticed after the last process ended, and when that was.
    calm: Option<(u64, Instant)>,
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
        let mut namespace = intervals.namespace(roots(process.as_ref()), slot, active, is_new);
        namespace.set_netns(label.clone());
        let label = NetnsLabel { value: label, name: Arc::new(found.name) };
        let mut other = Self {
            key: found.key,
            namespace,
            published: Arc::default(),
            id,
            label,
            process,
            held: Held::default(),
            calm: None,
        };
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
            self.namespace.set_netns(label.clone());
            self.label = NetnsLabel { value: label, name: Arc::new(found.name) };
            self.publish(active);
        }
        if self.process.as_ref().is_some_and(|process| found.processes.contains(process)) {
            return;
        }
        self.calm = None;
        let had_process = self.process.is_some();
        self.process = found.processes.into_iter().next();
        self.namespace.set_roots(roots(self.process.as_ref()));
        match (had_process, &self.process) {
            (false, Some(_)) => schedule.add(self.id, Instant::now()),
            // The last snapshot may have failed because the process ended. And an inode number comes again: where the
            // key is one, this may be another namespace.
            (true, Some(_)) => schedule.hurry(self.id, Instant::now()),
            (true, None) => schedule.remove(self.id),
            (false, None) => {}
        }
    }

    /// Whether a process is in it.
    pub(super) fn has_process(&self) -> bool {
        self.process.is_some()
    }

    /// Notes that no process is in it: nothing lists its sockets any more.
    pub(super) fn leave_process(&mut self, active: Option<&ActiveTracer>, schedule: &mut Schedule) {
        if self.process.take().is_some() {
            self.namespace.set_roots(Roots::default());
            schedule.remove(self.id);
            self.publish(active);
        }
    }

    /// Without a process nothing corrects the gauges. If they are wrong for certain, it has none from now on.
    pub(super) fn discard_wrong_seed(&mut self, active: &ActiveTracer, unseen: &mut Unseen) {
        if self.namespace.lacks_sockets(active) {
            self.namespace.discard_seed();
            unseen.note(self.key);
            self.publish(Some(active));
        }
    }

    /// What the last search has found of it.
    pub(super) fn into_found(self) -> FoundNetns {
        let name = Arc::unwrap_or_clone(self.label.name);
        FoundNetns { key: self.key, name, processes: self.process.into_iter().collect() }
    }

    /// Notes that processes elsewhere hold sockets in it. Returns whether that shows its inode number, and so its name.
    pub(super) fn note_held(&mut self, inode: u64) -> bool {
        self.calm = None;
        self.inode() != inode
    }

    /// Its inode number; 0 if it is not known.
    pub(super) fn inode(&self) -> u64 {
        self.label.name.inode
    }

    /// Whether it has had neither a process nor a transition for `limit`. `counted` is the number of transitions now.
    ///
    /// An orphan ends within minutes, so sockets that are counted here are those of lost events, or are held from
    /// outside and idle. Nothing can list them.
    pub(super) fn is_abandoned(&mut self, counted: u64, limit: Duration) -> bool {
        match self.calm {
            Some((before, since)) if before == counted => since.elapsed() >= limit,
            _ => {
                self.calm = Some((counted, Instant::now()));
                false
            }
        }
    }

    pub(super) fn log_abandoned(&self) {
        info!(
            netns = &*self.label.value,
            "forgetting a network namespace that has had no process and no transition for long: sockets are counted \
             in it still, because events were lost or because a process outside holds them"
        );
    }

    /// Lets a scrape show what processes hold in it.
    pub(super) fn set_held(&mut self, held: Held) {
        self.held = held;
        Arc::make_mut(&mut self.published).set_held(&self.held);
    }

    pub(super) fn publish(&mut self, active: Option<&ActiveTracer>) {
        let mut published = PublishedNetns {
            label: Some(self.label.clone()),
            tw: self.namespace.tw(),
            numbers: self.namespace.publication(active),
        };
        published.set_held(&self.held);
        self.published = Arc::new(published);
    }
}

fn roots(process: Option<&PathBuf>) -> Roots {
    Roots::new(process.into_iter().map(Procfs::new).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{scopes::NetnsName, tracker::schedule::Turn};

    #[test]
    fn a_namespace_whose_process_has_ended_is_listed_by_another_one_soon() {
        let interval = Duration::from_hours(1);
        let intervals = SnapshotIntervals { calm: interval, outdated: interval };
        let found = |process: &str| FoundNetns {
            key: 7,
            name: NetnsName::without_process(7),
            processes: vec![PathBuf::from(process)],
        };
        let id = NamespaceId::other(2);
        let mut other =
            Other::new(id, "7".into(), found("/none/1"), Slot::OTHER, intervals, None, false);
        let now = Instant::now();
        let mut schedule = Schedule::new(other.namespace.intervals(), now);
        other.schedule(&mut schedule);
        schedule.snapshot_taken(id, now, Duration::ZERO, other.namespace.intervals());
        other.update("7".into(), found("/none/1"), None, &mut schedule);
        assert_eq!(schedule.turn(Instant::now()), None, "its process is there");
        other.update("7".into(), found("/none/2"), None, &mut schedule);
        assert_eq!(schedule.turn(Instant::now()), Some(Turn::Snapshot(id)));
    }

    #[test]
    fn only_a_namespace_without_processes_and_transitions_is_abandoned() {
        let interval = Duration::from_secs(1);
        let intervals = SnapshotIntervals { calm: interval, outdated: interval };
        let found =
            |processes| FoundNetns { key: 7, name: NetnsName::without_process(7), processes };
        let id = NamespaceId::other(2);
        let mut other =
            Other::new(id, "7".into(), found(Vec::new()), Slot::OTHER, intervals, None, false);
        assert!(!other.is_abandoned(5, Duration::ZERO), "it is noticed for the first time");
        assert!(other.is_abandoned(5, Duration::ZERO));
        assert!(!other.is_abandoned(5, Duration::from_hours(1)), "not for so long");
        assert!(!other.is_abandoned(6, Duration::ZERO), "a socket has changed its state");
        assert!(other.is_abandoned(6, Duration::ZERO));
        assert!(other.note_held(70), "it has another inode number than before");
        assert!(!other.is_abandoned(6, Duration::ZERO), "processes hold sockets in it");
        assert!(other.is_abandoned(6, Duration::ZERO));

        let now = Instant::now();
        let mut schedule = Schedule::new(other.namespace.intervals(), now);
        let process = vec![std::env::temp_dir()];
        other.update("7".into(), found(process), None, &mut schedule);
        assert!(!other.is_abandoned(6, Duration::ZERO), "a process has entered it");
    }
}
