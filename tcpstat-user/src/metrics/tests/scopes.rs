use super::*;

/// The lines of one family of `namespaces`.
fn of_namespaces(namespaces: Vec<Scope>, prefix: &str) -> Vec<String> {
    lines(with_scopes(vec![scopes(ScopeKind::Netns, namespaces)]), prefix)
}

#[test]
fn a_scope_has_all_states_also_at_zero_with_both_families_added_up() {
    for (kind, label) in
        [(ScopeKind::Netns, "netns"), (ScopeKind::Cgroup, "cgroup"), (ScopeKind::Port, "port")]
    {
        let metric = format!("tcpstat_{label}_connections");
        let states = [
            ("established", 5),
            ("syn_sent", 0),
            ("syn_recv", 0),
            ("fin_wait1", 0),
            ("fin_wait2", 0),
            ("time_wait", 1),
            ("close", 0),
            ("close_wait", 0),
            ("last_ack", 0),
            ("listen", 0),
            ("closing", 0),
        ];
        let mut expected = vec![format!("{metric} gauge")];
        expected.extend(states.map(|(state, sockets)| {
            format!("{metric}{{{label}=\"a\",state=\"{state}\"}} {sockets}")
        }));
        expected[0].insert_str(0, "# TYPE ");
        let values = with_scopes(vec![scopes(kind, vec![scope("a")])]);
        assert_eq!(lines(values, &metric), expected);
    }
}

#[test]
fn a_scope_has_the_transitions_that_were_seen_with_both_families_added_up() {
    for (kind, label) in
        [(ScopeKind::Netns, "netns"), (ScopeKind::Cgroup, "cgroup"), (ScopeKind::Port, "port")]
    {
        let metric = format!("tcpstat_{label}_transitions_total");
        let expected = [
            format!("# TYPE {metric} counter"),
            format!("{metric}{{{label}=\"a\",from=\"syn_recv\",to=\"established\"}} 4"),
        ];
        let values = with_scopes(vec![scopes(kind, vec![scope("a")])]);
        assert_eq!(lines(values, &metric), expected);
    }
}

#[test]
fn before_its_seed_a_scope_has_no_gauges_and_without_a_tracer_no_transitions() {
    let unseeded = Scope { connections: None, ..scope("new") };
    let snapshots_only = Scope { transitions: None, ..scope("snapshots") };
    let all = || vec![unseeded.clone(), snapshots_only.clone()];
    let gauges = of_namespaces(all(), "tcpstat_netns_connections{");
    assert_eq!(gauges.len(), State::ALL.len());
    assert!(gauges.iter().all(|line| line.contains("netns=\"snapshots\"")), "{gauges:?}");
    let transitions = of_namespaces(all(), "tcpstat_netns_transitions_total{");
    assert_eq!(transitions.len(), 1);
    assert!(transitions[0].contains("netns=\"new\""), "{transitions:?}");
}

#[test]
fn a_family_without_samples_is_not_described() {
    let unknown = Scope { connections: None, transitions: None, ..scope("new") };
    assert_eq!(of_namespaces(vec![unknown], "tcpstat_netns_"), [""; 0]);
}

#[test]
fn a_namespace_says_what_it_belongs_to_and_empty_labels_are_written() {
    let labels = NetnsName::host(4_026_531_840);
    let unknown = NetnsName::without_process(7);
    let all = vec![
        namespace("host", labels),
        namespace("shop/web-0", pod()),
        namespace("cookie-7", unknown),
    ];
    assert_eq!(
        of_namespaces(all, "tcpstat_netns_info"),
        [
            "# TYPE tcpstat_netns_info gauge",
            "tcpstat_netns_info{netns=\"host\",inode=\"4026531840\",kind=\"host\",namespace=\"\",\
             pod=\"\",pod_uid=\"\",container=\"\",cgroup=\"\"} 1",
            "tcpstat_netns_info{netns=\"shop/web-0\",inode=\"4026532000\",kind=\"pod\",\
             namespace=\"shop\",pod=\"web-0\",pod_uid=\"0a1b\",container=\"\",\
             cgroup=\"/kubepods/pod0a1b\"} 1",
            "tcpstat_netns_info{netns=\"cookie-7\",inode=\"\",kind=\"unnamed\",namespace=\"\",\
             pod=\"\",pod_uid=\"\",container=\"\",cgroup=\"\"} 1",
        ]
    );
}

