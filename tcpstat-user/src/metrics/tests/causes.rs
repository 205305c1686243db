use tcpstat_ebpf::CLOSED;

use super::*;

#[test]
fn causes_have_a_series_for_each_pair_that_can_occur() {
    let closed = lines(everything(), "tcpstat_closed");
    assert_eq!(closed[0], "# TYPE tcpstat_closed_total counter");
    assert_eq!(closed.len() - 1, Family::ALL.len() * CLOSED.len());
    for sample in [
        r#"tcpstat_closed_total{family="ipv4",from="syn_sent",cause="no_port"} 0"#,
        r#"tcpstat_closed_total{family="ipv6",from="close_wait",cause="reset"} 0"#,
        r#"tcpstat_closed_total{family="ipv6",from="listen",cause="none"} 0"#,
    ] {
        assert!(closed.iter().any(|line| line == sample), "{sample}");
    }
    for impossible in [
        r#"from="established",cause="no_port""#,
        r#"from="established",cause="refused""#,
        r#"from="listen",cause="other""#,
        r#"from="time_wait""#,
    ] {
        assert!(!closed.iter().any(|line| line.contains(impossible)), "{impossible}");
    }
    assert_eq!(lines(everything(), "tcpstat_connects_retried").len(), 1 + 4);
}

#[test]
fn without_details_there_are_no_causes() {
    let mut values = everything();
    if let Some(tracer) = &mut values.tracer {
        tracer.detailed = None;
    }
    assert_eq!(lines(values.clone(), "tcpstat_closed"), Vec::<String>::new());
    assert_eq!(lines(values, "tcpstat_connects_retried"), Vec::<String>::new());
}

#[test]
fn peaks_are_those_of_both_families_together() {
    let peaks = lines(everything(), "tcpstat_connections_peak");
    assert_eq!(peaks[1], r#"tcpstat_connections_peak{state="established"} 5"#);
    assert_eq!(peaks.len(), 1 + State::ALL.len());
    assert_eq!(lines(Values::default(), "tcpstat_connections_peak"), Vec::<String>::new());
}
