use std::net::Ipv4Addr;

use super::*;

const NETNS: u64 = 4_026_531_840;

/// A connection with its key as the number in its peer's address.
fn connection(key: u64, state: State) -> Socket {
    let number = u32::try_from(key).unwrap();
    Socket {
        key,
        netns: NETNS,
        state,
        local_port: 40_000,
        remote: Some((Ipv4Addr::from_bits(number).into(), 443)),
        silence: Some(number),
        queue: None,
    }
}

fn listener(key: u64, port: u16, length: u32) -> Socket {
    let queue = Queue { address: Ipv4Addr::UNSPECIFIED.into(), length, limit: Some(128) };
    Socket {
        state: State::Listen,
        local_port: port,
        remote: None,
        silence: None,
        queue: Some(queue),
        ..connection(key, State::Listen)
    }
}

fn pids_and_sockets(report: &HolderReport) -> Vec<(&[u32], u64)> {
    report.rows.iter().map(|row| (&row.pids[..], row.sockets)).collect()
}

#[test]
fn a_socket_that_processes_share_is_in_one_row_with_all_of_them() {
    let mut table = HolderTable::new();
    for pid in [10, 11, 12] {
        // Two descriptors of each process.
        for _ in 0..2 {
            table.add_held(&connection(1, State::CloseWait), pid);
            table.add_held(&connection(2, State::CloseWait), pid);
        }
        table.add_held(&connection(pid.into(), State::Established), pid);
    }
    let report = table.report(&Query::default());
    assert_eq!(report.sockets, 5);
    assert_eq!(
        pids_and_sockets(&report),
        [(&[10, 11, 12][..], 2), (&[10], 1), (&[11], 1), (&[12], 1)]
    );
    assert_eq!(report.rows[0].states, [(State::CloseWait, 2)]);
    assert_eq!(report.rows[0].oldest, Some(2));
    assert_eq!(report.netns, [NetnsTotals { netns: NETNS, held: 5, queued: 0 }]);
}

/// A chain of forks: each process has one socket more than its parent.
#[test]
fn beyond_the_bound_of_sets_every_socket_counts_in_a_row_of_some_of_its_processes() {
    let rows = |most_shared| {
        let mut table = HolderTable::with_most_shared(most_shared);
        for pid in 1..=100 {
            for key in 1..=pid {
                table.add_held(&connection(key.into(), State::CloseWait), pid);
            }
        }
        assert!(table.sets.count() <= 1 + 100 + most_shared);
        let report = table.report(&Query::default());
        assert_eq!(report.sockets, 100);
        assert!(report.rows.iter().all(|row| row.pids[0] == row.oldest.unwrap()), "{report:?}");
        (report.rows.len(), report.with_more_processes)
    };
    assert_eq!(rows(100 * 100), (100, 0));
    // Only the last process has the last socket.
    assert_eq!(rows(100), (100, 99));
}

#[test]
fn only_what_fits_the_query_is_counted() {
    let mut table = HolderTable::new();
    table.add_held(&connection(100, State::CloseWait), 10);
    table.add_held(&connection(200, State::CloseWait), 10);
    table.add_held(&connection(300, State::Established), 10);
    table.add_held(&Socket { netns: 7, ..connection(400, State::CloseWait) }, 11);
    table.add_held(&Socket { local_port: 8080, ..connection(500, State::CloseWait) }, 11);
    table.add_held(&Socket { silence: None, ..connection(600, State::Close) }, 11);
    let all = Query::default();
    let sockets = |query: Query| {
        let report = table.report(&query);
        (report.sockets, report.rows.len())
    };
    assert_eq!(sockets(all.clone()), (6, 3));
    let close_wait = Query { states: vec![State::CloseWait], ..all.clone() };
    assert_eq!(sockets(close_wait.clone()), (4, 3));
    assert_eq!(sockets(Query { pid: Some(10), ..close_wait.clone() }), (2, 1));
    assert_eq!(sockets(Query { netns: Some(vec![7]), ..close_wait.clone() }), (1, 1));
    assert_eq!(sockets(Query { ports: vec![8080..=8080], ..close_wait.clone() }), (1, 1));
    assert_eq!(sockets(Query { ports: vec![80..=80, 8000..=8080], ..close_wait.clone() }), (1, 1));
    assert_eq!(sockets(Query { ports: vec![80..=8079], ..close_wait.clone() }), (0, 0));
    assert_eq!(sockets(Query { older_than: Some(200), ..close_wait }), (2, 2));
    assert_eq!(sockets(Query { pid: Some(12), ..all }), (0, 0));
    let held = table.report(&Query::default()).netns;
    assert_eq!(held.iter().map(|totals| totals.held).collect::<Vec<_>>(), [1, 4]);
}

