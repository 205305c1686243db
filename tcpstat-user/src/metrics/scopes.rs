//! The metrics of scopes: network namespaces, cgroups and ports.

use std::fmt;

use super::{exposition::since_epoch, family_writer::FamilyWriter, names};
use crate::{
    states::{Family, PerState, State, state_word},
    tracker::{NetnsDetails, Scope, ScopeKind, Scopes},
    transitions::{TRANSITIONS, Transitions},
};

impl FamilyWriter<'_> {
    /// Writes the scopes of each kind that is counted, and how many there are.
    pub(super) fn scopes(&mut self, kinds: &[Scopes]) -> fmt::Result {
        for Scopes { kind, scopes, .. } in kinds {
            self.sockets(*kind, scopes)?;
            if *kind == ScopeKind::Netns {
                self.namespaces(scopes)?;
            }
        }
        let by_kind = |scopes: &Scopes| [("kind", scopes.kind.word())];
        let count = kinds.iter().map(|kind| (by_kind(kind), kind.scopes.len()));
        self.gauges(names::SCOPES, count)?;
        let overflow = kinds.iter().map(|kind| (by_kind(kind), kind.overflow));
        self.counters(names::SCOPES_OVERFLOW, overflow)?;
        let namespaces = kinds.iter().filter(|kind| kind.kind == ScopeKind::Netns);
        let hidden = namespaces.map(|kind| (by_kind(kind), kind.hidden));
        self.gauges(names::SCOPES_HIDDEN, hidden)
    }

    fn sockets(&mut self, kind: ScopeKind, scopes: &[Scope]) -> fmt::Result {
        let connections = scopes.iter().flat_map(|scope| {
            let connections = scope.connections.iter();
            connections.flat_map(move |connections| by_state(kind, &scope.name, connections))
        });
        self.gauges(names::scope_connections(kind), connections)?;
        let transitions = scopes.iter().flat_map(|scope| {
            let transitions = scope.transitions.iter();
            transitions.flat_map(move |transitions| seen(kind, &scope.name, transitions))
        });
        self.counters(names::scope_transitions(kind), transitions)
    }

    fn namespaces(&mut self, scopes: &[Scope]) -> fmt::Result {
        let details = || scopes.iter().filter_map(|scope| Some((scope, scope.netns.as_ref()?)));
        self.info(details())?;
        let consistent = details().filter_map(|(scope, netns)| {
            Some(([("netns", &*scope.name)], u64::from(netns.consistent?)))
        });
        self.gauges(names::NETNS_CONSISTENT, consistent)?;
        let snapshots = details().filter_map(|(scope, netns)| {
            Some(([("netns", &*scope.name)], since_epoch(netns.snapshot_finished?)))
        });
        self.gauges(names::NETNS_SNAPSHOT_TIMESTAMP_SECONDS, snapshots)
    }

    fn info<'a>(
        &mut self,
        namespaces: impl Iterator<Item = (&'a Scope, &'a NetnsDetails)>,
    ) -> fmt::Result {
        if !self.writes(names::NETNS_INFO) {
            return Ok(());
        }
        let named = namespaces.filter_map(|(scope, netns)| Some((scope, netns.name.as_ref()?)));
        let named: Vec<_> =
            named.map(|(scope, name)| (scope, name, name.inode.to_string())).collect();
        let info = named.iter().map(|(scope, name, inode)| {
            let labels = [
                ("netns", &*scope.name),
                ("inode", inode),
                ("kind", name.kind.word()),
                ("namespace", &name.namespace),
                ("pod", &name.pod),
                ("pod_uid", &name.pod_uid),
                ("container", &name.container),
                ("cgroup", &name.cgroup),
            ];
            (labels, 1_u64)
        });
        self.gauges(names::NETNS_INFO, info)
    }
}

/// `N` labels, each a name and a value.
type Labels<'a, const N: usize> = [(&'static str, &'a str); N];

/// The sockets of one scope: each state, also at zero.
fn by_state<'a>(
    kind: ScopeKind,
    name: &'a str,
    connections: &'a PerState<u64>,
) -> impl Iterator<Item = (Labels<'a, 2>, u64)> {
    State::ALL.into_iter().map(move |state| {
        let sockets = Family::ALL.into_iter().map(|family| connections[(family, state)]).sum();
        ([(kind.word(), name), ("state", state_word(state))], sockets)
    })
}

/// The transitions of full sockets that the scope has made. A scope has few of the 25, and a pair at zero would
/// take a series in each of hundreds of scopes.
fn seen<'a>(
    kind: ScopeKind,
    name: &'a str,
    transitions: &'a Transitions,
) -> impl Iterator<Item = (Labels<'a, 3>, u64)> {
    TRANSITIONS.into_iter().filter_map(move |(old, new)| {
        let [ipv4, ipv6] = Family::ALL.map(|family| transitions.get(family, old, new));
        let times = ipv4.wrapping_add(ipv6);
        let labels = [(kind.word(), name), ("from", state_word(old)), ("to", state_word(new))];
        (times != 0).then_some((labels, times))
    })
}
