//! How long sockets are in the states that the user chooses.

use super::*;

fn dwell_lines(values: Values, format: Format) -> Vec<String> {
    let text = values.encode(format);
    let lines = text.lines().filter(|line| line.starts_with("tcpstat_dwell"));
    lines.map(str::to_owned).collect()
}

#[test]
fn each_chosen_state_has_a_histogram_also_at_zero() {
    for format in [Format::Classic, Format::OpenMetrics] {
        let lines = dwell_lines(everything(), format);
        for expected in [
            "tcpstat_dwell_seconds_sum{state=\"established\"} 120.5",
            "tcpstat_dwell_seconds_count{state=\"established\"} 2",
            "tcpstat_dwell_seconds_bucket{le=\"0.1\",state=\"established\"} 0",
            "tcpstat_dwell_seconds_bucket{le=\"1.0\",state=\"established\"} 1",
            "tcpstat_dwell_seconds_bucket{le=\"60.0\",state=\"established\"} 1",
            "tcpstat_dwell_seconds_bucket{le=\"600.0\",state=\"established\"} 2",
            "tcpstat_dwell_seconds_bucket{le=\"+Inf\",state=\"established\"} 2",
            "tcpstat_dwell_seconds_count{state=\"close_wait\"} 0",
            "tcpstat_dwell_overflow_total 7",
        ] {
            assert!(lines.iter().any(|line| line == expected), "{expected}: {lines:#?}");
        }
        let states = lines.iter().filter(|line| line.contains("_count")).count();
        assert_eq!(states, 2, "{lines:#?}");
    }
}

#[test]
fn without_a_chosen_state_there_is_no_series() {
    let mut values = everything();
    values.tracer.as_mut().unwrap().dwells = None;
    assert!(!values.encode(Format::Classic).contains("dwell"));
}