#[test]
fn rows_are_in_the_order_that_is_asked_for_and_cut_at_the_limit() {
    let mut table = HolderTable::new();
    for (key, pid) in [(1, 30), (2, 30), (3, 20), (4, 20), (5, 20), (6, 10)] {
        table.add_held(&connection(key, State::Established), pid);
    }
    let order = |sort, limit| {
        let report = table.report(&Query { sort, limit, ..Query::default() });
        let pids: Vec<_> = report.rows.iter().map(|row| row.pids[0]).collect();
        (pids, report.more_rows)
    };
    assert_eq!(order(SortBy::Sockets, None), (vec![20, 30, 10], 0));
    assert_eq!(order(SortBy::Oldest, None), (vec![10, 20, 30], 0));
    assert_eq!(order(SortBy::Pid, Some(2)), (vec![10, 20], 1));
    assert_eq!(table.report(&Query { limit: Some(1), ..Query::default() }).sockets, 6);
}

#[test]
fn peers_are_addresses_where_a_socket_listens_and_else_addresses_with_ports() {
    let mut table = HolderTable::new();
    table.add_held(&listener(1, 8080, 0), 5);
    let peer = |last, port| Some((Ipv4Addr::new(10, 0, 0, last).into(), port));
    for (key, remote) in [(2, peer(1, 50_000)), (3, peer(1, 50_001)), (4, peer(2, 50_002))] {
        let accepted = Socket { local_port: 8080, remote, ..connection(key, State::CloseWait) };
        table.add_held(&accepted, 5);
    }
    let other = Socket { netns: 9, local_port: 8080, ..connection(5, State::CloseWait) };
    table.add_held(&other, 6);
    let report = table.report(&Query { sort: SortBy::Pid, ..Query::default() });
    let [row, other] = &report.rows[..] else { panic!("{report:?}") };
    let peers: Vec<_> =
        row.peers.iter().map(|peer| (peer.address.to_string(), peer.port, peer.sockets)).collect();
    assert_eq!(peers, [("10.0.0.1".into(), None, 2), ("10.0.0.2".into(), None, 1)]);
    assert_eq!((&row.local_ports[..], row.more_local_ports), (&[(8080, 4)][..], 0));
    assert_eq!(other.peers[0].port, Some(443), "no socket of its namespace listens there");
}

#[test]
fn accept_queues_have_the_processes_of_their_listener() {
    let mut table = HolderTable::new();
    for pid in [5, 6] {
        table.add_held(&listener(1, 80, 3), pid);
        table.add_held(&listener(2, 81, 0), pid);
    }
    table.add_held(&listener(3, 82, 9), 7);
    let queues = |query: Query| {
        let queues = table.report(&query).accept_queues.into_iter();
        queues.map(|it| (it.port, it.queue.length, it.pids)).collect::<Vec<_>>()
    };
    let (long, short) = ((82, 9, vec![7]), (80, 3, vec![5, 6]));
    assert_eq!(queues(Query::default()), [long.clone(), short.clone()]);
    let states = vec![State::CloseWait];
    assert_eq!(queues(Query { states, ..Query::default() }), [long.clone(), short.clone()]);
    assert_eq!(queues(Query { pid: Some(6), ..Query::default() }), [short]);
    assert_eq!(queues(Query { ports: vec![1..=1, 82..=83], ..Query::default() }), [long]);
    assert_eq!(table.report(&Query::default()).netns[0].queued, 12);
}

