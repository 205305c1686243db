//! Which of the namespaces a held socket is in, and what a scrape shows of these sockets.

use std::collections::HashSet;

use super::{NamespaceId, NetnsKey, Others, SharedSlot};
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

    /// Notes that processes hold sockets in these namespaces, and in no others.
    pub(in crate::tracker) fn know_held(&mut self, keys: &HashSet<NetnsKey>) {
        let Self { unseen, ids, shared, .. } = self;
        unseen.know_held(keys, |key| ids.contains_key(&key) || shared.has(key));
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
