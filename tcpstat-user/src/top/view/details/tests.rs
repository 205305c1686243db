use std::time::Duration;

use serde_json::json;

use crate::top::{
    Model, Status,
    details::tests::{details, troubled},
    numbers::Update,
    scopes::ScopeTable,
    tests::{model, press},
    view::tests::{SIZES, lines},
};

/// The view after two seconds with one refused connect in each.
fn details_view() -> Model {
    let mut model = model();
    press(&mut model, 'd');
    for second in [0, 1, 2] {
        set(&mut model, 102_000 + second * 1_000, &troubled(10 + second));
    }
    model
}

fn set(model: &mut Model, uptime_ms: u64, fields: &serde_json::Value) {
    let status = model.shown().status.clone();
    let status = Status { details: details(uptime_ms, fields), ..status };
    model.add(Update { samples: Vec::new(), status });
}

/// The words of the first line that starts so.
fn cells<'a>(lines: &'a [String], start: &str) -> Vec<&'a str> {
    let line = lines.iter().find(|line| line.starts_with(start));
    line.map(|line| line.split_whitespace().collect()).unwrap_or_default()
}

#[test]
fn causes_ages_and_listeners_have_their_numbers() {
    let lines = lines(&details_view(), (80, 24));
    assert_eq!(
        cells(&lines, "CLOSE_WAIT"),
        [
            "CLOSE_WAIT",
            "oldest",
            "3h",
            "3m;",
            "older",
            "than",
            "1m:",
            "40",
            "5m:",
            "37",
            "1h:",
            "5"
        ]
    );
    let ports = ["PORTS", "25,001", "of", "28,232", "to", "10.0.0.1", "→", "10.0.0.7:443"];
    assert_eq!(cells(&lines, "PORTS"), ports);
    assert_eq!(cells(&lines, "CLOSED IN"), ["CLOSED", "IN", "CAUSE", "PER", "S", "TOTAL"]);
    assert_eq!(cells(&lines, "syn_sent    refused"), ["syn_sent", "refused", "1.0", "13"]);
    assert_eq!(cells(&lines, "close_wait"), ["close_wait", "reset", "0", "12"]);
    assert_eq!(cells(&lines, "established"), ["established", "timed_out", "0", "3,000,000"]);
    let titles = ["LISTENER", "2", "of", "57", "WAITING", "LIMIT", "FILL", "HALF-OPEN", "DROPS"];
    assert_eq!(cells(&lines, "LISTENER"), titles);
    let full = cells(&lines, "[::]:443");
    assert_eq!(full[..4], ["[::]:443", "129", "128", "full"], "{full:?}");
    assert_eq!(full[5..], ["3", "1,234"], "{full:?}");
    let half = cells(&lines, "10.0.0.1:8080");
    assert_eq!(half[..4], ["10.0.0.1:8080", "64", "128", "49%"], "{half:?}");
    assert!(!lines.join("").contains("TRANSITIONS"), "{lines:#?}");
    assert!(lines.iter().any(|line| line.starts_with("of tcpstat's own network namespace")));
}

#[test]
fn every_size_has_the_oldest_socket_the_first_cause_and_the_fullest_listener() {
    let model = details_view();
    for size in SIZES {
        let lines = lines(&model, size);
        let has = |start: &str, part: &str| {
            lines.iter().any(|line| line.starts_with(start) && line.contains(part))
        };
        assert!(has("CLOSE_WAIT", "3h 3m") && has("CLOSE_WAIT", "5"), "{size:?}: {lines:#?}");
        assert!(has("syn_sent", "refused") && has("syn_sent", "13"), "{size:?}: {lines:#?}");
        assert!(has("[::]:443", "full") && has("[::]:443", "1,234"), "{size:?}: {lines:#?}");
    }
    for size in [(1, 0), (1, 1), (3, 40), (200, 1), (39, 9), (20, 4)] {
        let _ = lines(&model, size);
    }
}

