use super::*;

fn with_listeners(each: Vec<(Endpoint, Listener)>, other: Listener) -> Values {
    Values { listeners: Some(Arc::new(ShownListeners { each, other })), ..Values::default() }
}

#[test]
fn each_listener_has_a_series_with_address_and_port_and_the_rest_is_other() {
    let at = |address: &str, port| Endpoint { address: address.parse().unwrap(), port };
    let web = Listener {
        queue_length: 3,
        queue_limit: 127,
        fullest: Fill { length: 32, limit: 127 },
        half_open: 7,
        drops: 9,
    };
    let each = vec![
        (at("0.0.0.0", 80), web),
        (at("::", 443), Listener::default()),
        (at("::ffff:10.1.2.3", 8080), Listener::default()),
    ];
    let lines = lines(with_listeners(each, web), "tcpstat_listener");
    assert_eq!(lines.len(), 5 * (1 + 4));
    for line in [
        "tcpstat_listener_accept_queue_length{address=\"0.0.0.0\",port=\"80\"} 3",
        "tcpstat_listener_accept_queue_limit{address=\"0.0.0.0\",port=\"80\"} 127",
        "tcpstat_listener_accept_queue_fullest_ratio{address=\"0.0.0.0\",port=\"80\"} 0.25",
        "tcpstat_listener_accept_queue_fullest_ratio{address=\"::\",port=\"443\"} 0",
        "tcpstat_listener_half_open{address=\"other\",port=\"other\"} 7",
        "tcpstat_listener_half_open{address=\"::ffff:10.1.2.3\",port=\"8080\"} 0",
        "# TYPE tcpstat_listener_drops_total counter",
        "tcpstat_listener_drops_total{address=\"0.0.0.0\",port=\"80\"} 9",
        "tcpstat_listener_drops_total{address=\"other\",port=\"other\"} 9",
    ] {
        assert!(
            lines
                .iter()
                .any(|it| it.trim_start_matches("# TYPE ") == line.trim_start_matches("# TYPE ")),
            "{line} in {lines:#?}"
        );
    }
}

#[test]
fn where_nothing_reads_listeners_there_are_no_series() {
    assert_eq!(lines(Values::default(), "tcpstat_listener"), [""; 0]);
}

#[test]
fn a_namespace_has_its_listeners_and_its_rest_only_if_there_is_one() {
    let web = Endpoint { address: "0.0.0.0".parse().unwrap(), port: 80 };
    let busy = Listener { queue_length: 3, queue_limit: 4, drops: 9, ..Listener::default() };
    let shown = |name: &str, listeners: Option<ShownListeners>| {
        let mut scope = namespace(name, pod());
        scope.netns.as_mut().unwrap().listeners = listeners.map(Arc::new);
        scope
    };
    let calm = ShownListeners { each: vec![(web, Listener::default())], ..Default::default() };
    let rest = Listener { drops: 2, ..Listener::default() };
    let namespaces = vec![
        shown("calm", Some(calm)),
        shown("busy", Some(ShownListeners { each: vec![(web, busy)], other: rest })),
        shown("unread", None),
        shown("none", Some(ShownListeners::default())),
    ];
    let values = with_scopes(vec![scopes(ScopeKind::Netns, namespaces)]);
    let lines = lines(values, "tcpstat_netns_listener");
    assert_eq!(lines.len(), 5 * (1 + 3));
    let drops: Vec<_> = lines.iter().filter(|line| line.contains("_drops_total{")).collect();
    assert_eq!(
        drops,
        [
            "tcpstat_netns_listener_drops_total{netns=\"calm\",address=\"0.0.0.0\",port=\"80\"} 0",
            "tcpstat_netns_listener_drops_total{netns=\"busy\",address=\"0.0.0.0\",port=\"80\"} 9",
            "tcpstat_netns_listener_drops_total{netns=\"busy\",address=\"other\",port=\"other\"} 2",
        ]
    );
}
