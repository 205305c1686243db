//! Sums up what a reading lists: each socket once, by network namespace.

use std::collections::{HashMap, HashSet};

use crate::{
    kernel::{HeldState, NetnsKey},
    snapshot::Tally,
};

/// The most sockets that one reading lists. Their addresses take at most 9.4 MB.
const MAX_SOCKETS: usize = 400_000;

/// The sockets that processes hold in a network namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::tracker) struct HeldTally {
    /// The TCP sockets.
    pub(in crate::tracker) tally: Tally,
    /// Whether there are others that no descriptor refers to: half-open requests of listeners, and subflows of MPTCP.
    pub(in crate::tracker) lacks_sockets: bool,
}

/// What a reading lists.
#[derive(Debug, Default)]
pub(super) struct Listed {
    seen: HashSet<u64>,
    namespaces: HashMap<NetnsKey, HeldTally>,
    too_many: bool,
}

impl Listed {
    pub(super) fn add(&mut self, socket: &HeldState) {
        if self.seen.len() >= MAX_SOCKETS {
            self.too_many |= !self.seen.contains(&socket.skaddr);
            return;
        }
        if !self.seen.insert(socket.skaddr) {
            return;
        }
        let &HeldState { netns, family, state, receive_queue, send_queue, requests, .. } = socket;
        let held = self.namespaces.entry(netns).or_default();
        held.lacks_sockets |= state.is_none() || requests > 0;
        if let Some(state) = state {
            held.tally.add_full(family, state, receive_queue, send_queue);
        }
    }

    /// The sums. A namespace without held sockets is not in them. `None` if there were too many sockets.
    pub(super) fn into_tallies(self) -> Option<HashMap<NetnsKey, HeldTally>> {
        (!self.too_many).then_some(self.namespaces)
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
        let mut listed = Listed::default();
        for socket in sockets {
            listed.add(socket);
        }
        listed.into_tallies().unwrap()
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
    }

    #[test]
    fn requests_and_mptcp_have_sockets_without_a_descriptor() {
        let listener = HeldState { state: Some(State::Listen), ..SOCKET };
        assert!(!tallies(&[listener])[&7].lacks_sockets);
        let half_open = HeldState { requests: 1, skaddr: 2, ..listener };
        let tally = tallies(&[listener, half_open])[&7];
        assert!(tally.lacks_sockets);
        assert_eq!(tally.tally.full[(Family::Ipv4, State::Listen)], 2);
        let mptcp = HeldState { state: None, ..SOCKET };
        assert_eq!(
            tallies(&[mptcp])[&7],
            HeldTally { lacks_sockets: true, ..HeldTally::default() }
        );
    }

    #[test]
    fn a_reading_with_too_many_sockets_has_no_sums() {
        let mut listed = Listed::default();
        let most = MAX_SOCKETS as u64;
        (0..most).for_each(|skaddr| listed.add(&HeldState { skaddr, ..SOCKET }));
        listed.add(&HeldState { skaddr: 0, ..SOCKET });
        assert!(!listed.too_many);
        listed.add(&HeldState { skaddr: most, ..SOCKET });
        assert_eq!(listed.seen.len(), MAX_SOCKETS);
        assert_eq!(listed.into_tallies(), None);
    }
}
