//! The sockets of every state that processes hold in another network namespace of the running kernel.

use std::{
    collections::{BTreeMap, HashMap},
    io::Write,
    net::{Shutdown, TcpListener, TcpStream},
    ops::ControlFlow,
    thread,
};

use socket2::Socket;

use super::{
    super::{HeldState, HeldStateIterator},
    can_run,
    held::{elsewhere, lists_files},
    raw_socket,
};
use crate::{
    procfs::Procfs,
    states::{Family, State},
};

/// No other socket has so many unread bytes.
const UNREAD: usize = 12_345;

/// What is held in another namespace.
struct Held {
    _listener: TcpListener,
    streams: Vec<TcpStream>,
    _raw: Socket,
}

/// A listener, a connection with unread bytes, and one in FIN_WAIT2 and CLOSE_WAIT; all of IPv6. And a socket that is not of
/// TCP, though its protocol is.
fn sockets() -> Held {
    let listener = TcpListener::bind("[::1]:0").unwrap();
    let connect = || {
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        (client, accepted)
    };
    let (mut writer, reader) = connect();
    writer.write_all(&[0; UNREAD]).unwrap();
    while reader.peek(&mut [0; UNREAD + 1]).unwrap() < UNREAD {
        thread::yield_now();
    }
    let (client, mut accepted) = connect();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(accepted.peek(&mut [0]).unwrap(), 0);
    // Acknowledges the FIN, and the client has it in its queue then.
    accepted.write_all(b"x").unwrap();
    assert_eq!(client.peek(&mut [0]).unwrap(), 1);
    let streams = vec![writer, reader, client, accepted];
    Held { _listener: listener, streams, _raw: raw_socket() }
}

fn loaded() -> HeldStateIterator {
    let inum = Procfs::new(Procfs::DEFAULT_ROOT).netns_inum().unwrap();
    HeldStateIterator::load(inum).unwrap()
}

/// The states of the namespace that has the unread bytes, each with the number of its sockets and of their descriptors.
/// `None` if there is none.
fn listed(iterator: &mut HeldStateIterator) -> Option<BTreeMap<State, (usize, usize)>> {
    let mut namespaces: HashMap<_, HashMap<u64, (HeldState, usize)>> = HashMap::new();
    let each = |socket: HeldState| {
        let of_it = namespaces.entry(socket.netns).or_default();
        of_it.entry(socket.skaddr).or_insert((socket, 0)).1 += 1;
        ControlFlow::Continue(())
    };
    assert!(iterator.each_socket(each).unwrap().is_continue());
    let is_it = |(socket, _): &(HeldState, usize)| socket.receive_queue as usize == UNREAD;
    let sockets = namespaces.into_values().find(|sockets| sockets.values().any(is_it))?;
    let mut states: BTreeMap<State, (usize, usize)> = BTreeMap::new();
    for (socket, descriptors) in sockets.into_values() {
        assert_eq!((socket.family, socket.requests), (Family::Ipv6, 0));
        let state = states.entry(socket.state.unwrap()).or_default();
        (state.0, state.1) = (state.0 + 1, state.1 + descriptors);
    }
    Some(states)
}

/// The reading with the fewest descriptors: a process that another test starts has all of this one's for a moment.
fn fewest(iterator: &mut HeldStateIterator) -> BTreeMap<State, (usize, usize)> {
    let descriptors =
        |states: &BTreeMap<_, (usize, usize)>| states.values().map(|state| state.1).sum::<usize>();
    (0..5).map(|_| listed(iterator).unwrap()).min_by_key(descriptors).unwrap()
}

#[test]
fn each_socket_comes_with_its_state_and_its_queue_once_for_each_descriptor() {
    let Some(_turn) = can_run() else { return };
    if !lists_files() {
        let inum = Procfs::new(Procfs::DEFAULT_ROOT).netns_inum().unwrap();
        assert!(HeldStateIterator::load(inum).is_err());
        return;
    }
    let mut iterator = loaded();
    let held = elsewhere(sockets);
    let expected = |copies| {
        BTreeMap::from([
            (State::Established, (2, 2 + copies)),
            (State::FinWait2, (1, 1)),
            (State::CloseWait, (1, 1)),
            (State::Listen, (1, 1)),
        ])
    };
    assert_eq!(fewest(&mut iterator), expected(0));
    let copies: Vec<_> = (0..3).map(|_| held.streams[0].try_clone().unwrap()).collect();
    assert_eq!(fewest(&mut iterator), expected(copies.len()));
}

#[test]
fn sockets_of_the_own_namespace_are_not_listed() {
    let Some(_turn) = can_run() else { return };
    if !lists_files() {
        return;
    }
    let mut iterator = loaded();
    let _sockets = sockets();
    assert_eq!(listed(&mut iterator), None);
    let _elsewhere = elsewhere(sockets);
    assert!(listed(&mut iterator).is_some());
}

#[test]
fn a_list_ends_where_its_reader_breaks() {
    let Some(_turn) = can_run() else { return };
    if !lists_files() {
        return;
    }
    let _elsewhere = elsewhere(sockets);
    let mut times = 0;
    let each = |_| {
        times += 1;
        ControlFlow::Break(())
    };
    assert!(loaded().each_socket(each).unwrap().is_break());
    assert_eq!(times, 1);
}
