//! Which namespaces are forgotten after a search, and which go on in `other`.

use std::collections::HashSet;

use super::{ActiveTracer, NetnsKey, Others, Present, Schedule, Slot};

impl Others {
    /// Forgets those that have neither a process nor a socket, those that have ended for certain, and those that have had
    /// neither a process nor a transition for long.
    pub(super) fn forget_all_but(
        &mut self,
        present: &Present,
        active: Option<&mut ActiveTracer>,
        schedule: &mut Schedule,
    ) {
        let (mut gone, mut ended, mut abandoned) = (Vec::new(), HashSet::new(), HashSet::new());
        let keys = &present.keys;
        for other in self.namespaces.values_mut().filter(|other| !keys.contains(&other.key)) {
            other.leave_process(active.as_deref(), schedule);
            let Some(active) = active.as_deref() else {
                gone.push(other.key);
                continue;
            };
            let counted = other.namespace.counted(active);
            let is_seeded = other.namespace.is_seeded(true);
            if !is_seeded && self.unseen.held_inode(other.key).is_none() {
                // No process can list it, and none is known to hold its sockets.
                gone.push(other.key);
                self.unseen.note(other.key);
            } else if is_seeded && other.namespace.is_empty(&counted) {
                gone.push(other.key);
            } else if present.inodes.contains(&other.inode()) {
                gone.push(other.key);
                ended.insert(other.key);
            } else if other.is_abandoned(counted.total(), self.abandoned_after) {
                other.log_abandoned();
                gone.push(other.key);
                abandoned.insert(other.key);
            } else {
                other.discard_wrong_seed(active, &mut self.unseen);
            }
        }
        let Self { shared, unseen, .. } = self;
        let shared_gone = shared.forget_all_but(keys, |key| unseen.held_inode(key).is_some());
        for &key in &shared_gone {
            // Processes elsewhere can hold its sockets, which no slot of its own has counted. The next reading shows it.
            self.unseen.note(key);
            self.unseen.forget_held(key);
        }
        let Some(active) = active else {
            return gone.into_iter().for_each(|key| self.forget(key, schedule));
        };
        if gone.is_empty() && shared_gone.is_empty() {
            return;
        }
        for (key, counted) in active.retire(&[gone, shared_gone].concat()) {
            let Some(other) = self.ids.get(&key).and_then(|id| self.namespaces.get_mut(id)) else {
                continue;
            };
            if abandoned.contains(&key) {
                self.unseen.note(key);
                self.forget(key, schedule);
            } else if ended.contains(&key) || other.namespace.is_empty(&counted) {
                self.forget(key, schedule);
            } else {
                match active.slot(key) {
                    Slot::OTHER => self.share(key, schedule),
                    slot => other.namespace.resume(slot, &counted, active),
                }
            }
        }
    }

    /// Counts a namespace in `other` from now on, because the tracer has no slot for it.
    pub(super) fn share(&mut self, key: NetnsKey, schedule: &mut Schedule) {
        let Some(other) = self.ids.get(&key).and_then(|id| self.namespaces.remove(id)) else {
            return;
        };
        self.forget(key, schedule);
        self.shared.add(other.into_found(), false);
    }

    fn forget(&mut self, key: NetnsKey, schedule: &mut Schedule) {
        if let Some(id) = self.ids.remove(&key) {
            self.namespaces.remove(&id);
            schedule.remove(id);
        }
        self.unseen.forget_held(key);
        self.names.release(key);
    }
}
