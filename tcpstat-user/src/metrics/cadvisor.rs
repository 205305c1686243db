//! cAdvisor's metrics of TCP sockets, with the labels that kubelet gives them, for dashboards that use them.
//!
//! There is one set of series for each pod and each container with a network namespace of its own. cAdvisor
//! reports a pod's network on the pod's sandbox. With Docker and CRI-O that has `container="POD"`, with
//! containerd no such label; here it is `POD` always, because queries select it with `container="POD"`,
//! `container!=""`, or not at all. `id` is the cgroup of the pod, not that of its sandbox. What only the
//! container runtime knows is empty: `image`, and the `name` of a sandbox. There are no sample timestamps.

use std::{collections::BTreeMap, fmt};

use super::{names, series_writer::SeriesWriter};
use crate::{
    scopes::{NetnsKind, NetnsName},
    states::{Family, PerState, State},
    tracker::{Scope, Scopes},
};

/// `id`, `name`, `container`, `pod` and `namespace`.
type Labels<'a> = [&'a str; 5];

impl SeriesWriter<'_> {
    /// Writes both metrics, each for the sockets of one family.
    pub(super) fn cadvisor(&mut self, kinds: &[Scopes]) -> fmt::Result {
        let metrics = [
            (Family::Ipv4, names::CONTAINER_NETWORK_TCP_USAGE_TOTAL),
            (Family::Ipv6, names::CONTAINER_NETWORK_TCP6_USAGE_TOTAL),
        ];
        if !metrics.into_iter().any(|(_, metric)| self.writes(metric)) {
            return Ok(());
        }
        let containers = containers(kinds);
        for (family, metric) in metrics {
            self.family(metric, |samples| {
                containers.iter().try_for_each(
                    |([id, name, container, pod, namespace], sockets)| {
                        samples.share([
                            ("id", *id),
                            ("name", name),
                            ("image", ""),
                            ("container", container),
                            ("pod", pod),
                            ("namespace", namespace),
                        ]);
                        State::ALL.into_iter().try_for_each(|state| {
                            samples.sample([("tcp_state", word(state))], sockets[(family, state)])
                        })
                    },
                )
            })?;
        }
        Ok(())
    }
}

/// The sockets of each pod and container. A process in a container can make further network namespaces, which
/// have the same labels: their sockets are added up, because a series can be in a scrape only once.
fn containers(kinds: &[Scopes]) -> BTreeMap<Labels<'_>, PerState<u64>> {
    let mut containers: BTreeMap<_, PerState<u64>> = BTreeMap::new();
    for scope in kinds.iter().flat_map(|kind| &kind.scopes) {
        if let (Some(labels), Some(connections)) = (labels(scope), &scope.connections) {
            let sum = containers.entry(labels).or_default();
            for (family, state, sockets) in connections.iter() {
                sum[(family, state)] += sockets;
            }
        }
    }
    containers
}

/// `None` if the scope is not a pod or a container.
fn labels(scope: &Scope) -> Option<Labels<'_>> {
    let NetnsName { kind, namespace, pod, container, cgroup, .. } =
        scope.netns.as_ref()?.name.as_deref()?;
    match kind {
        NetnsKind::Pod => Some([cgroup, "", "POD", pod, namespace]),
        NetnsKind::Container => Some([cgroup, container, container, pod, namespace]),
        NetnsKind::Host | NetnsKind::Named | NetnsKind::Unnamed => None,
    }
}

/// The value of the label `tcp_state`, as cAdvisor writes it.
const fn word(state: State) -> &'static str {
    match state {
        State::Established => "established",
        State::SynSent => "synsent",
        State::SynRecv | State::NewSynRecv => "synrecv",
        State::FinWait1 => "finwait1",
        State::FinWait2 | State::FinWait2Mini => "finwait2",
        State::TimeWait => "timewait",
        State::Close => "close",
        State::CloseWait => "closewait",
        State::LastAck => "lastack",
        State::Listen => "listen",
        State::Closing => "closing",
    }
}
