//! The real binary over fixtures: no privileges, no kernel feature, no socket but its own.

#![expect(clippy::float_cmp, reason = "the values compared are whole numbers")]

mod api;
mod command_line;
mod exposition;
mod fixtures;
mod help;
mod signals;
mod textfile;
mod web;

use std::process::ExitCode;

use tcpstat_tests::harness::run;

fn main() -> ExitCode {
    let mut tests = fixtures::tests();
    tests.extend(command_line::tests());
    tests.extend(exposition::tests());
    tests.extend(api::tests());
    tests.extend(help::tests());
    tests.extend(signals::tests());
    tests.extend(textfile::tests());
    tests.extend(web::tests());
    run(tests)
}
