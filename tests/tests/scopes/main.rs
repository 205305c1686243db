//! Network namespaces as scopes: the real binary with `--netns all`, and real namespaces and containers.
//!
//! Such an exporter counts the sockets of every namespace of the machine, so one test runs at a time.

#![expect(clippy::float_cmp, reason = "the values compared are whole numbers")]

mod bounds;
mod cadvisor;
mod churn;
mod containers;
mod first;
mod forgotten;
mod held;
mod http;
mod lifetimes;
mod losses;
mod names;
mod older;
mod other;
mod privileges;
mod process_ids;
mod program_change;
mod states;
mod terminal;
mod walks;

use std::process::ExitCode;

use tcpstat_tests::guest::is_guest;
use tcpstat_tests::harness::run_in_turn;

fn main() -> ExitCode {
    let mut tests = states::tests();
    tests.extend(bounds::tests());
    tests.extend(churn::tests());
    tests.extend(first::tests());
    tests.extend(forgotten::tests());
    tests.extend(held::tests());
    tests.extend(lifetimes::tests());
    tests.extend(losses::tests());
    tests.extend(older::tests());
    tests.extend(other::tests());
    tests.extend(privileges::tests());
    tests.extend(process_ids::tests());
    tests.extend(program_change::tests());
    tests.extend(walks::tests());
    if !is_guest() {
        // What these test does not depend on the kernel, and a guest has no runc.
        tests.extend(cadvisor::tests());
        tests.extend(containers::tests());
        tests.extend(http::tests());
        tests.extend(names::tests());
        tests.extend(terminal::tests());
    }
    run_in_turn(tests)
}
