//! The page in a real browser, beside real sockets, in private network namespaces.

mod details;
mod keyboard;
mod live;
mod locked;
mod page;
mod runbook;
mod samples;
mod scopes;
mod sight;

use std::process::ExitCode;

use tcpstat_tests::harness::run;

fn main() -> ExitCode {
    let mut tests = live::tests();
    tests.extend(locked::tests());
    tests.extend(details::tests());
    tests.extend(samples::tests());
    tests.extend(scopes::tests());
    tests.extend(sight::tests());
    tests.extend(keyboard::tests());
    tests.extend(runbook::tests());
    run(tests)
}
