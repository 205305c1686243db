//! A server that nobody can starve: other clients are answered, memory is bounded, and all ends.

mod attacks;
mod limits;
mod timeouts;

use std::process::ExitCode;

use tcpstat_tests::harness::run_in_turn;

fn main() -> ExitCode {
    let mut tests = attacks::tests();
    tests.extend(limits::tests());
    tests.extend(timeouts::tests());
    run_in_turn(tests)
}
