//! What a scrape shows of the scopes: sets of sockets that are counted separately.

use std::sync::Arc;

use super::{Published, published::PublishedNetns};
use crate::{
    ages::{CloseWaitAges, TickRate},
    history::Moment,
    listeners::ShownListeners,
    scopes::NetnsName,
    states::PerState,
    transitions::Transitions,
};

/// What tells the scopes of a kind apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScopeKind {
    /// The network namespace.
    Netns,
    /// The cgroup (v2) that a socket was made in.
    Cgroup,
    /// The local port.
    Port,
}

impl ScopeKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Netns, Self::Cgroup, Self::Port];

    /// The kind as a label name and as a value of the label `kind`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Netns => "netns",
            Self::Cgroup => "cgroup",
            Self::Port => "port",
        }
    }
}

/// The scope of all that found no room.
pub(super) const OTHER: &str = "other";

/// The scopes of one kind, at the moment of a scrape.
#[derive(Clone, Debug, PartialEq)]
pub struct Scopes {
    /// What tells these scopes apart.
    pub kind: ScopeKind,
    /// Each with a name that no other has; the first one is `host`, if the kind is `netns`.
    pub scopes: Vec<Scope>,
    /// Scopes since the start that found no room: their sockets count in the scope `other`.
    pub overflow: u64,
    /// Scopes that exist now and cannot be counted: the files of their processes cannot be read.
    pub hidden: u64,
}

/// One scope, at the moment of a scrape.
#[derive(Clone, Debug, PartialEq)]
pub struct Scope {
    /// The label value.
    pub name: Arc<str>,
    /// Sockets by state; `None` before the seed.
    pub connections: Option<PerState<u64>>,
    /// Transitions since the scope is counted; `None` without a tracer.
    pub transitions: Option<Transitions>,
    /// What only network namespaces have.
    pub netns: Option<NetnsDetails>,
}

/// What a scrape shows of a network namespace besides its sockets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NetnsDetails {
    /// What it belongs to; `None` for the scope `other`.
    pub name: Option<Arc<NetnsName>>,
    /// Whether its gauges agreed with its sockstat at the last conclusive check; `None` without a tracer.
    pub consistent: Option<bool>,
    /// When its last snapshot ended; `None` before the first.
    pub snapshot_finished: Option<Moment>,
    /// How long sockets have been in CLOSE_WAIT, at the last reading, and what that is measured in; `None` without a
    /// reading.
    pub close_wait_ages: Option<(CloseWaitAges, TickRate)>,
    /// The listening sockets at the last reading; `None` without one.
    pub listeners: Option<Arc<ShownListeners>>,
}

impl Published {
    /// The scopes of each kind that is counted. The numbers of the own namespace are `connections` and `transitions`.
    pub(super) fn scopes(
        &self,
        connections: Option<PerState<u64>>,
        transitions: Option<&Transitions>,
    ) -> Vec<Scopes> {
        let Some(namespaces) = &self.namespaces else { return Vec::new() };
        let own = namespaces.own.as_ref().map(|label| Scope {
            name: label.value.clone(),
            connections,
            transitions: transitions.cloned(),
            netns: Some(self.netns_details(Some(label.name.clone()))),
        });
        let others = namespaces.others.iter().map(|netns| netns.scope());
        vec![Scopes {
            kind: ScopeKind::Netns,
            scopes: own.into_iter().chain(others).collect(),
            overflow: namespaces.overflow,
            hidden: namespaces.hidden,
        }]
    }

    fn netns_details(&self, name: Option<Arc<NetnsName>>) -> NetnsDetails {
        NetnsDetails {
            name,
            consistent: self.live.as_ref().map(|_| self.health.consistent),
            snapshot_finished: self.snapshot.as_ref().map(|snapshot| snapshot.finished),
            close_wait_ages: self.close_wait_ages,
            listeners: self.listeners.clone(),
        }
    }
}

impl PublishedNetns {
    /// Reads its counters.
    fn scope(&self) -> Scope {
        let numbers = &self.numbers;
        let counted = numbers.live.as_ref().map(|live| (live, live.counters.read(live.slot)));
        let connections = match &counted {
            Some((live, counted)) => {
                let tw = self.tw.unwrap_or(0);
                Some(live.ledger.connections(counted, tw, live.changed_family))
            }
            None => numbers.snapshot.as_ref().map(|snapshot| snapshot.tally.connections()),
        };
        let label = self.label.as_ref();
        Scope {
            name: label.map_or_else(|| OTHER.into(), |label| label.value.clone()),
            connections,
            transitions: counted.map(|(live, counted)| live.carried.plus(&counted)),
            netns: Some(numbers.netns_details(label.map(|label| label.name.clone()))),
        }
    }
}
