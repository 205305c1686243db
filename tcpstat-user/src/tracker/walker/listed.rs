//! Sums up what a walk lists of some network namespaces: each socket once.

use std::{
    collections::{HashMap, HashSet},
    ops::ControlFlow,
};

use crate::{
    kernel::{HeldState, NetnsKey},
    snapshot::Tally,
};

/// The most sockets that one walk lists. Their addresses take at most 7.1 MB.
const MAX_SOCKETS: usize = 400_000;

/// The sockets that processes hold in a network namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::tracker) struct HeldTally {
    /// The TCP sockets.
    pub(in crate::tracker) tally: Tally,
    /// Whether there are others that no descriptor refers to: half-open requests of listeners, and subflows of MPTCP.
    pub(in crate::tracker) lacks_sockets: bool,
}

/// What a walk lists.
#[derive(Debug)]
pub(super) struct Listed {
    seen: HashSet<u64>,
    namespaces: HashMap<NetnsKey, HeldTally>,
}

impl Listed {
    /// Lists only the sockets of these namespaces.
    pub(super) fn of(namespaces: impl IntoIterator<Item = NetnsKey>) -> Self {
        let namespaces = namespaces.into_iter().map(|key| (key, HeldTally::default()));
        Self { seen: HashSet::new(), namespaces: namespaces.collect() }
    }

    /// Breaks if there is no room for the socket.
    pub(super) fn add(&mut self, socket: &HeldState) -> ControlFlow<()> {
        let &HeldState { netns, family, state, receive_queue, send_queue, requests, .. } = socket;
        let Some(held) = self.namespaces.get_mut(&netns) else { return ControlFlow::Continue(()) };
        if self.seen.contains(&socket.skaddr) {
            return ControlFlow::Continue(());
        }
        if self.seen.len() >= MAX_SOCKETS {
            return ControlFlow::Break(());
        }
        self.seen.insert(socket.skaddr);
        held.lacks_sockets |= state.is_none() || requests > 0;
        if let Some(state) = state {
            held.tally.add_full(family, state, receive_queue, send_queue);
        }
        ControlFlow::Continue(())
    }

    /// The sums of each of the namespaces.
    pub(super) fn tallies(&self) -> &HashMap<NetnsKey, HeldTally> {
        &self.namespaces
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::states::{Family, State};

    const SOCKET: HeldState = HeldState {
        netns: 7,
        skaddr: 1,
        family: Family::Ipv4,
        state: Some(State::CloseWait),
        receive_queue: 3,
        send_queue: 5,
        requests: 0,
    };

    fn tallies(sockets: &[HeldState]) -> HashMap<NetnsKey, HeldTally> {
        let mut listed = Listed::of([7, 8, 9]);
        for socket in sockets {
            assert!(listed.add(socket).is_continue());
        }
        listed.tallies().clone()
    }

    #[test]
    fn a_socket_counts_once_however_many_descriptors_refer_to_it() {
        let elsewhere = HeldState { netns: 8, skaddr: 2, family: Family::Ipv6, ..SOCKET };
        let tallies = tallies(&[SOCKET, elsewhere, SOCKET, elsewhere, SOCKET]);
        for (netns, family) in [(7, Family::Ipv4), (8, Family::Ipv6)] {
            let HeldTally { tally, lacks_sockets } = tallies[&netns];
            assert_eq!((tally.rows, tally.full[(family, State::CloseWait)]), (1, 1));
            let bytes = (tally.receive_queue_bytes[family], tally.send_queue_bytes[family]);
            assert_eq!(bytes, (3, 5));
            assert!(!lacks_sockets);
        }
        assert_eq!(tallies[&9], HeldTally::default());
    }

    #[test]
    fn requests_and_mptcp_have_sockets_without_a_descriptor() {
        let listener = HeldState { state: Some(State::Listen), ..SOCKET };
        assert!(!tallies(&[listener])[&7].lacks_sockets);
        let half_open = HeldState { requests: 1, skaddr: 2, ..listener };
        let held = tallies(&[listener, half_open])[&7];
        assert!(held.lacks_sockets);
        assert_eq!(held.tally.full[(Family::Ipv4, State::Listen)], 2);
        let mptcp = HeldState { state: None, ..SOCKET };
        assert_eq!(
            tallies(&[mptcp])[&7],
            HeldTally { lacks_sockets: true, ..HeldTally::default() }
        );
    }

    #[test]
    fn only_the_namespaces_that_were_asked_for_and_their_sockets_take_memory() {
        let mut listed = Listed::of([7]);
        let most = MAX_SOCKETS as u64;
        for skaddr in 0..most {
            assert!(listed.add(&HeldState { netns: 100 + skaddr, skaddr, ..SOCKET }).is_continue());
        }
        assert_eq!((listed.seen.len(), listed.namespaces.len()), (0, 1));
        for skaddr in 0..most {
            assert!(listed.add(&HeldState { skaddr, ..SOCKET }).is_continue());
        }
        assert!(listed.add(&HeldState { skaddr: 0, ..SOCKET }).is_continue());
        assert!(listed.add(&HeldState { skaddr: most, ..SOCKET }).is_break());
        assert_eq!(listed.seen.len(), MAX_SOCKETS);
    }
}
