//! Listening sockets on the running kernel.

use std::{
    net::{Ipv4Addr, SocketAddrV4, TcpListener},
    ops::ControlFlow,
};

use aya::util::KernelVersion;
use socket2::{Domain, SockAddr, Socket, Type};
use tcpstat_ebpf::ListenerRecord;

use super::{
    super::{ListenerIterator, iterator::Record, listeners::decode},
    can_run,
};
use crate::states::Family;

fn listed(iterator: &mut ListenerIterator, max: usize) -> Vec<ListenerRecord> {
    let mut listed = Vec::new();
    iterator.each_listener(max, |listener| listed.push(*listener)).unwrap();
    listed
}

#[test]
fn the_iterator_shows_listening_sockets_alone_each_with_its_cookie() {
    let Some(_one_at_a_time) = can_run() else { return };
    let sockets: Vec<_> =
        (0..20).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
    let ports: Vec<_> = sockets.iter().map(|it| it.local_addr().unwrap().port()).collect();
    let mut iterator = ListenerIterator::load().unwrap();
    // The second reading asks for all of them at once.
    for _ in 0..2 {
        let mut ours = listed(&mut iterator, usize::MAX);
        ours.retain(|listener| ports.contains(&listener.port));
        assert_eq!(ours.len(), ports.len());
        for listener in &ours {
            assert!(listener.skaddr != 0);
            assert_eq!(listener.address[..4], [127, 0, 0, 1]);
            assert_eq!(listener.family, Family::Ipv4 as u8);
            assert!(listener.queue_limit > 0 && listener.queue_length == 0);
        }
        ours.sort_unstable_by_key(|listener| listener.cookie);
        ours.dedup_by_key(|listener| listener.cookie);
        let have_cookies = KernelVersion::current().unwrap() >= KernelVersion::new(5, 12, 0);
        assert_eq!(ours.len(), if have_cookies { ports.len() } else { 1 });
        assert_eq!(ours[0].cookie != 0, have_cookies);
    }
    assert_eq!(listed(&mut iterator, 3).len(), 3);
}

/// The kernel begins at the head of the hash bucket, in which all sockets of one port are, at each read(2).
#[test]
fn the_first_reading_of_many_listening_sockets_takes_few_calls() {
    let Some(_one_at_a_time) = can_run() else { return };
    let listen = |port| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.bind(&SockAddr::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))).unwrap();
        socket.listen(1).unwrap();
        socket
    };
    let first = listen(0);
    let port = first.local_addr().unwrap().as_socket().unwrap().port();
    let _others: Vec<_> = (0..2_000).map(|_| listen(port)).collect();
    let mut listeners = ListenerIterator::load().unwrap();
    let (mut calls, mut ours) = (0, 0);
    let reading = listeners.iterator.records_until(1, |record| {
        match record {
            Record::Read => calls += 1,
            Record::Bytes(bytes) => ours += usize::from(decode(bytes).unwrap().port == port),
        }
        ControlFlow::Continue(())
    });
    reading.unwrap();
    assert!(ours > 2_000, "{ours}");
    assert!(calls < 50, "{calls}");
}
