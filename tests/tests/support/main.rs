//! The support library, tested by itself.

mod exporting;
mod namespaces;
mod peers;
mod traffic;

use std::process::ExitCode;

use tcpstat_tests::harness;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(exporting::SUBCOMMAND) {
        return exporting::play_exporter();
    }
    let tests = [namespaces::tests(), peers::tests(), traffic::tests(), exporting::tests()];
    harness::run(tests.into_iter().flatten().collect())
}
