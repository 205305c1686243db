//! The real binary on the running kernel, with real sockets in private network namespaces.

#![expect(clippy::float_cmp, reason = "the values compared are whole numbers")]

mod addresses;
mod api;
mod churn;
mod fallback;
mod families;
mod healing;
mod hooks;
mod hostile_exporter;
mod local_users;
mod losses;
mod namespaces;
mod peers;
mod privileges;
mod processors;
mod remedies;
mod roots;
mod snapshots;
mod states;
mod surroundings;
mod terminal;
mod verdicts;

use std::process::ExitCode;

use tcpstat_tests::harness::run;

fn main() -> ExitCode {
    let mut tests = states::tests();
    tests.extend(addresses::tests());
    tests.extend(api::tests());
    tests.extend(churn::tests());
    tests.extend(families::tests());
    tests.extend(fallback::tests());
    tests.extend(healing::tests());
    tests.extend(hooks::tests());
    tests.extend(hostile_exporter::tests());
    tests.extend(local_users::tests());
    tests.extend(losses::tests());
    tests.extend(namespaces::tests());
    tests.extend(peers::tests());
    tests.extend(privileges::tests());
    tests.extend(processors::tests());
    tests.extend(remedies::tests());
    tests.extend(roots::tests());
    tests.extend(surroundings::tests());
    tests.extend(snapshots::tests());
    tests.extend(terminal::tests());
    tests.extend(verdicts::tests());
    run(tests)
}
