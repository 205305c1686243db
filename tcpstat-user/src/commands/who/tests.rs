use std::{
    net::{Ipv4Addr, Ipv6Addr},
    time::{Duration, SystemTime},
};

use ratatui::text::Span;
use serde_json::{Value, json};

use super::{json, table};
use crate::{
    holders::{AcceptQueue, HolderRow, Peer, Queue},
    states::State,
    tracker::{HolderSource, HolderView, Holders, NamedNetns, NamedProcess, QueueView, WhoQuery},
};

fn netns() -> NamedNetns {
    NamedNetns { inode: Some(4_026_531_840), name: "host".into() }
}

fn process(pid: u32, command: &str) -> NamedProcess {
    NamedProcess { pid, command: Some(command.into()) }
}

fn leak() -> HolderView {
    let peer =
        |last, port, sockets| Peer { address: Ipv4Addr::new(10, 0, 0, last).into(), port, sockets };
    HolderView {
        processes: vec![process(1234, "java"), process(1240, "java")],
        more_processes: 0,
        netns: netns(),
        cgroup: Some("/system.slice/shop.service".into()),
        name: Some("shop.service".into()),
        oldest_seconds: Some(7985.0),
        row: HolderRow {
            netns: 4_026_531_840,
            pids: vec![1234, 1240],
            sockets: 312,
            states: vec![(State::CloseWait, 310), (State::Listen, 2)],
            oldest: Some(7_985_000),
            local_ports: vec![(8080, 312)],
            more_local_ports: 0,
            peers: vec![
                peer(7, None, 200),
                peer(8, Some(443), 100),
                peer(9, Some(443), 9),
                peer(10, Some(443), 3),
            ],
        },
    }
}

fn unnamed() -> HolderView {
    let netns = NamedNetns { inode: None, name: "procfs-7".into() };
    HolderView {
        processes: vec![NamedProcess { pid: 7, command: None }],
        netns,
        cgroup: None,
        name: None,
        oldest_seconds: None,
        row: HolderRow {
            pids: vec![7],
            sockets: 1,
            states: vec![(State::Close, 1)],
            local_ports: vec![(1, 1), (2, 1), (3, 1), (4, 1)],
            more_local_ports: 5,
            peers: Vec::new(),
            ..leak().row
        },
        ..leak()
    }
}

fn holders() -> Holders {
    let address = Ipv6Addr::UNSPECIFIED.into();
    let queue = Queue { address, length: 12, limit: Some(128) };
    Holders {
        source: HolderSource::Iterator,
        not_visible: 0,
        sockets: 320,
        with_more_processes: 0,
        rows: vec![leak(), unnamed()],
        more_rows: 2,
        accept_queues: vec![QueueView {
            netns: netns(),
            processes: vec![process(1234, "java")],
            more_processes: 0,
            queue: AcceptQueue { netns: 4_026_531_840, port: 8080, queue, pids: vec![1234] },
        }],
        more_accept_queues: 0,
        orphans: Some(3),
        other: None,
        without_holder: Some(0),
        totals: Vec::new(),
    }
}

#[test]
fn a_table_has_aligned_columns_and_what_nobody_holds_below() {
    let text = table::text(&holders(), &WhoQuery::default());
    let table = "\
PID        COMMAND  NETNS     SOCKETS  STATES                    OLDEST  PORTS         PEERS                                              UNIT
1234 (+1)  java     host          312  close_wait 310, listen 2   2h13m  8080          10.0.0.7 x200, 10.0.0.8:443 x100, 10.0.0.9:443 x9, ...  shop.service
7          -        procfs-7        1  close                          -  1, 2, 3 (+6)  -                                                  -
2 more rows: see --limit

sockets that no visible process holds:
in the accept queue of [::]:8080 in host: 12 of 128, java 1234
orphans, which their owners have closed: 3
";
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines = |text: &str| text.lines().map(words).collect::<Vec<_>>();
    assert_eq!(lines(&text), lines(table));
    let column = |name: &str| text.lines().next().unwrap().find(name).unwrap();
    let at = |line: usize, from: usize| text.lines().nth(line).unwrap()[from..].to_owned();
    assert!(at(1, column("STATES")).starts_with("close_wait 310"), "{text}");
    assert!(at(2, column("STATES")).starts_with("close "), "{text}");
    assert!(at(1, column("UNIT")).starts_with("shop.service"), "{text}");
    assert!(at(2, column("UNIT")).starts_with('-'), "{text}");
}

