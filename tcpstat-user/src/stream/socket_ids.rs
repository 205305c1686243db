//! Identifiers of sockets that do not show the kernel's addresses.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
};

use crate::states::State;

/// Identifiers of sockets. The kernel uses the address of a socket again as soon as it is gone, so a socket whose first
/// transition is seen gets a number.
#[derive(Debug)]
pub(crate) struct SocketIds {
    key: RandomState,
    /// The numbers of live sockets, by address.
    born: HashMap<u64, u32, foldhash::fast::RandomState>,
    last: u32,
    max: usize,
}

impl SocketIds {
    /// Remembers the numbers of at most `max` sockets. Another one has no number: its id is that of the sockets before it
    /// at the same address.
    pub(crate) fn new(max: usize) -> Self {
        Self { key: RandomState::new(), born: HashMap::default(), last: 0, max }
    }

    /// The id of the socket at this address, which makes a transition: the same for all its transitions.
    ///
    /// A socket that is closed and connected or listens again is another one.
    pub(crate) fn id(&mut self, address: u64, old: State, new: State) -> u64 {
        let is_birth = old == State::Close || (old, new) == (State::Listen, State::SynRecv);
        let number = if is_birth {
            let room = self.born.len() < self.max || self.born.contains_key(&address);
            self.last = self.last.wrapping_add(1);
            if room {
                self.born.insert(address, self.last);
                self.last
            } else {
                0
            }
        } else if new == State::Close {
            self.born.remove(&address).unwrap_or(0)
        } else {
            self.born.get(&address).copied().unwrap_or(0)
        };
        self.key.hash_one((address, number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use State::{Close, CloseWait, Established, Listen, SynRecv, SynSent};

    const ADDRESS: u64 = 0xffff_8880_1234_5678;

    #[test]
    fn an_id_is_the_same_until_the_socket_closes_and_another_one_for_the_next_at_its_address() {
        let mut ids = SocketIds::new(10);
        let one = [(Close, SynSent), (SynSent, Established), (Established, Close)]
            .map(|(old, new)| ids.id(ADDRESS, old, new));
        assert!(one[0] == one[1] && one[1] == one[2], "{one:?}");
        let other = ids.id(ADDRESS, Listen, SynRecv);
        assert_ne!(other, one[0]);
        assert_eq!(ids.id(ADDRESS, SynRecv, Established), other);
        assert_ne!(ids.id(ADDRESS + 64, Listen, SynRecv), other);
    }

    #[test]
    fn a_socket_that_was_there_before_has_one_id_and_no_run_has_those_of_another() {
        let mut ids = SocketIds::new(10);
        let id = ids.id(ADDRESS, Established, CloseWait);
        assert_eq!(ids.id(ADDRESS, CloseWait, Close), id);
        assert_ne!(SocketIds::new(10).id(ADDRESS, Established, CloseWait), id);
    }

    #[test]
    fn the_table_is_bounded() {
        let mut ids = SocketIds::new(2);
        for address in 0..10 {
            let id = ids.id(address, Close, SynSent);
            assert_eq!(ids.id(address, SynSent, Established), id);
        }
        assert_eq!(ids.born.len(), 2);
        let id = ids.id(0, Close, SynSent);
        assert_eq!(ids.id(0, SynSent, Established), id, "one that is there can get another number");
    }
}