#[test]
fn another_socket_at_the_same_address_replaces_one_that_was_closed() {
    let mut table = HolderTable::new();
    table.add_held(&listener(1, 80, 3), 5);
    let new = Socket { local_port: 90, ..connection(1, State::Established) };
    table.add_held(&new, 6);
    table.add_held(&Socket { state: State::CloseWait, ..new }, 7);
    let report = table.report(&Query::default());
    assert_eq!(pids_and_sockets(&report), [(&[6, 7][..], 1)]);
    assert!(report.accept_queues.is_empty());
}

#[test]
fn sockets_that_nobody_is_seen_to_hold_have_no_row() {
    let mut table = HolderTable::new();
    table.add(&connection(1, State::Established));
    table.add(&listener(2, 80, 4));
    assert_eq!(table.hold(3, 5), None);
    let report = table.report(&Query::default());
    assert_eq!((report.sockets, report.rows.len()), (0, 0));
    assert!(report.accept_queues[0].pids.is_empty());
    assert_eq!(table.hold(1, 5), Some(()));
    assert_eq!(pids_and_sockets(&table.report(&Query::default())), [(&[5][..], 1)]);
}

#[test]
fn many_sockets_are_each_found_again() {
    let mut table = HolderTable::new();
    // As far apart as the kernel puts them.
    let key = |number: u64| 0xffff_8880_0000_0000 + number * 2368;
    for pid in [1, 2] {
        for number in 0..50_000 {
            let socket = connection(number, State::Established);
            table.add_held(&Socket { key: key(number), ..socket }, pid);
        }
    }
    let report = table.report(&Query::default());
    assert_eq!(pids_and_sockets(&report), [(&[1, 2][..], 50_000)]);
    assert_eq!(report.rows[0].oldest, Some(49_999));
}

#[test]
fn a_record_is_a_socket_with_what_its_state_gives_a_meaning() {
    let rate = Some(TickRate(std::num::NonZeroU32::new(250).unwrap()));
    let mut address = [0; 16];
    address[10..].copy_from_slice(&[0xff, 0xff, 10, 0, 0, 7]);
    let record = HolderRecord {
        skaddr: 1,
        address,
        now: 5000,
        heard: 4000,
        pid: 9,
        netns_inum: 7,
        queue_length: 3,
        queue_limit: 4,
        local_port: 80,
        remote_port: 443,
        state: State::CloseWait.number(),
        family: Family::Ipv6 as u8,
        reserved: [0; 2],
    };
    let (socket, pid) = Socket::of_record(&record, rate).unwrap();
    assert_eq!((pid, socket.silence, socket.queue), (9, Some(1000), None));
    assert_eq!(socket.remote, Some((Ipv4Addr::new(10, 0, 0, 7).into(), 443)));
    let in_state = |state: State| {
        let record = HolderRecord { state: state.number(), ..record };
        Socket::of_record(&record, rate).unwrap().0
    };
    let listening = in_state(State::Listen);
    assert_eq!((listening.remote, listening.silence), (None, None));
    let queue = listening.queue.unwrap();
    assert_eq!((queue.length, queue.limit), (3, Some(4)));
    assert_eq!(queue.address.to_string(), "::ffff:10.0.0.7");
    assert_eq!(in_state(State::SynSent).silence, None);
    assert_eq!(in_state(State::Close).remote, None);
    assert_eq!(Socket::of_record(&HolderRecord { state: 13, ..record }, rate), None);
    assert_eq!(Socket::of_record(&record, None).unwrap().0.silence, None);
}
