//! How long sockets are in CLOSE_WAIT.

use super::*;

fn ages(format: Format) -> Vec<String> {
    let text = everything().encode(format);
    let lines = text.lines().filter(|line| line.starts_with("tcpstat_close_wait"));
    lines.map(str::to_owned).collect()
}

#[test]
fn buckets_are_cumulated_and_sum_and_count_fit_them() {
    for format in [Format::Classic, Format::OpenMetrics] {
        let expected = [
            "tcpstat_close_wait_silence_seconds_sum 120.004",
            "tcpstat_close_wait_silence_seconds_count 9",
            "tcpstat_close_wait_silence_seconds_bucket{le=\"1.0\"} 8",
            "tcpstat_close_wait_silence_seconds_bucket{le=\"10.0\"} 8",
            "tcpstat_close_wait_silence_seconds_bucket{le=\"60.0\"} 8",
            "tcpstat_close_wait_silence_seconds_bucket{le=\"300.0\"} 9",
            "tcpstat_close_wait_silence_seconds_bucket{le=\"3600.0\"} 9",
            "tcpstat_close_wait_silence_seconds_bucket{le=\"86400.0\"} 9",
            "tcpstat_close_wait_silence_seconds_bucket{le=\"+Inf\"} 9",
            "tcpstat_close_wait_oldest_seconds 3601.5",
            "tcpstat_close_wait_aged_connections{older_than=\"1m\"} 12",
            "tcpstat_close_wait_aged_connections{older_than=\"5m\"} 3",
            "tcpstat_close_wait_aged_connections{older_than=\"1h\"} 1",
        ];
        assert_eq!(ages(format), expected);
    }
    let text = everything().encode(Format::Classic);
    assert!(text.contains("# TYPE tcpstat_close_wait_silence_seconds histogram\n"));
}

#[test]
fn what_is_not_known_is_absent() {
    let mut values = everything();
    let tracer = values.tracer.as_mut().unwrap();
    (tracer.silences, tracer.close_wait_ages) = (None, None);
    values.scopes.clear();
    assert!(!values.encode(Format::Classic).contains("close_wait_"));
}

#[test]
fn a_namespace_has_its_ages_once_they_are_read() {
    let mut read = namespace("read", pod());
    let ages = CloseWaitAges { oldest: 375, older_than: [3, 2, 0] };
    let rate = RATE;
    read.netns.as_mut().unwrap().close_wait_ages = Some((ages, rate));
    let namespaces = vec![read, namespace("unread", pod())];
    let values = with_scopes(vec![scopes(ScopeKind::Netns, namespaces)]);
    assert_eq!(
        lines(values, "tcpstat_netns_close_wait"),
        [
            "# TYPE tcpstat_netns_close_wait_oldest_seconds gauge",
            "tcpstat_netns_close_wait_oldest_seconds{netns=\"read\"} 1.5",
            "# TYPE tcpstat_netns_close_wait_aged_connections gauge",
            "tcpstat_netns_close_wait_aged_connections{netns=\"read\",older_than=\"1m\"} 3",
            "tcpstat_netns_close_wait_aged_connections{netns=\"read\",older_than=\"5m\"} 2",
            "tcpstat_netns_close_wait_aged_connections{netns=\"read\",older_than=\"1h\"} 0",
        ]
    );
}
