//! The sockets of every state that processes hold in another network namespace of the running kernel.

use std::{
    collections::{BTreeMap, HashMap},
    io::Write,
    net::{Shutdown, TcpListener, TcpStream, UdpSocket},
};

use super::{
    super::{HeldState, HeldStateIterator},
    can_run,
    held::{elsewhere, lists_files},
};
use crate::{
    procfs::Procfs,
    states::{Family, State},
};

/// No other socket has so many unread bytes.
const UNREAD: usize = 12_345;

/// A listener, a connection with unread bytes, and one in FIN_WAIT2 and CLOSE_WAIT; all of IPv6.
fn sockets() -> (TcpListener, Vec<TcpStream>) {
    let listener = TcpListener::bind("[::1]:0").unwrap();
    let mut streams = Vec::new();
    for bytes in [UNREAD, 0] {
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut accepted, _) = listener.accept().unwrap();
        client.write_all(&vec![0; bytes]).unwrap();
        if bytes == 0 {
            client.shutdown(Shutdown::Write).unwrap();
            // Acknowledges the FIN at once.
            accepted.write_all(b"x").unwrap();
        }
        streams.extend([client, accepted]);
    }
    (listener, streams)
}

/// The states of the namespace that has the unread bytes, with the number of its sockets and of their descriptors.
fn listed(iterator: &mut HeldStateIterator) -> BTreeMap<State, (usize, usize)> {
    let mut namespaces: HashMap<_, HashMap<u64, (HeldState, usize)>> = HashMap::new();
    let each = |socket: HeldState| {
        let of_it = namespaces.entry(socket.netns).or_default();
        of_it.entry(socket.skaddr).or_insert((socket, 0)).1 += 1;
    };
    iterator.each_socket(each).unwrap();
    let is_it = |(socket, _): &(HeldState, usize)| socket.receive_queue as usize == UNREAD;
    let Some(sockets) = namespaces.into_values().find(|sockets| sockets.values().any(is_it)) else {
        return BTreeMap::new();
    };
    let mut states = BTreeMap::new();
    for (socket, descriptors) in sockets.into_values() {
        assert_eq!((socket.family, socket.requests), (Family::Ipv6, 0));
        let state: &mut (usize, usize) = states.entry(socket.state.unwrap()).or_default();
        (state.0, state.1) = (state.0 + 1, state.1 + descriptors);
    }
    states
}

#[test]
fn each_socket_comes_with_its_state_and_its_queue_once_for_each_descriptor() {
    let Some(_turn) = can_run() else { return };
    let inum = Procfs::new(Procfs::DEFAULT_ROOT).netns_inum().unwrap();
    let loaded = HeldStateIterator::load(inum);
    if !lists_files() {
        assert!(loaded.is_err());
        return;
    }
    let mut iterator = loaded.unwrap();
    let (_listener, streams) = elsewhere(sockets);
    // Neither in CLOSE, nor of TCP.
    let _udp = elsewhere(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect("127.0.0.1:9").unwrap();
        socket
    });
    let expected = |copies| {
        BTreeMap::from([
            (State::Established, (2, 2 + copies)),
            (State::FinWait2, (1, 1)),
            (State::CloseWait, (1, 1)),
            (State::Listen, (1, 1)),
        ])
    };
    // A process that another test starts has all descriptors of this one for a moment.
    let mut fewest = || (0..5).map(|_| listed(&mut iterator)).min_by_key(descriptors).unwrap();
    assert_eq!(fewest(), expected(0));
    let copies: Vec<_> = (0..3).map(|_| streams[0].try_clone().unwrap()).collect();
    assert_eq!(fewest(), expected(copies.len()));
}

fn descriptors(states: &BTreeMap<State, (usize, usize)>) -> usize {
    states.values().map(|(_, descriptors)| descriptors).sum()
}

#[test]
fn sockets_of_the_own_namespace_are_not_listed() {
    let Some(_turn) = can_run() else { return };
    if !lists_files() {
        return;
    }
    let inum = Procfs::new(Procfs::DEFAULT_ROOT).netns_inum().unwrap();
    let mut iterator = HeldStateIterator::load(inum).unwrap();
    let _sockets = sockets();
    assert_eq!(listed(&mut iterator), BTreeMap::new());
    let _elsewhere = elsewhere(sockets);
    assert_eq!(listed(&mut iterator).len(), 4);
}
