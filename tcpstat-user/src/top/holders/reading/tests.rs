use super::*;
use crate::{
    holders::{AcceptQueue, Queue},
    tracker::NamedNetns,
};

fn netns() -> NamedNetns {
    NamedNetns { inode: Some(7), name: "host".to_owned() }
}

fn named(pid: u32, command: &str) -> NamedProcess {
    NamedProcess { pid, command: Some(command.to_owned()) }
}

fn view(pids: &[u32], sockets: u64, cgroup: &str) -> HolderView {
    let address = IpAddr::from([10, 0, 0, 7]);
    HolderView {
        processes: pids.iter().map(|&pid| named(pid, "java")).collect(),
        more_processes: 0,
        netns: netns(),
        cgroup: Some(cgroup.to_owned()),
        name: None,
        oldest_seconds: Some(61.5),
        row: crate::holders::HolderRow {
            netns: 7,
            pids: pids.to_vec(),
            sockets,
            states: vec![(State::CloseWait, sockets)],
            oldest: Some(6_150),
            local_ports: vec![(8_080, sockets), (8_081, 1)],
            more_local_ports: 2,
            peers: vec![
                Peer { address, port: Some(443), sockets },
                Peer { address, port: None, sockets: 1 },
            ],
        },
    }
}

fn queue(waiting: u32) -> QueueView {
    let queue = Queue { address: "::1".parse().unwrap(), length: waiting, limit: Some(4) };
    QueueView {
        netns: netns(),
        processes: Vec::new(),
        more_processes: 0,
        queue: AcceptQueue { netns: 7, port: 80, queue, pids: Vec::new() },
    }
}

fn read(rows: Vec<HolderView>, queues: usize) -> tracker::Holders {
    let mut read = tracker::Holders::default();
    read.accept_queues.extend(vec![queue(5); queues]);
    read.rows.extend(rows);
    read.sockets = read.rows.iter().map(|view| view.row.sockets).sum();
    read
}

fn question(state: State, place: Place) -> Question {
    Question { state, place }
}

#[test]
fn a_row_has_the_first_of_several_and_the_number_of_others() {
    let read = read(vec![view(&[20, 30, 40], 9, "/a.slice")], 1);
    let holders = Holders::new(&read, &question(State::CloseWait, Place::Own));
    let row = &holders.rows[0];
    assert_eq!(row.processes, Processes { first: "20 java".to_owned(), others: 2 });
    assert_eq!((row.port.as_str(), row.peer.as_str()), ("8080 +3", "10.0.0.7:443"));
    assert_eq!((row.unit.as_str(), row.oldest), ("/a.slice", Some(Duration::from_millis(61_500))));
    let queue = &holders.queues[0];
    assert_eq!((queue.waiting, queue.limit, queue.listener.as_str()), (5, Some(4), "[::1]:80"));
    assert_eq!(queue.processes.first, "not visible");
}

#[test]
fn a_cgroup_has_the_rows_of_its_processes() {
    let rows = vec![
        view(&[1], 4, "/a.slice/x.service"),
        view(&[2], 2, "/a.slicer"),
        view(&[3], 1, "/a.slice"),
    ];
    let read = read(rows, 1);
    let asked = question(State::CloseWait, Place::Cgroup("/a.slice".to_owned()));
    let holders = Holders::new(&read, &asked);
    let pids: Vec<_> = holders.rows.iter().map(|row| row.processes.first.as_str()).collect();
    assert_eq!((pids, holders.sockets), (vec!["1 java", "3 java"], 5));
    assert!(holders.queues.is_empty(), "their cgroup is not known");
    assert!(is_below("/a", "/") && is_below("/", "/"));
}

#[test]
fn rows_and_queues_are_bounded() {
    let rows = (0..).map(|pid| view(&[pid], 1, "/a")).take(MAX_ROWS + 7).collect();
    let read = read(rows, MAX_ROWS + 1);
    let holders = Holders::new(&read, &question(State::Established, Place::Own));
    assert_eq!((holders.rows.len(), holders.more_rows), (MAX_ROWS, 7));
    assert_eq!(holders.queues.len(), MAX_ROWS);
    let holders = Holders::new(&read, &question(State::FinWait1, Place::Own));
    assert!(holders.queues.is_empty(), "no such connection waits to be accepted");
}
