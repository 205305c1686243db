//! Groups of metrics: a scrape can ask for some of them, or for all but some. A plain scrape leaves out the details.

use crate::states::State;

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
    /// Whether a program counts: for a small scrape.
    Tracer,
    /// What counts, what it missed, and whether the numbers are right.
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
    /// Memory and CPU time of this process, and its web configuration.
    Process,
    /// What no rule and no panel asks for: metrics of its own, and the rest of the series of the other groups.
    Details,
}

impl Group {
    /// All groups.
    pub(crate) const ALL: [Self; 18] = [
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
        Self::Details,
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
            Self::Details => "details",
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

    /// What a scrape gets that does not ask for groups.
    pub(crate) const DEFAULT: Self = Self(Self::ALL.0 & !Self::NONE.with(Group::Details).0);

    /// These and `group`.
    #[must_use]
    pub(crate) const fn with(self, group: Group) -> Self {
        Self(self.0 | 1 << group as u32)
    }

    /// These and `others`.
    #[must_use]
    pub(crate) const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// The groups of a plain scrape but these.
    #[must_use]
    pub(crate) const fn others(self) -> Self {
        Self(Self::DEFAULT.0 & !self.0)
    }

    /// Whether `group` is one of these.
    pub(crate) const fn contains(self, group: Group) -> bool {
        self.0 & 1 << group as u32 != 0
    }

    /// Whether a gauge by state has this one: that of CLOSE, which is always 0, is a detail.
    pub(crate) const fn has(self, state: State) -> bool {
        self.details() || !matches!(state, State::Close)
    }

    /// Whether each family is written with all its series.
    pub(crate) const fn details(self) -> bool {
        self.contains(Group::Details)
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
    fn the_others_are_the_groups_of_a_plain_scrape_that_are_not_in_the_set() {
        let some = Groups::NONE.with(Group::Connections).with(Group::Process);
        for group in Group::ALL {
            assert!(Groups::ALL.contains(group));
            assert!(!Groups::NONE.contains(group));
            let of_plain = group != Group::Details;
            assert_eq!(Groups::DEFAULT.contains(group), of_plain);
            assert_eq!(some.others().contains(group), of_plain && !some.contains(group));
        }
        assert_eq!(some.others().others(), some);
        assert_eq!(Groups::DEFAULT.with(Group::Details), Groups::ALL);
    }
}