#[test]
fn columns_stay_in_line_below_characters_of_any_width() {
    let mut holders = holders();
    // Of two places, of none, and of one.
    for name in ["\u{6f22}\u{5b57}", "e\u{301}", "java"] {
        holders.rows[0].processes[0].command = Some(name.into());
        let text = table::text(&holders, &WhoQuery::default());
        let at = |line: usize, part: &str| {
            let line = text.lines().nth(line).unwrap();
            Span::raw(&line[..line.find(part).unwrap()]).width()
        };
        assert_eq!(at(0, "STATES"), at(1, "close_wait"), "{text}");
        assert_eq!(at(0, "UNIT"), at(1, "shop.service"), "{text}");
    }
}

#[test]
fn without_the_iterator_nothing_is_known_about_sockets_in_close() {
    let empty = Holders { rows: Vec::new(), source: HolderSource::Descriptors, ..holders() };
    let query = WhoQuery { states: vec![State::Close], ..WhoQuery::default() };
    let text = table::text(&empty, &query);
    assert!(text.starts_with("whether a process holds a socket in close is not known: "), "{text}");
    let query = WhoQuery { states: vec![State::Close, State::Listen], ..WhoQuery::default() };
    assert!(table::text(&empty, &query).contains("holds such a socket"));
}

#[test]
fn a_query_without_a_row_is_answered_in_one_line() {
    let empty = Holders {
        rows: Vec::new(),
        more_rows: 0,
        accept_queues: Vec::new(),
        orphans: Some(0),
        ..holders()
    };
    let query = WhoQuery { states: vec![State::CloseWait, State::LastAck], ..WhoQuery::default() };
    assert_eq!(
        table::text(&empty, &query),
        "no process holds such a socket in close_wait, last_ack\n"
    );
    assert_eq!(table::text(&empty, &WhoQuery::default()), "no process holds such a socket\n");
    let hidden = Holders { not_visible: 9, ..empty.clone() };
    assert_eq!(
        table::text(&hidden, &WhoQuery::default()),
        "no visible process holds such a socket (9 processes not visible: run as root, or with CAP_BPF and CAP_PERFMON)\n"
    );
    let query = WhoQuery { states: vec![State::TimeWait], ..WhoQuery::default() };
    let text = table::text(&empty, &query);
    assert_eq!(
        text,
        "no process holds a socket in time_wait: `tcpstat show` counts them, and `tcpstat top --netns all` those of other \
         network namespaces\n"
    );
    let query = WhoQuery { states: vec![State::SynRecv], ..WhoQuery::default() };
    // A listening socket of another query.
    let hidden = Holders { without_holder: Some(1), ..empty };
    let text = table::text(&hidden, &query);
    assert!(text.starts_with("no process holds a socket in syn_recv: "), "{text}");
    assert!(text.contains("`tcpstat show` counts them") && text.contains("who listen"), "{text}");
}

#[test]
fn a_query_without_a_row_is_not_answered_for_holders_that_are_not_visible() {
    let empty = |not_visible, without_holder| Holders {
        rows: Vec::new(),
        not_visible,
        without_holder,
        ..Holders::default()
    };
    let query = WhoQuery { states: vec![State::Listen], ..WhoQuery::default() };
    let start = "no visible process holds such a socket in listen (";
    for (holders, reason) in [
        (empty(77, None), "77 processes not visible: run as root, or with CAP_BPF and CAP_PERFMON"),
        (
            empty(0, Some(1)),
            "1 socket has no visible holder: `ss -tanp` in its network namespace shows it without `users:`",
        ),
        (
            empty(0, Some(2)),
            "2 sockets have no visible holder: `ss -tanp` in their network namespaces shows them without `users:`",
        ),
        (empty(0, None), "whether another process does is not known"),
    ] {
        assert_eq!(table::text(&holders, &query), format!("{start}{reason})\n"));
    }
    // What a visible process holds is known, whatever others hold.
    let query = WhoQuery { pid: Some(7), ..query };
    for without_holder in [None, Some(0), Some(2)] {
        let text = table::text(&empty(0, without_holder), &query);
        assert_eq!(text, "process 7 holds no such socket in listen\n");
    }
    let reason = "1 process not visible: run as root, or with CAP_BPF and CAP_PERFMON";
    assert_eq!(table::text(&empty(1, None), &query), format!("{start}{reason})\n"));
}

