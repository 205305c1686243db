//! The metrics of scopes: network namespaces, cgroups and ports.

use std::fmt;

use super::{
    exposition::since_epoch,
    groups::Groups,
    names,
    series_writer::{Samples, SeriesWriter},
};
use crate::{
    ages::OLDER_THAN,
    scopes::NetnsName,
    states::{Family, PerState, State, state_word},
    tracker::{NetnsDetails, Scope, ScopeKind, Scopes},
    transitions::{TRANSITIONS, Transitions},
};

impl SeriesWriter<'_> {
    /// Writes the scopes of each kind that is counted, and how many there are.
    pub(super) fn scopes(&mut self, kinds: &[Scopes]) -> fmt::Result {
        for Scopes { kind, scopes, .. } in kinds {
            self.sockets(*kind, scopes)?;
            if *kind == ScopeKind::Netns {
                self.namespaces(scopes)?;
                self.ages_of_namespaces(scopes)?;
                self.listeners_of_namespaces(scopes)?;
            }
        }
        self.family(names::SCOPES, |samples| {
            each(samples, kinds, "kind", |scopes| (scopes.kind.word(), Some(scopes.scopes.len())))
        })?;
        self.family(names::SCOPES_OVERFLOW, |samples| {
            each(samples, kinds, "kind", |scopes| (scopes.kind.word(), Some(scopes.overflow)))
        })?;
        self.family(names::SCOPES_HIDDEN, |samples| {
            each(samples, kinds, "kind", |scopes| {
                (scopes.kind.word(), (scopes.kind == ScopeKind::Netns).then_some(scopes.hidden))
            })
        })
    }

    fn sockets(&mut self, kind: ScopeKind, scopes: &[Scope]) -> fmt::Result {
        let groups = self.groups;
        self.family(names::scope_connections(kind), |samples| {
            scopes.iter().try_for_each(|scope| {
                let Some(connections) = &scope.connections else { return Ok(()) };
                samples.share([(kind.word(), &*scope.name)]);
                by_state(samples, connections, groups)
            })
        })?;
        self.family(names::scope_transitions(kind), |samples| {
            scopes.iter().try_for_each(|scope| {
                let Some(transitions) = &scope.transitions else { return Ok(()) };
                samples.share([(kind.word(), &*scope.name)]);
                seen(samples, transitions)
            })
        })
    }

    fn namespaces(&mut self, scopes: &[Scope]) -> fmt::Result {
        self.family(names::NETNS_INFO, |samples| {
            scopes.iter().try_for_each(|scope| {
                let netns = scope.netns.as_ref().and_then(|netns| netns.name.as_ref());
                let Some(netns) = netns else { return Ok(()) };
                info(samples, &scope.name, netns)
            })
        })?;
        self.family(names::NETNS_CONSISTENT, |samples| {
            each_netns(samples, scopes, |netns| netns.consistent.map(u8::from))
        })?;
        self.family(names::NETNS_SNAPSHOT_TIMESTAMP_SECONDS, |samples| {
            each_netns(samples, scopes, |netns| netns.snapshot_finished.map(since_epoch))
        })
    }

    fn ages_of_namespaces(&mut self, scopes: &[Scope]) -> fmt::Result {
        self.family(names::NETNS_CLOSE_WAIT_OLDEST_SECONDS, |samples| {
            each_netns(samples, scopes, |netns| {
                netns.close_wait_ages.map(|(ages, rate)| rate.seconds(ages.oldest))
            })
        })?;
        self.family(names::NETNS_CLOSE_WAIT_AGED_CONNECTIONS, |samples| {
            scopes.iter().try_for_each(|scope| {
                let ages = scope.netns.as_ref().and_then(|netns| netns.close_wait_ages);
                let Some((ages, _)) = ages else { return Ok(()) };
                samples.share([("netns", &*scope.name)]);
                OLDER_THAN.iter().zip(ages.older_than).try_for_each(|((_, word), sockets)| {
                    samples.sample([("older_than", *word)], sockets)
                })
            })
        })
    }
}

/// The sockets of one scope: each state, also at zero.
fn by_state(samples: &mut Samples<'_>, connections: &PerState<u64>, groups: Groups) -> fmt::Result {
    State::ALL.into_iter().filter(|&state| groups.has(state)).try_for_each(|state| {
        let sockets: u64 = Family::ALL.into_iter().map(|family| connections[(family, state)]).sum();
        samples.sample([("state", state_word(state))], sockets)
    })
}

/// The transitions of full sockets that the scope has made. A scope makes few of the 25, and a series for each
/// of the others would be most of the text.
fn seen(samples: &mut Samples<'_>, transitions: &Transitions) -> fmt::Result {
    TRANSITIONS.into_iter().try_for_each(|(old, new)| {
        let [ipv4, ipv6] = Family::ALL.map(|family| transitions.get(family, old, new));
        match ipv4.wrapping_add(ipv6) {
            0 => Ok(()),
            times => samples.sample([("from", state_word(old)), ("to", state_word(new))], times),
        }
    })
}

fn info(samples: &mut Samples<'_>, name: &str, netns: &NetnsName) -> fmt::Result {
    let inode = netns.known_inode().map(|inode| inode.to_string());
    samples.share([
        ("netns", name),
        ("inode", inode.as_deref().unwrap_or_default()),
        ("kind", netns.kind.word()),
        ("namespace", &netns.namespace),
        ("pod", &netns.pod),
        ("pod_uid", &netns.pod_uid),
        ("container", &netns.container),
        ("cgroup", &netns.cgroup),
    ]);
    samples.sample([], 1)
}

/// One sample for each namespace of which `value` knows something.
fn each_netns<V: fmt::Display>(
    samples: &mut Samples<'_>,
    scopes: &[Scope],
    value: impl Fn(&NetnsDetails) -> Option<V>,
) -> fmt::Result {
    each(samples, scopes, "netns", |scope| (&scope.name, scope.netns.as_ref().and_then(&value)))
}

/// One sample for each item that has a value. `f` gives the value of the label, and that of the sample.
fn each<'a, T, V: fmt::Display>(
    samples: &mut Samples<'_>,
    items: &'a [T],
    label: &'static str,
    f: impl Fn(&'a T) -> (&'a str, Option<V>),
) -> fmt::Result {
    items.iter().map(f).try_for_each(|(name, value)| {
        let Some(value) = value else { return Ok(()) };
        samples.share([(label, name)]);
        samples.sample([], value)
    })
}
