//! The files that tcpstat prints, in the programs that they are for: Prometheus, promtool, Alertmanager. Everything
//! runs in private network namespaces, with real sockets.

#![expect(clippy::float_cmp, reason = "the values compared are whole numbers")]

mod access;
mod alerting;
mod at_scale;
mod charts;
mod cut;
mod dashboard;
mod documents;
mod fleet;
mod fleet_dashboard;
mod kubernetes;
mod message;
mod other_ways;
mod recording;
mod rule_files;
mod scene;
mod shapes;
mod simulated;
mod story;

use std::process::ExitCode;

use tcpstat_tests::harness::run_with_waiting;

fn main() -> ExitCode {
    let mut tests = story::tests();
    tests.extend(at_scale::tests());
    let waiting = tests.len();
    tests.extend(rule_files::tests());
    tests.extend(access::tests());
    tests.extend(dashboard::tests());
    tests.extend(fleet_dashboard::tests());
    tests.extend(recording::tests());
    tests.extend(alerting::tests());
    tests.extend(fleet::tests());
    tests.extend(documents::tests());
    tests.extend(cut::tests());
    tests.extend(kubernetes::tests());
    tests.extend(charts::tests());
    tests.extend(other_ways::tests());
    tests.extend(shapes::tests());
    run_with_waiting(tests, waiting)
}
