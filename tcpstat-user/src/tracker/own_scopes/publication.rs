//! What a scrape needs of the scopes of the own namespace, and what it shows of them.

use std::{collections::HashSet, sync::Arc};

use super::{TracedScopes, count::Count, ports::Gauges};
use crate::{
    kernel::Counters,
    ledger::{
        Ledger,
        scoped::{difference, rest, without_family},
    },
    scopes::{LONGEST_PATH, label_value},
    states::{Family, Object, PerState},
    tracker::{Scope, ScopeKind, Scopes},
    transitions::{Transitions, object_of},
};

/// The scopes of the own namespace, and the counters that they are evaluated with.
#[derive(Clone, Debug)]
pub(crate) struct PublishedScopes {
    counters: Arc<Counters>,
    cgroups: Option<Kind<Ledger>>,
    ports: Option<Kind<Gauges>>,
}

/// One kind.
#[derive(Clone, Debug)]
struct Kind<G> {
    scopes: Vec<(Arc<str>, Count, Option<G>)>,
    /// What counts all other scopes.
    other: Count,
    overflow: u64,
    seeded: bool,
}

/// The numbers of the namespace that its scopes add up to.
#[derive(Debug)]
pub(crate) struct Totals<'a> {
    /// Sockets by state, as /proc/net/tcp shows them.
    pub(crate) connections: &'a PerState<u64>,
    /// The full sockets among them.
    pub(crate) full: &'a PerState<u64>,
    /// Transitions since the start.
    pub(crate) transitions: &'a Transitions,
}

impl TracedScopes {
    /// What a scrape needs; `None` before there is a tracer.
    pub(in crate::tracker) fn publication(&self) -> Option<PublishedScopes> {
        let cgroups = self.cgroups.as_ref().map(|cgroups| Kind {
            scopes: labels(cgroups.scopes().map(|(path, _)| path.as_ref()))
                .into_iter()
                .zip(cgroups.scopes())
                .map(|(label, (_, scope))| (label, scope.count.clone(), scope.ledger.clone()))
                .collect(),
            other: cgroups.other().clone(),
            overflow: cgroups.overflow(),
            seeded: cgroups.seeded(),
        });
        let ports = self.ports.as_ref().map(|ports| {
            let scopes: Vec<_> = ports
                .scopes()
                .map(|(port, count, gauges)| {
                    (Arc::from(port.to_string()), count.clone(), gauges.cloned())
                })
                .collect();
            let seeded = scopes.iter().all(|(.., gauges)| gauges.is_some());
            Kind { scopes, other: ports.other().clone(), overflow: 0, seeded }
        });
        Some(PublishedScopes { counters: self.counters.clone()?, cgroups, ports })
    }
}

/// The label value of each path, different for each: two paths can have the same [`label_value`], and the second one
/// gets `@2` then.
fn labels<'a>(paths: impl Iterator<Item = &'a str>) -> Vec<Arc<str>> {
    let mut taken = HashSet::new();
    let label = |path: &str| {
        let value = label_value(path.as_bytes(), LONGEST_PATH);
        let numbered = (2_u64..).map(|number| format!("{value}@{number}"));
        let mut forms = std::iter::once(value.clone()).chain(numbered);
        let free = forms.find(|form| !taken.contains(form.as_str())).unwrap_or(value);
        let label: Arc<str> = Arc::from(free);
        taken.insert(Arc::clone(&label));
        label
    };
    paths.map(label).collect()
}

impl PublishedScopes {
    /// Reads the counters. Gives one value for each kind that is counted.
    pub(crate) fn read(&self, totals: &Totals<'_>) -> Vec<Scopes> {
        let cgroups = self.cgroups.as_ref().map(|kind| self.cgroups(kind, totals));
        let ports = self.ports.as_ref().map(|kind| self.ports(kind, totals));
        cgroups.into_iter().chain(ports).collect()
    }

