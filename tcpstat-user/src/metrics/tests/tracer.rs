use super::*;

#[test]
fn whether_a_program_counts_is_absent_until_the_first_snapshot_or_its_failure() {
    assert!(lines(Values::default(), "tcpstat_tracer_").is_empty());
    let failed = Values { snapshot_errors: 1, ..Values::default() };
    assert!(lines(failed, "tcpstat_tracer_up").contains(&"tcpstat_tracer_up 0".to_owned()));
    assert!(lines(everything(), "tcpstat_tracer_up").contains(&"tcpstat_tracer_up 1".to_owned()));
}

#[test]
fn the_kernel_is_a_label_and_no_series() {
    let expected = "tcpstat_tracer_info{program=\"tp_btf\",snapshot=\"procfs\",hooks=\"none\",kernel=\"6.1.0-18-amd64\"} 1";
    assert_eq!(lines(everything(), "tcpstat_tracer_info{"), [expected]);
}
