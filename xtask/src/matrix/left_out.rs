//! The tests that a guest does not run, each by name and with its reason. All others run in all.

use crate::matrix::packages::Series;

struct LeftOut {
    /// What its name begins with, and no other test's holds.
    test: &'static str,
    reason: &'static str,
    on: fn(Series) -> bool,
}

const LEFT_OUT: [LeftOut; 4] = [
    LeftOut {
        test: "mptcp_is_counted_by_its_subflows_with_",
        reason: "on 5.10, which Debian built without MPTCP",
        on: |series| series < (5, 15),
    },
    LeftOut {
        test: "missed_events_",
        reason: "before 6.7, which does not count what the classic tracepoint misses",
        on: |series| series < (6, 7),
    },
    LeftOut {
        test: "lost_transitions_from_",
        reason: "what is made of them is the same everywhere: the host loses each kind, a guest all kinds at once",
        on: |_| true,
    },
    LeftOut {
        test: "top_",
        reason: "a guest has no terminal (tmux), and what one shows does not depend on the kernel",
        on: |_| true,
    },
];

/// Says what is left out, and why.
pub(crate) fn announce() {
    println!(
        "left out: tests of what is around the process (tests/tests/kernel/main.rs): the host runs them, and a guest takes too long"
    );
    for LeftOut { test, reason, .. } in &LEFT_OUT {
        println!("left out: {test}*: {reason}");
    }
}

/// The arguments that have the tests leave it out on a kernel of that series.
pub(crate) fn arguments(series: Series) -> Vec<String> {
    LEFT_OUT
        .iter()
        .filter(|left_out| (left_out.on)(series))
        .flat_map(|left_out| ["--skip".to_owned(), left_out.test.to_owned()])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_kernels_that_lack_something_leave_out_what_asks_for_it() {
        let misses = ["--skip", "missed_events_"];
        let mptcp = ["--skip", "mptcp_is_counted_by_its_subflows_with_"];
        let losses = ["--skip", "lost_transitions_from_"];
        let terminal = ["--skip", "top_"];
        assert_eq!(arguments((5, 10)), [mptcp, misses, losses, terminal].concat());
        assert_eq!(arguments((6, 1)), [misses, losses, terminal].concat());
        assert_eq!(arguments((6, 12)), [losses, terminal].concat());
    }
}