    /// Full sockets are in a cgroup or in `other`; all else is in `none`.
    fn cgroups(&self, kind: &Kind<Ledger>, totals: &Totals<'_>) -> Scopes {
        let connections = without_family(totals.connections);
        let full = without_family(totals.full);
        let gauges = |ledger: &Ledger, now: &Transitions| ledger.connections(now, 0, 0);
        let (mut scopes, other) = self.evaluate(kind, &full, gauges);
        scopes.push(other);
        scopes.push(Scope {
            name: Arc::from("none"),
            connections: kind.seeded.then(|| difference(&connections, &full)),
            transitions: Some(of_others(totals.transitions)),
            netns: None,
        });
        Scopes { kind: ScopeKind::Cgroup, scopes, overflow: kind.overflow, hidden: 0 }
    }

    fn ports(&self, kind: &Kind<Gauges>, totals: &Totals<'_>) -> Scopes {
        let total = without_family(totals.connections);
        let (mut scopes, other) = self.evaluate(kind, &total, Gauges::connections);
        scopes.push(other);
        Scopes { kind: ScopeKind::Port, scopes, overflow: kind.overflow, hidden: 0 }
    }

    /// The scopes, and the one of all that is left of `total`.
    fn evaluate<G>(
        &self,
        kind: &Kind<G>,
        total: &PerState<u64>,
        gauges: impl Fn(&G, &Transitions) -> PerState<u64>,
    ) -> (Vec<Scope>, Scope) {
        let now: Vec<_> =
            kind.scopes.iter().map(|(_, count, _)| count.now(&self.counters)).collect();
        let mut connections: Vec<_> = kind
            .scopes
            .iter()
            .zip(&now)
            .map(|((.., ledger), now)| {
                ledger.as_ref().map(|ledger| gauges(ledger, now)).unwrap_or_default()
            })
            .collect();
        let rest = rest(total, &mut connections);
        let shown = |connections| kind.seeded.then_some(connections);
        let scopes = kind.scopes.iter().zip(now).zip(connections);
        // The sockets of a scope without gauges are in the rest.
        let scopes = scopes.map(|(((name, _, gauges), now), connections)| Scope {
            name: Arc::clone(name),
            connections: gauges.as_ref().and_then(|_| shown(connections)),
            transitions: Some(now),
            netns: None,
        });
        let other = Scope {
            name: Arc::from("other"),
            connections: shown(rest),
            transitions: Some(kind.other.now(&self.counters)),
            netns: None,
        };
        (scopes.collect(), other)
    }
}

/// The transitions of mini-sockets and requests, without a family.
fn of_others(transitions: &Transitions) -> Transitions {
    let mut others = Transitions::default();
    for (_, old, new, times) in transitions.seen() {
        if object_of(old, new) != Object::Full {
            others.add(Family::Ipv4, old, new, times);
        }
    }
    others
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::states::State;

    #[test]
    fn cgroups_whose_names_look_alike_have_labels_that_differ() {
        let long = format!("/{}", "a".repeat(600));
        let longer = format!("{long}b");
        let paths = ["/e\u{1}", r"/e\u{1}", r"/e\u{1}@2", "/f", &long, &longer];
        let labels = labels(paths.into_iter());
        let different: HashSet<_> = labels.iter().collect();
        assert_eq!(different.len(), paths.len(), "{labels:?}");
        assert_eq!(&*labels[3], "/f");
    }

    #[test]
    fn only_mini_sockets_and_requests_are_in_no_cgroup() {
        let mut transitions = Transitions::default();
        transitions.add(Family::Ipv6, State::Close, State::TimeWait, 3);
        transitions.add(Family::Ipv4, State::Close, State::TimeWait, 2);
        transitions.add(Family::Ipv4, State::NewSynRecv, State::Close, 1);
        transitions.add(Family::Ipv4, State::Close, State::SynSent, 7);
        let others = of_others(&transitions);
        assert_eq!(others.get(Family::Ipv4, State::Close, State::TimeWait), 5);
        assert_eq!(others.get(Family::Ipv4, State::NewSynRecv, State::Close), 1);
        assert_eq!(others.total(), 6);
    }
}
