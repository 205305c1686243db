//! `tcpstat who` against processes of known ids that hold known sockets: the real binary on the running kernel.

mod ages;
mod choice;
mod containers;
mod counts;
mod fallback;
mod links;
mod not_held;
mod privileges;
mod process_ids;
mod shared;
mod table;
mod watch;

use std::process::ExitCode;

use tcpstat_tests::guest::is_guest;
use tcpstat_tests::harness::run;

fn main() -> ExitCode {
    let mut tests = ages::tests();
    tests.extend(counts::tests());
    tests.extend(not_held::tests());
    tests.extend(privileges::tests());
    tests.extend(process_ids::tests());
    tests.extend(shared::tests());
    if !is_guest() {
        // What these test does not depend on the kernel, and a guest has no runc.
        tests.extend(ages::host_tests());
        tests.extend(choice::tests());
        tests.extend(containers::tests());
        tests.extend(fallback::tests());
        tests.extend(not_held::host_tests());
        tests.extend(table::tests());
        tests.extend(watch::tests());
    }
    run(tests)
}
