//! The real binary over fixtures: no privileges, no kernel feature, no socket but its own.

#![expect(clippy::float_cmp, reason = "the values compared are whole numbers")]

mod api;
mod arguments;
mod command_line;
mod completions;
mod connect;
mod exposition;
mod fixtures;
mod help;
mod log_format;
mod procfs;
mod signals;
mod sockets;
mod telemetry_path;
mod textfile;
mod web;
mod web_config;
mod web_config_changes;

use std::process::ExitCode;

use tcpstat_tests::harness::run;

fn main() -> ExitCode {
    let mut tests = fixtures::tests();
    tests.extend(command_line::tests());
    tests.extend(completions::tests());
    tests.extend(connect::tests());
    tests.extend(exposition::tests());
    tests.extend(api::tests());
    tests.extend(arguments::tests());
    tests.extend(help::tests());
    tests.extend(log_format::tests());
    tests.extend(procfs::tests());
    tests.extend(signals::tests());
    tests.extend(sockets::tests());
    tests.extend(telemetry_path::tests());
    tests.extend(textfile::tests());
    tests.extend(web::tests());
    tests.extend(web_config::tests());
    tests.extend(web_config_changes::tests());
    run(tests)
}