#[test]
fn many_causes_leave_room_for_the_listeners_and_the_other_way_round() {
    let mut model = details_view();
    let mut many = troubled(1);
    for state in ["established", "fin_wait1", "fin_wait2", "last_ack", "closing", "close_wait"] {
        many["closed"]["ipv4"][state] =
            json!({ "reset": 1, "timed_out": 2, "unreachable": 3, "destroyed": 4 });
    }
    let listener = many["listeners"]["fullest"][1].clone();
    many["listeners"]["fullest"] = vec![listener; 10].into();
    set(&mut model, 110_000, &many);
    let lines = lines(&model, (80, 24));
    assert_eq!(lines.iter().filter(|line| line.starts_with("10.0.0.1:8080")).count(), 7);
    assert!(cells(&lines, "LISTENER").contains(&"7"), "{lines:#?}");
    assert!(!cells(&lines, "close_wait").is_empty(), "{lines:#?}");
}

#[test]
fn the_view_says_what_is_not_known_and_what_did_not_happen() {
    let mut model = details_view();
    let nothing = json!({ "closed": { "ipv4": {}, "ipv6": {} },
        "close_wait_ages": { "oldest_ms": 0, "older_than": {} },
        "listeners": { "count": 0, "fullest": [] } });
    for (fields, texts) in [
        (nothing, ["no failed connect", "no socket", "none"]),
        (json!({}), ["not counted", "the ages are not known", "not read here"]),
    ] {
        set(&mut model, 1, &fields);
        for size in SIZES {
            let text = lines(&model, size).join("\n");
            for part in texts {
                assert!(text.contains(part), "{size:?} {part}: {text}");
            }
        }
    }
    let status = Status { snapshot_age: Some(Duration::from_secs(1)), ..Status::default() };
    model.add(Update { samples: Vec::new(), status });
    let text = lines(&model, (80, 24)).join("\n");
    assert!(text.contains("without a tracer") && !text.contains("CLOSED IN"), "{text}");
}

#[test]
fn d_shows_the_details_and_the_states_again_and_f_chooses_the_family() {
    let mut model = details_view();
    let keys = lines(&model, (80, 24)).pop().unwrap();
    assert!(keys.contains("d states") && keys.contains("v scopes"), "{keys}");
    assert!(keys.contains("family: all") && !keys.contains("sort"), "{keys}");
    press(&mut model, 'f');
    press(&mut model, 'f');
    let rows = lines(&model, (80, 24));
    assert_eq!(cells(&rows, "syn_sent"), ["syn_sent", "refused", "0", "1"]);
    press(&mut model, 'd');
    let rows = lines(&model, (80, 24));
    assert!(rows.iter().any(|line| line.starts_with("TRANSITIONS")), "{rows:#?}");
    assert!(rows.last().unwrap().contains("d details"), "{rows:#?}");
    // From the scopes to the details, and the other way round.
    press(&mut model, 'v');
    press(&mut model, 'd');
    assert!(lines(&model, (80, 24)).join("").contains("CLOSED IN"));
    press(&mut model, 'v');
    assert!(model.shows_scopes());
}

/// The view of the details of `shop/web-7f9c`, which is marked at first.
fn scope_details_view() -> Model {
    let mut model = details_view();
    press(&mut model, 'v');
    model.set_scopes(Some(Ok(namespaces())));
    press(&mut model, 'd');
    model
}

fn namespaces() -> Vec<ScopeTable> {
    let mut kinds = json!([{ "kind": "netns", "scopes": [
        { "name": "host", "connections": { "close_wait": 2 } },
        { "name": "shop/web-7f9c", "connections": { "close_wait": 1_200 } },
        { "name": "shop/db-0", "connections": { "close_wait": 0 } },
        { "name": "new", "connections": null }
    ] }]);
    let fields = troubled(1);
    for field in ["close_wait_ages", "listeners"] {
        kinds[0]["scopes"][1][field] = fields[field].clone();
    }
    kinds[0]["scopes"][1]["close_wait_ages"]["oldest_ms"] = 7_260_000.into();
    kinds[0]["scopes"][2]["listeners"] = json!({ "count": 0, "fullest": [] });
    kinds[0]["scopes"][2]["close_wait_ages"] = json!({ "oldest_ms": 0 });
    ScopeTable::all(&serde_json::from_value(json!({ "kinds": kinds })).unwrap())
}

