use std::{net::Ipv4Addr, num::NonZeroU32};

use serde_json::{Value, json};

use super::*;
use crate::{
    ages::{CloseWaitAges, TickRate},
    listeners::{Endpoint, Listener, ShownListeners},
    states::{Family, PerState, State},
    tracker::{NetnsDetails, ScopeKind},
};

const NOW: Moment = Moment { unix_ms: 5_000_000, uptime_ms: 100_000 };

fn scope(name: &str, close_wait: [u64; 2]) -> Scope {
    let mut connections = PerState::default();
    connections[(Family::Ipv4, State::CloseWait)] = close_wait[0];
    connections[(Family::Ipv6, State::CloseWait)] = close_wait[1];
    connections[(Family::Ipv6, State::Listen)] = 2;
    Scope { name: name.into(), connections: Some(connections), transitions: None, netns: None }
}

fn pod() -> Scope {
    let name = NetnsName {
        name: "shop/web".into(),
        kind: crate::scopes::NetnsKind::Pod,
        namespace: "shop".into(),
        pod: "web".into(),
        pod_uid: "0f1e".into(),
        container: String::new(),
        cgroup: "/kubepods/pod0f1e".into(),
        ..NetnsName::host(4_026_532_345)
    };
    let rate = TickRate(NonZeroU32::new(250).unwrap());
    let endpoint = Endpoint { address: Ipv4Addr::UNSPECIFIED.into(), port: 8_080 };
    let listener = Listener { queue_length: 9, queue_limit: 8, drops: 5, ..Listener::default() };
    let other = Listener { drops: 2, ..Listener::default() };
    let netns = NetnsDetails {
        name: Some(name.into()),
        consistent: Some(true),
        snapshot_finished: Some(Moment { unix_ms: 9, uptime_ms: 98_500 }),
        close_wait_ages: Some((CloseWaitAges { oldest: 250, older_than: [3, 0, 0] }, rate)),
        listeners: Some(ShownListeners { each: vec![(endpoint, listener)], other }.into()),
    };
    Scope { netns: Some(netns), ..scope("shop/web", [3, 4]) }
}

fn kinds() -> [Scopes; 2] {
    let unknown = Scope { connections: None, ..scope("443", [0, 0]) };
    [
        Scopes { kind: ScopeKind::Netns, scopes: vec![pod()], overflow: 5, hidden: 6 },
        Scopes { kind: ScopeKind::Port, scopes: vec![unknown], overflow: 0, hidden: 0 },
    ]
}

#[test]
fn a_scope_has_its_sockets_by_state_and_what_it_belongs_to() {
    let json = serde_json::to_value(ScopesJson::new(&kinds(), NOW, None)).unwrap();
    assert_eq!(json["uptime_ms"], 100_000);
    let netns = &json["kinds"][0];
    assert_eq!(
        (&netns["kind"], &netns["overflow"], &netns["hidden"]),
        (&json!("netns"), &json!(5), &json!(6))
    );
    let scope = &netns["scopes"][0];
    assert_eq!(scope["connections"]["close_wait"], 7);
    assert_eq!(scope["connections"]["established"], 0);
    assert_eq!(scope["connections"].as_object().unwrap().len(), State::ALL.len());
    assert_eq!(scope["total"], 9);
    assert_eq!(scope["consistent"], true);
    assert_eq!(scope["snapshot_ended_ms_ago"], 1_500);
    let details = json!({
        "inode": 4_026_532_345_u64, "kind": "pod", "namespace": "shop", "pod": "web", "pod_uid": "0f1e",
        "container": "", "cgroup": "/kubepods/pod0f1e"
    });
    assert_eq!(scope["netns"], details);
    let older_than = json!({ "1m": 3, "5m": 0, "1h": 0 });
    assert_eq!(scope["close_wait_ages"], json!({ "oldest_ms": 1_000, "older_than": older_than }));
    assert_eq!(
        (&scope["listeners"]["count"], &scope["listeners"]["drops"]),
        (&json!(1), &json!(7))
    );
    assert_eq!(scope["listeners"]["fullest"][0]["queue_length"], 9);
    let unknown = serde_json::to_value(NetnsJson::new(&NetnsName::without_process(7))).unwrap();
    assert_eq!((&unknown["inode"], &unknown["cgroup"]), (&Value::Null, &json!("")));
    let port = &json["kinds"][1]["scopes"][0];
    for field in [
        "connections",
        "total",
        "consistent",
        "snapshot_ended_ms_ago",
        "netns",
        "close_wait_ages",
        "listeners",
        "history",
    ] {
        assert_eq!(port[field], Value::Null, "{field}");
    }
    assert_eq!(json["history"], Value::Null);
}

#[test]
fn the_samples_of_a_scope_have_one_value_for_each_time() {
    let mut history = ScopesHistory::default();
    let sample = ScopeSample { established: 1, close_wait: 2, total: 4 };
    history.push(Moment { unix_ms: 80_000, uptime_ms: 80_000 }, []);
    let key = ("netns", "shop/web".into());
    history.push(Moment { unix_ms: 90_000, uptime_ms: 90_000 }, [(key, Some(sample))]);
    let json = serde_json::to_value(ScopesJson::new(&kinds(), NOW, Some(&history))).unwrap();
    assert_eq!(
        json["history"],
        json!({ "unix_ms": [80_000, 90_000], "uptime_ms": [80_000, 90_000] })
    );
    let samples = json!({ "established": [null, 1], "close_wait": [null, 2], "total": [null, 4] });
    assert_eq!(json["kinds"][0]["scopes"][0]["history"], samples);
    let none = json!([null, null]);
    assert_eq!(json["kinds"][1]["scopes"][0]["history"]["total"], none);
}

#[test]
fn without_scopes_the_list_of_kinds_is_empty() {
    let json =
        serde_json::to_value(ScopesJson::new(&[], NOW, Some(&ScopesHistory::default()))).unwrap();
    assert_eq!(json["kinds"], json!([]));
    assert_eq!(json["history"]["uptime_ms"], json!([]));
}

#[test]
fn what_is_written_can_be_read() {
    let text = serde_json::to_string(&ScopesJson::new(&kinds(), NOW, None)).unwrap();
    let read: ScopesJson = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), text);
}

#[test]
fn an_answer_may_have_only_the_fields_that_top_needs() {
    let text = r#"{"more": 1, "kinds": [{"kind": "port", "scopes": [
        {"name": "80", "connections": {"close_wait": 7, "new_state": 1}, "total": 7}]}]}"#;
    let read: ScopesJson = serde_json::from_str(text).unwrap();
    assert_eq!(read.kinds[0].scopes[0].total, Some(7));
    assert!(serde_json::from_str::<ScopesJson>("{}").is_err());
}
