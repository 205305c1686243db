//! The real binary on the running kernel, with real sockets in private network namespaces.

#![expect(clippy::float_cmp, reason = "the values compared are whole numbers")]

mod addresses;
mod ages;
mod api;
mod causes;
mod cgroups;
mod churn;
mod destinations;
mod dwell;
mod fallback;
mod families;
mod healing;
mod hooks;
mod hostile_exporter;
mod listeners;
mod local_users;
mod losses;
mod namespaces;
mod peaks;
mod peers;
mod privileges;
mod processors;
// By the registers of x86-64.
#[cfg(target_arch = "x86_64")]
mod refused_calls;
mod remedies;
mod remote_scopes;
mod restrictions;
mod roots;
mod series;
mod snapshots;
mod states;
mod surroundings;
mod terminal;
mod terminal_holders;
mod verdicts;

use std::process::ExitCode;

use tcpstat_tests::guest::is_guest;
use tcpstat_tests::harness::{Test, run};

fn main() -> ExitCode {
    let mut tests = states::tests();
    tests.extend(ages::tests());
    tests.extend(api::tests());
    tests.extend(causes::tests());
    tests.extend(cgroups::tests());
    tests.extend(churn::tests());
    tests.extend(destinations::tests());
    tests.extend(dwell::tests());
    tests.extend(families::tests());
    tests.extend(healing::tests());
    tests.extend(hooks::tests());
    tests.extend(listeners::tests());
    tests.extend(local_users::tests());
    tests.extend(losses::tests());
    tests.extend(namespaces::tests());
    tests.extend(peaks::tests());
    tests.extend(peers::tests());
    tests.extend(privileges::tests());
    tests.extend(processors::tests());
    tests.extend(restrictions::tests());
    tests.extend(surroundings::tests());
    tests.extend(series::tests());
    tests.extend(snapshots::tests());
    tests.extend(terminal::tests());
    tests.extend(terminal_holders::tests());
    if !is_guest() {
        tests.extend(surrounding_tests());
    }
    run(tests)
}

/// Tests of what surrounds the process (users, mounts, limits, filters, addresses, peers). They do not depend on
/// the kernel, and a guest, which is emulated, needs a minute for ten of them.
fn surrounding_tests() -> Vec<Test> {
    let mut tests = addresses::tests();
    tests.extend(fallback::tests());
    tests.extend(hostile_exporter::tests());
    tests.extend(namespaces::surrounding_tests());
    #[cfg(target_arch = "x86_64")]
    tests.extend(refused_calls::tests());
    tests.extend(remedies::tests());
    tests.extend(remote_scopes::tests());
    tests.extend(restrictions::surrounding_tests());
    tests.extend(roots::tests());
    tests.extend(verdicts::tests());
    tests
}
