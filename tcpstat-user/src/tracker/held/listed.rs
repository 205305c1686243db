//! What a reading lists: each socket once, up to a bound.

use std::collections::{HashMap, HashSet};

use tcpstat_ebpf::{CloseWaitRecord, ListenerRecord};

use crate::{
    kernel::{HeldNetns, HeldSocket, NetnsKey},
    listeners::MAX_SOCKETS as MAX_LISTENERS,
    tracker::ages::MAX_SOCKETS,
};

/// The most sockets that one reading lists. They take 9 MB.
pub(super) const MAX_HELD: usize = 2 * MAX_SOCKETS;

/// The most namespaces that one reading lists.
const MAX_NAMESPACES: usize = 100_000;

/// The sockets of a reading, with the keys of their namespaces.
#[derive(Debug, Default)]
pub(super) struct Listed {
    seen: HashSet<u64>,
    pub(super) close_wait: Vec<(NetnsKey, CloseWaitRecord)>,
    pub(super) listeners: Vec<(NetnsKey, ListenerRecord)>,
    /// Whether some had no room.
    pub(super) too_many: bool,
    /// The inode numbers of all namespaces that sockets are held in; with too many of them not all.
    pub(super) namespaces: HashMap<NetnsKey, u32>,
}

/// Which sockets a reading lists.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts {
    /// Sockets in CLOSE_WAIT, for the ages.
    pub(super) ages: bool,
    /// Listening sockets.
    pub(super) listeners: bool,
}

impl Listed {
    pub(super) fn add(&mut self, netns: HeldNetns, socket: &HeldSocket, parts: Parts) {
        let HeldNetns { key, inum } = netns;
        if self.namespaces.len() < MAX_NAMESPACES {
            self.namespaces.insert(key, inum);
        }
        match socket {
            HeldSocket::InOtherState => {}
            HeldSocket::CloseWait(socket) => {
                if parts.ages && self.is_new(socket.skaddr) {
                    self.close_wait.push((key, *socket));
                }
            }
            HeldSocket::Listener(socket) => {
                if parts.listeners && self.is_new(socket.skaddr) {
                    if self.listeners.len() < MAX_LISTENERS {
                        self.listeners.push((key, *socket));
                    } else {
                        self.too_many = true;
                    }
                }
            }
        }
    }

    /// Whether no namespace is missing.
    pub(super) fn has_all_namespaces(&self) -> bool {
        self.namespaces.len() < MAX_NAMESPACES
    }

    /// Whether the socket at this address is a new one, and there is room for it.
    fn is_new(&mut self, skaddr: u64) -> bool {
        if self.seen.len() < MAX_HELD {
            return self.seen.insert(skaddr);
        }
        self.too_many |= !self.seen.contains(&skaddr);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Parts = Parts { ages: true, listeners: true };

    fn netns(key: NetnsKey) -> HeldNetns {
        HeldNetns { key, inum: 70 }
    }

    fn close_wait(skaddr: u64) -> HeldSocket {
        HeldSocket::CloseWait(CloseWaitRecord { skaddr, now: 100_000, heard: 1, received: 1 })
    }

    fn listener(skaddr: u64) -> HeldSocket {
        HeldSocket::Listener(ListenerRecord { skaddr, ..ListenerRecord::default() })
    }

    #[test]
    fn a_socket_is_listed_once_however_often_it_comes() {
        let mut listed = Listed::default();
        for _ in 0..3 {
            (1..=20).for_each(|skaddr| listed.add(netns(7), &close_wait(skaddr), ALL));
            listed.add(netns(8), &close_wait(21), ALL);
            listed.add(netns(8), &listener(22), ALL);
        }
        assert_eq!(listed.close_wait.iter().filter(|(key, _)| *key == 7).count(), 20);
        assert_eq!(listed.close_wait.iter().filter(|(key, _)| *key == 8).count(), 1);
        assert_eq!(listed.listeners.len(), 1);
        assert!(!listed.too_many);
    }

    #[test]
    fn sockets_beyond_the_most_are_left_out_and_those_before_them_stay() {
        let mut listed = Listed::default();
        let most = MAX_HELD as u64;
        (1..=most).for_each(|skaddr| listed.add(netns(7), &close_wait(skaddr), ALL));
        listed.add(netns(7), &close_wait(1), ALL);
        assert!(!listed.too_many);
        listed.add(netns(7), &close_wait(most + 1), ALL);
        assert!(listed.too_many);
        assert_eq!(listed.close_wait.len(), MAX_HELD);

        let mut listed = Listed::default();
        (0..=MAX_LISTENERS as u64).for_each(|skaddr| listed.add(netns(7), &listener(skaddr), ALL));
        assert!(listed.too_many);
        assert_eq!(listed.listeners.len(), MAX_LISTENERS);
    }

    #[test]
    fn namespaces_are_listed_whatever_the_state_of_their_sockets_is_and_up_to_a_bound() {
        let mut listed = Listed::default();
        let none = Parts { ages: false, listeners: false };
        listed.add(netns(7), &close_wait(1), none);
        listed.add(netns(8), &HeldSocket::InOtherState, none);
        listed.add(netns(8), &HeldSocket::InOtherState, none);
        assert_eq!(listed.namespaces, HashMap::from([(7, 70), (8, 70)]));
        assert!(listed.has_all_namespaces());
        (0..=MAX_NAMESPACES as u64)
            .for_each(|key| listed.add(netns(key), &listener(key + 1), none));
        assert_eq!(listed.namespaces.len(), MAX_NAMESPACES);
        assert!(!listed.has_all_namespaces());
    }

    #[test]
    fn what_is_off_is_not_listed() {
        let mut listed = Listed::default();
        let none = Parts { ages: false, listeners: false };
        listed.add(netns(7), &close_wait(1), none);
        listed.add(netns(7), &listener(2), none);
        assert!(listed.close_wait.is_empty() && listed.listeners.is_empty());
    }
}