#[test]
fn what_no_process_holds_is_shown_where_it_can_be_in_the_states_that_are_asked_for() {
    let holders = Holders { other: Some(1), ..holders() };
    let below = |states: &[State]| {
        let query = WhoQuery { states: states.to_vec(), ..WhoQuery::default() };
        let text = table::text(&holders, &query);
        let below = text.split_once("sockets that no visible process holds");
        below.map(|(_, below)| {
            let lines = below.lines().map(|line| line.split([' ', ',']).next().unwrap());
            lines.collect::<Vec<_>>().join(" ")
        })
    };
    assert_eq!(below(&[]).as_deref(), Some(": in orphans others"));
    for (state, lines) in [
        (State::CloseWait, Some(" in others")),
        (State::Listen, Some(" in others")),
        (State::LastAck, Some(" orphans others")),
        (State::SynSent, Some(" others")),
        (State::Close, None),
        (State::TimeWait, None),
    ] {
        assert_eq!(below(&[state]).as_deref(), lines, "{state:?}");
    }
}

#[test]
fn sockets_of_which_not_all_processes_are_known_are_reported() {
    let holders = Holders { with_more_processes: 12, ..holders() };
    let text = table::text(&holders, &WhoQuery::default());
    let line = "of 12 sockets only some processes are known";
    assert!(text.lines().nth(4).unwrap().starts_with(line), "{text}");
    let value: Value =
        serde_json::from_str(&json::line(SystemTime::UNIX_EPOCH, &holders).unwrap()).unwrap();
    assert_eq!(value["sockets_with_more_processes"], 12);
}

#[test]
fn the_json_has_the_documented_fields() {
    let time = SystemTime::UNIX_EPOCH + Duration::from_micros(1_795_720_800_001_234);
    let line = json::line(time, &holders()).unwrap();
    assert_eq!(line.lines().count(), 1);
    let value: Value = serde_json::from_str(&line).unwrap();
    let pretty = json::pretty(time, &holders()).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&pretty).unwrap(), value);
    assert_eq!(value["time"], "2026-11-26T19:20:00.001234Z");
    let host = json!({"inode": 4_026_531_840_u64, "name": "host"});
    let first = json!({
        "processes": [{"pid": 1234, "command": "java"}, {"pid": 1240, "command": "java"}],
        "more_processes": 0, "netns": host, "cgroup": "/system.slice/shop.service",
        "name": "shop.service", "sockets": 312, "states": {"close_wait": 310, "listen": 2},
        "oldest_seconds": 7985.0, "local_ports": [{"port": 8080, "sockets": 312}],
        "more_local_ports": 0,
        "peers": [
            {"address": "10.0.0.7", "port": null, "sockets": 200},
            {"address": "10.0.0.8", "port": 443, "sockets": 100},
            {"address": "10.0.0.9", "port": 443, "sockets": 9},
            {"address": "10.0.0.10", "port": 443, "sockets": 3},
        ],
    });
    assert_eq!(value["holders"][0], first);
    let second = &value["holders"][1];
    for field in ["cgroup", "name", "oldest_seconds"] {
        assert_eq!(second[field], Value::Null, "{field}");
    }
    assert_eq!(second["processes"], json!([{"pid": 7, "command": null}]));
    assert_eq!(second["netns"]["inode"], Value::Null);
    let queue = json!({
        "netns": host, "address": "::", "port": 8080, "length": 12, "limit": 128,
        "processes": [{"pid": 1234, "command": "java"}], "more_processes": 0,
    });
    let not_held = json!({
        "accept_queues": [queue], "more_accept_queues": 0, "orphans": 3, "other": null,
    });
    assert_eq!(value["not_held"], not_held);
    assert_eq!(value["source"], "iter/task_file");
    assert_eq!((&value["sockets"], &value["more_holders"]), (&json!(320), &json!(2)));
    assert_eq!(value["sockets_with_more_processes"], 0);
}

#[test]
fn an_empty_name_is_not_an_empty_cell() {
    let mut holders = holders();
    holders.rows[0].processes[0].command = Some(String::new());
    holders.accept_queues[0].processes[0].command = Some(String::new());
    let text = table::text(&holders, &WhoQuery::default());
    let words: Vec<_> = text.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(words[..4], ["1234", "(+1)", "-", "host"]);
    assert!(text.contains("12 of 128, - 1234\n"), "{text}");
}

#[test]
fn a_duration_has_its_two_highest_units() {
    for (seconds, text) in [
        (0.4, "0s"),
        (59.9, "59s"),
        (61.0, "1m01s"),
        (7985.0, "2h13m"),
        (86_400.0 * 3.0 + 3600.0 * 4.5, "3d04h"),
    ] {
        assert_eq!(table::duration(seconds), text);
    }
}