#[test]
fn the_marked_network_namespace_has_its_own_ages_and_listeners() {
    let model = scope_details_view();
    assert!(model.wants_scopes() && !model.shows_scopes());
    for size in SIZES {
        let lines = lines(&model, size);
        let has = |start: &str, part: &str| {
            lines.iter().any(|line| line.starts_with(start) && line.contains(part))
        };
        assert!(has("NETNS", "shop/web-7f9c") && has("CLOSE_WAIT", "2h 1m"), "{lines:#?}");
        assert!(has("[::]:443", "full") && !has("PORTS", ""), "{size:?}: {lines:#?}");
        assert!(!has("CLOSED IN", ""), "causes are those of the own one: {size:?}: {lines:#?}");
    }
    let text = lines(&model, (80, 24)).join("\n");
    assert!(text.contains("of tcpstat's own one only"), "{text}");
}

#[test]
fn j_shows_the_next_namespace_and_d_goes_back_to_the_scopes() {
    let mut model = scope_details_view();
    let keys = lines(&model, (80, 24)).pop().unwrap();
    assert!(keys.contains("d back") && keys.contains("jk mark"), "{keys}");
    press(&mut model, 'j');
    let text = lines(&model, (80, 24)).join("\n");
    assert!(text.contains("CLOSED IN") && text.contains("3h 3m"), "the own one: {text}");
    press(&mut model, 'j');
    let text = lines(&model, (80, 24)).join("\n");
    assert!(text.contains("shop/db-0") && text.contains("none that is counted"), "{text}");
    press(&mut model, 'j');
    let text = lines(&model, (80, 24)).join("\n");
    assert!(text.contains("the ages are not known") && text.contains("not read here"), "{text}");
    press(&mut model, 'w');
    assert!(model.holders_view().is_some());
    press(&mut model, 'w');
    assert!(model.shows_details());
    press(&mut model, 'd');
    assert!(model.shows_scopes());
    assert_eq!(model.marked_scope().unwrap().1.name, "new");
    press(&mut model, 'd');
    press(&mut model, 'v');
    assert!(model.shows_scopes());
}

#[test]
fn the_details_stay_those_of_a_namespace_when_another_becomes_the_first_one() {
    let mut model = scope_details_view();
    let mut worse = namespaces();
    worse[0].rows[1].name = "shop/cart".to_owned();
    worse[0].rows.push(namespaces()[0].rows[1].clone());
    model.set_scopes(Some(Ok(worse)));
    press(&mut model, 'd');
    assert_eq!(model.marked_scope().unwrap().0, 1, "shop/cart is before it");
    press(&mut model, 'd');
    let text = lines(&model, (80, 24)).join("\n");
    assert!(text.contains("shop/web-7f9c") && !text.contains("shop/cart"), "{text}");
}

#[test]
fn a_namespace_that_ends_leaves_the_details_of_the_first_one() {
    let mut model = scope_details_view();
    model.set_scopes(Some(Ok(Vec::new())));
    assert!(lines(&model, (80, 24)).join("").contains("CLOSED IN"));
    press(&mut model, 'd');
    assert!(model.shows_scopes());
}

#[test]
fn addresses_of_a_remote_exporter_cannot_control_the_terminal() {
    let evil = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\u{202e}\n\tx";
    let mut fields = troubled(1);
    fields["listeners"]["fullest"][0]["address"] = evil.into();
    fields["listeners"]["fullest"][0]["fullest_ratio"] = json!(-1e300);
    fields["ephemeral_ports"]["fullest_destination"]["local_address"] = evil.into();
    fields["ephemeral_ports"]["fullest_destination"]["remote_address"] = evil.into();
    fields["closed"]["ipv4"][evil] = json!({ evil: 1 });
    let mut model = details_view();
    set(&mut model, 110_000, &fields);
    for size in SIZES {
        let text = lines(&model, size).join("");
        assert!(!text.contains(|c: char| c.is_control() || c == '\u{202e}'), "{text:?}");
    }
    assert!(lines(&model, (120, 40)).join("").contains("\\u{1b}]0;owned"));
}
