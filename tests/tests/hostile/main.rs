//! Hostile clients: other clients are answered, memory is bounded, and every connection ends.

#![expect(clippy::float_cmp, reason = "the values compared are whole numbers")]

mod attacks;
mod hanging_files;
mod limits;
mod passwords;
mod timeouts;
mod tls;
mod unix;

use std::process::ExitCode;

use tcpstat_tests::harness::run_in_turn;

fn main() -> ExitCode {
    let mut tests = attacks::tests();
    tests.extend(hanging_files::tests());
    tests.extend(limits::tests());
    tests.extend(passwords::tests());
    tests.extend(timeouts::tests());
    tests.extend(tls::tests());
    tests.extend(unix::tests());
    run_in_turn(tests)
}
