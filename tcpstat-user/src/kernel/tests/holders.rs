//! What the iterator over the descriptors of TCP sockets writes.

use std::net::{TcpListener, TcpStream};

use super::{can_run, raw_socket};
use crate::{
    kernel::{HolderIterator, ProcessIds},
    procfs::Procfs,
    states::State,
};

#[test]
fn descriptors_are_listed_with_their_process_and_their_socket() {
    let Some(_alone) = can_run() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let duplicate = listener.try_clone().unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let _raw = raw_socket();
    let own_inum = Procfs::new(Procfs::DEFAULT_ROOT).netns_inum().unwrap();
    let [port, client_port] =
        [listener.local_addr(), client.local_addr()].map(|it| it.unwrap().port());
    let mut levels = vec![ProcessIds::LevelsUp(0)];
    if Procfs::in_initial_pid_namespace() == Some(true) {
        levels.push(ProcessIds::Initial);
    }
    for ids in levels {
        let mut iterator = HolderIterator::load(ids).unwrap();
        assert_eq!(iterator.ids, ids);
        let mut found = Vec::new();
        iterator
            .each_descriptor(|it| {
                // Such a raw socket has its protocol as its port.
                let is_expected = [port, client_port, 6].contains(&it.local_port);
                if it.pid == std::process::id() && is_expected {
                    found.push(it);
                }
            })
            .unwrap();
        found.sort_by_key(|it| it.state);
        let [connected, listening, again] = found[..] else { panic!("{ids:?}: {found:?}") };
        assert_eq!(listening.skaddr, again.skaddr);
        assert_eq!((listening.state, listening.local_port), (State::Listen.number(), port));
        assert_eq!((listening.queue_length, &listening.address[..4]), (1, &[127, 0, 0, 1][..]));
        assert_eq!((connected.state, connected.remote_port), (State::Established.number(), port));
        assert_eq!(&connected.address[..4], [127, 0, 0, 1]);
        assert!(connected.now.wrapping_sub(connected.heard) < 1 << 20, "{connected:?}");
        assert_eq!((connected.netns_inum, connected.family), (own_inum, 0));
    }
    drop(duplicate);
}
