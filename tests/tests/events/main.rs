//! `tcpstat events` against transitions that are known in advance: the real binary on the running kernel, with
//! processes that make one system call after the other.

mod beside;
mod connects;
mod ends;
mod filters;
mod losses;
mod netns;
mod output;
mod privileges;
mod processes;
mod scene;
mod scripts;
mod silence;

use std::process::ExitCode;

use tcpstat_tests::guest::is_guest;
use tcpstat_tests::harness::run;

fn main() -> ExitCode {
    let mut tests = scripts::tests();
    tests.extend(filters::tests());
    tests.extend(netns::tests());
    tests.extend(privileges::tests());
    tests.extend(processes::tests());
    tests.extend(silence::tests());
    tests.extend(connects::tests());
    if !is_guest() {
        // What these test does not depend on the kernel, or takes too long in a guest.
        tests.extend(beside::tests());
        tests.extend(ends::tests());
        tests.extend(filters::host_tests());
        tests.extend(losses::tests());
        tests.extend(output::tests());
    }
    run(tests)
}
