use serde_json::{Value, json};

use super::*;
use crate::{api::StatusJson, detailed::cause_word, states::state_word};

/// The details of a status with these fields besides those that every status has.
pub(in crate::top) fn details(uptime_ms: u64, fields: &Value) -> Details {
    let mut status = fields.clone();
    status["uptime_ms"] = uptime_ms.into();
    let json: StatusJson = serde_json::from_value(status).unwrap();
    Details::new(
        json.uptime_ms,
        json.closed,
        json.close_wait_ages.as_ref(),
        json.listeners.as_ref(),
        json.ephemeral_ports.as_ref(),
    )
}

/// An exporter with failed connects, a leak, and a full listener.
pub(in crate::top) fn troubled(refused: u64) -> Value {
    let listener = |address: &str, port: u16, waiting: u64, ratio: f64, drops: u64| {
        json!({ "address": address, "port": port, "queue_length": waiting, "queue_limit": 128,
            "fullest_ratio": ratio, "half_open": 3, "drops": drops })
    };
    json!({
        "closed": {
            "ipv4": {
                "syn_sent": { "refused": refused, "none": 4 },
                "established": { "none": 900, "timed_out": 3_000_000 },
                "close_wait": { "reset": 12 }
            },
            "ipv6": { "syn_sent": { "refused": 1 }, "last_ack": { "none": 17 } }
        },
        "close_wait_ages": { "oldest_ms": 11_030_000, "older_than": { "1m": 40, "5m": 37, "1h": 5 } },
        "listeners": { "count": 57, "drops": 1_239, "fullest": [
            listener("::", 443, 129, 1.0, 1_234),
            listener("10.0.0.1", 8_080, 64, 0.496, 0)
        ] },
        "ephemeral_ports": { "count": 28_232, "fullest_destination": { "sockets": 25_001,
            "local_address": "10.0.0.1", "remote_address": "10.0.0.7", "remote_port": 443 } }
    })
}

fn counts(refused: u64) -> Box<ClosedCounts> {
    details(1, &troubled(refused)).closed.unwrap()
}

fn shown(rows: &[ClosedRow]) -> Vec<(&str, &str, u64)> {
    rows.iter().map(|row| (state_word(row.from), cause_word(row.cause), row.total)).collect()
}

#[test]
fn failed_connects_come_first_then_close_wait_and_orderly_ends_are_left_out() {
    let mut recent = RecentCounts::default();
    assert_eq!(recent.rows(None), None);
    recent.add(1_000, counts(10));
    let rows = recent.rows(None).unwrap();
    assert_eq!(
        shown(&rows),
        [
            ("syn_sent", "refused", 11),
            ("syn_sent", "none", 4),
            ("close_wait", "reset", 12),
            ("established", "timed_out", 3_000_000)
        ]
    );
    assert!(rows.iter().all(|row| row.per_second.is_none()), "{rows:?}");
    let ipv6 = recent.rows(Some(Family::Ipv6)).unwrap();
    assert_eq!(shown(&ipv6), [("syn_sent", "refused", 1)]);
}

#[test]
fn a_rate_is_over_the_last_minute_at_any_interval() {
    for interval in [200, 1_000, 5_000] {
        let mut recent = RecentCounts::default();
        for step in 0..1_000 {
            let uptime_ms = 1_000_000 + step * interval;
            // One in five seconds, and then none.
            let refused = (step * interval / 5_000).min(100);
            recent.add(uptime_ms, counts(refused));
            // The same status again.
            recent.add(uptime_ms, counts(refused));
            assert!(recent.0.len() <= 62, "{}", recent.0.len());
            let rate = recent.rows(None).unwrap()[0].per_second;
            let passed = step * interval;
            if passed == 60_000 {
                assert_eq!(rate, Some(0.2), "every {interval} ms");
            } else if passed > 565_000 {
                assert_eq!(rate, Some(0.0), "every {interval} ms");
            }
        }
    }
}

#[test]
fn counts_of_another_run_are_not_compared_with_those_before() {
    let mut recent = RecentCounts::default();
    for (uptime_ms, refused) in [(10_000, 100), (11_000, 110), (12_000, 3), (13_000, 5)] {
        recent.add(uptime_ms, counts(refused));
    }
    assert_eq!(recent.rows(None).unwrap()[0].per_second, Some(2.0));
    // The host has started again.
    recent.add(500, counts(500));
    assert_eq!(recent.rows(None).unwrap()[0].per_second, None);
}

#[test]
fn an_ipv6_address_has_brackets_and_a_text_of_a_server_no_controls() {
    let details = details(1, &troubled(0));
    let listeners = details.listeners.unwrap();
    let places: Vec<_> = listeners.fullest.iter().map(|row| row.place.as_str()).collect();
    assert_eq!(places, ["[::]:443", "10.0.0.1:8080"]);
    let mut evil = troubled(0);
    evil["listeners"]["fullest"][0]["address"] = "\u{1b}[2J".into();
    let listeners = self::details(1, &evil).listeners.unwrap();
    assert_eq!(listeners.fullest[0].place, "\\u{1b}[2J:443");
}
