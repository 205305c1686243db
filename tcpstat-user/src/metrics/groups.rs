//! Groups of metrics: a scrape can ask for some of them, or for all but some.

/// A set of metrics that belong together. Each metric is in one group, which [`names`](super::names) gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// Sockets by state, and their peaks.
    Connections,
    /// Transitions of full sockets.
    Transitions,
    /// Why sockets closed, and retried connects.
    Causes,
    /// How long sockets are in CLOSE_WAIT, and in the states that the user chooses.
    Ages,
    /// Listening sockets.
    Listeners,
    /// node_exporter's metric.
    NodeExporter,
    /// The last snapshot, its errors, and the bytes in queues at that time.
    Snapshot,
    /// The kernel's own counts and limits.
    Sockstat,
    /// What counts, and what it missed.
    Tracer,
    /// Whether the numbers are right.
    Health,
    /// Sockets by network namespace, how long they are in CLOSE_WAIT, and listening sockets.
    Netns,
    /// Sockets by cgroup.
    Cgroup,
    /// Sockets by local port.
    Port,
    /// The number of scopes.
    Scopes,
    /// cAdvisor's metrics.
    Cadvisor,
    /// The version of this binary.
    Build,
    /// Memory, CPU time and descriptors of this process, and its web configuration.
    Process,
}

impl Group {
    /// All groups.
    pub(crate) const ALL: [Self; 17] = [
        Self::Connections,
        Self::Transitions,
        Self::Causes,
        Self::Ages,
        Self::Listeners,
        Self::NodeExporter,
        Self::Snapshot,
        Self::Sockstat,
        Self::Tracer,
        Self::Health,
        Self::Netns,
        Self::Cgroup,
        Self::Port,
        Self::Scopes,
        Self::Cadvisor,
        Self::Build,
        Self::Process,
    ];

    /// The group as clients name it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Transitions => "transitions",
            Self::Causes => "causes",
            Self::Ages => "ages",
            Self::Listeners => "listeners",
            Self::NodeExporter => "node_exporter",
            Self::Snapshot => "snapshot",
            Self::Sockstat => "sockstat",
            Self::Tracer => "tracer",
            Self::Health => "health",
            Self::Netns => "netns",
            Self::Cgroup => "cgroup",
            Self::Port => "port",
            Self::Scopes => "scopes",
            Self::Cadvisor => "cadvisor",
            Self::Build => "build",
            Self::Process => "process",
        }
    }

    /// The group with that name.
    pub(crate) fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.word() == word)
    }
}

/// Some of the groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Groups(u32);

impl Groups {
    /// No group.
    pub(crate) const NONE: Self = Self(0);

    /// Every group.
    pub(crate) const ALL: Self = Self((1 << Group::ALL.len()) - 1);

    /// These and `group`.
    #[must_use]
    pub(crate) const fn with(self, group: Group) -> Self {
        Self(self.0 | 1 << group as u32)
    }

    /// All groups but these.
    #[must_use]
    pub(crate) const fn others(self) -> Self {
        Self(Self::ALL.0 & !self.0)
    }

    /// Whether `group` is one of these.
    pub(crate) const fn contains(self, group: Group) -> bool {
        self.0 & 1 << group as u32 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_group_has_a_name_of_its_own() {
        for group in Group::ALL {
            assert_eq!(Group::named(group.word()), Some(group));
        }
        assert_eq!(Group::named("Connections"), None);
        assert_eq!(Group::named(""), None);
    }

    #[test]
    fn the_others_are_all_groups_that_are_not_in_the_set() {
        let some = Groups::NONE.with(Group::Connections).with(Group::Process);
        for group in Group::ALL {
            assert!(Groups::ALL.contains(group));
            assert!(!Groups::NONE.contains(group));
            assert_ne!(some.contains(group), some.others().contains(group));
        }
        assert_eq!(some.others().others(), some);
    }
}