#[test]
fn a_namespace_says_whether_it_agrees_with_its_sockstat_and_when_its_last_snapshot_ended() {
    let mut wrong = namespace("wrong", pod());
    let mut unchecked = namespace("unchecked", pod());
    let details = |scope: &mut Scope, consistent, snapshot_finished| {
        let netns = scope.netns.as_mut().unwrap();
        (netns.consistent, netns.snapshot_finished) = (consistent, snapshot_finished);
    };
    details(&mut wrong, Some(false), Some(AT));
    details(&mut unchecked, None, None);
    let all = vec![namespace("right", pod()), wrong, unchecked];
    assert_eq!(
        of_namespaces(all.clone(), "tcpstat_netns_consistent{"),
        [
            "tcpstat_netns_consistent{netns=\"right\"} 1",
            "tcpstat_netns_consistent{netns=\"wrong\"} 0",
        ]
    );
    assert_eq!(
        of_namespaces(all, "tcpstat_netns_snapshot_timestamp_seconds{"),
        [
            "tcpstat_netns_snapshot_timestamp_seconds{netns=\"right\"} 1800000000.25",
            "tcpstat_netns_snapshot_timestamp_seconds{netns=\"wrong\"} 1800000000.25",
        ]
    );
}

#[test]
fn the_scope_of_the_overflow_has_sockets_and_belongs_to_nothing() {
    let netns = NetnsDetails::default();
    let other = Scope { netns: Some(netns), ..scope("other") };
    let lines = of_namespaces(vec![other], "tcpstat_netns_");
    assert!(lines.iter().any(|line| line.starts_with("tcpstat_netns_connections{netns=\"other\"")));
    assert!(!lines.iter().any(|line| line.starts_with("tcpstat_netns_info")), "{lines:?}");
}

#[test]
fn each_kind_that_is_counted_says_how_many_scopes_it_has_and_how_many_found_no_room() {
    let mut namespaces = scopes(ScopeKind::Netns, vec![scope("host"), scope("a"), scope("other")]);
    (namespaces.overflow, namespaces.hidden) = (7, 2);
    let ports = scopes(ScopeKind::Port, Vec::new());
    assert_eq!(
        lines(with_scopes(vec![namespaces, ports]), "tcpstat_scopes"),
        [
            "# TYPE tcpstat_scopes gauge",
            "tcpstat_scopes{kind=\"netns\"} 3",
            "tcpstat_scopes{kind=\"port\"} 0",
            "# TYPE tcpstat_scopes_overflow_total counter",
            "tcpstat_scopes_overflow_total{kind=\"netns\"} 7",
            "tcpstat_scopes_overflow_total{kind=\"port\"} 0",
            "# TYPE tcpstat_scopes_hidden gauge",
            "tcpstat_scopes_hidden{kind=\"netns\"} 2",
        ]
    );
}

#[test]
fn without_scopes_no_metric_of_scopes_is_written() {
    let without = Values { scopes: Vec::new(), ..everything() };
    let text = without.encode(Format::Classic);
    for metric in ["_netns_", "_cgroup_", "_port_", "_scopes", "container_"] {
        assert!(!text.lines().filter_map(described).any(|name| name.contains(metric)), "{metric}");
    }
}

#[test]
fn the_name_of_a_scope_is_escaped() {
    let gauges = of_namespaces(vec![scope("a\"}\\\nb")], "tcpstat_netns_connections{");
    assert_eq!(gauges.len(), State::ALL.len());
    let first = r#"tcpstat_netns_connections{netns="a\"}\\\nb",state="established"} 5"#;
    assert_eq!(gauges[0], first);
}
