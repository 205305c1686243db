//! The support library, tested by itself.

mod containers;
mod exporting;
mod holders;
mod namespaces;
mod peers;
mod residents;
mod traffic;

use std::process::ExitCode;

use tcpstat_tests::harness;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(exporting::SUBCOMMAND) {
        return exporting::play_exporter();
    }
    let tests = [
        containers::tests(),
        holders::tests(),
        namespaces::tests(),
        peers::tests(),
        residents::tests(),
        traffic::tests(),
        exporting::tests(),
    ];
    harness::run(tests.into_iter().flatten().collect())
}
