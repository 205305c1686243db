//! The files that go with the binary, against the programs they are for: Prometheus, promtool,
//! Alertmanager. Everything runs in private network namespaces, with real sockets.

mod rule_files;

use std::process::ExitCode;

use tcpstat_tests::harness::run;

fn main() -> ExitCode {
    run(rule_files::tests())
}
