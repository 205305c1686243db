//! The real binary on the running kernel, with real sockets in private network namespaces.

#![expect(clippy::float_cmp, reason = "the values compared are whole numbers")]

mod addresses;
mod api;
mod churn;
mod healing;
mod hooks;
mod losses;
mod namespaces;
mod peers;
mod privileges;
mod snapshots;
mod states;
mod surroundings;
mod terminal;

use std::process::ExitCode;

use tcpstat_tests::harness::run;

fn main() -> ExitCode {
    let mut tests = states::tests();
    tests.extend(addresses::tests());
    tests.extend(api::tests());
    tests.extend(churn::tests());
    tests.extend(healing::tests());
    tests.extend(hooks::tests());
    tests.extend(losses::tests());
    tests.extend(namespaces::tests());
    tests.extend(peers::tests());
    tests.extend(privileges::tests());
    tests.extend(surroundings::tests());
    tests.extend(snapshots::tests());
    tests.extend(terminal::tests());
    run(tests)
}
