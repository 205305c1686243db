//! Which of the namespaces a held socket is in, and what a scrape shows of these sockets.

use std::{collections::HashMap, time::Instant};

use super::{ActiveTracer, NamespaceId, NetnsKey, Others, Present, Schedule, SharedSlot};
use crate::tracker::held::Held;

impl Others {
    /// The id of the namespace with this key; `None` if it is not known.
    pub(in crate::tracker) fn id(&self, key: NetnsKey) -> Option<NamespaceId> {
        self.ids.get(&key).copied().or_else(|| self.shared.has(key).then_some(SharedSlot::ID))
    }

    /// Whether a namespace has this id.
    pub(in crate::tracker) fn has(&self, id: NamespaceId) -> bool {
        id == SharedSlot::ID || self.namespaces.contains_key(&id)
    }

    /// Whether no other namespace is known.
    pub(in crate::tracker) fn is_empty(&self) -> bool {
        self.namespaces.is_empty() && self.shared.is_empty()
    }

    /// Notes that processes hold sockets in these namespaces, which have these inode numbers, and in no others.
    pub(in crate::tracker) fn know_held(&mut self, held: HashMap<NetnsKey, u32>) {
        let Self { unseen, ids, shared, next_find, .. } = self;
        let is_known = |key| ids.contains_key(&key) || shared.has(key);
        if held.keys().any(|&key| !is_known(key)) {
            *next_find = Instant::now();
        }
        unseen.know_held(held, is_known);
    }

    /// Takes the namespaces in which no process is, and in which processes elsewhere hold sockets. As long as they do, none of
    /// them is forgotten.
    pub(super) fn take_held(
        &mut self,
        present: &Present,
        mut active: Option<&mut ActiveTracer>,
        schedule: &mut Schedule,
    ) {
        let is_there = |(key, inode): &(NetnsKey, u64)| {
            // A namespace with a process that has this inode number has taken it from one that has ended.
            !present.keys.contains(key) && !present.inodes.contains(inode)
        };
        for (key, inode) in self.unseen.take_held().into_iter().filter(is_there) {
            if let Some(other) = self.ids.get(&key).and_then(|id| self.namespaces.get_mut(id)) {
                if other.note_held(inode) {
                    self.take_without_process(key, Some(inode), active.as_deref_mut(), schedule);
                }
            } else {
                // No event of its sockets has announced it, so they are older than its slot.
                self.unseen.note(key);
                self.take_without_process(key, Some(inode), active.as_deref_mut(), schedule);
                self.shared.note_held_from_outside(key);
            }
        }
    }

    /// Lets a scrape show what processes hold in each namespace.
    pub(in crate::tracker) fn set_held(&mut self, mut held: impl FnMut(NamespaceId) -> Held) {
        for (&id, other) in &mut self.namespaces {
            other.set_held(held(id));
        }
        self.shared.set_held(held(SharedSlot::ID));
        self.changed = true;
    }
}
