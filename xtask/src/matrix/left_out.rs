//! The tests that a guest does not run, each by name and with its reason. All others run in all.

use crate::matrix::choice::Series;

/// A part of the test names, which no other test's name contains; the reason; on which kernels.
type LeftOut = (&'static str, &'static str, fn(Series) -> bool);

const SAME_ERRORS: &str =
    "the error of a socket does not depend on the program, and a guest runs the same with tp_btf";

const SAME_DWELLS: &str =
    "both programs measure dwells by the same function, and a guest runs the same with tp_btf";

const SAME_ANSWERS: &str = "what tcpstat serves of its numbers does not depend on the kernel";

const LEFT_OUT: [LeftOut; 30] = [
    (
        "_socket_that_exists_at_the_start_is_counted",
        "a guest has all states at once, before and after the start; the host also has each alone",
        |_| true,
    ),
    (
        "_socket_is_counted_in_its_cgroup_before_and_after_the_start",
        "where a socket has its cgroup does not depend on its state, and other tests of cgroups run",
        |_| true,
    ),
    (
        "family_changes_beside_many_",
        "how many sockets there are does not depend on the kernel, and the same runs beside none",
        |_| true,
    ),
    (
        "missed_events_do_not_switch_a_program_that_was_named",
        "which programs are allowed does not depend on the kernel",
        |_| true,
    ),
    (
        "mptcp_is_counted_by_its_subflows_with_",
        "on 5.10, which Debian built without MPTCP",
        |series| series < (5, 15),
    ),
    (
        "missed_events_",
        "before 6.7, which does not count what the classic tracepoint misses",
        |series| series < (6, 7),
    ),
    (
        "_and_no_namespace_loses_its_slot",
        "how a tracer gives slots at a switch does not depend on the kernel, and a guest takes a minute for it",
        |_| true,
    ),
    (
        "lost_transitions_from_",
        "how tcpstat corrects them does not depend on the kernel: the host loses each kind, a guest all kinds at once",
        |_| true,
    ),
    (
        "a_namespace_without_processes_and_transitions_is_forgotten_",
        "it takes more than a minute, and when tcpstat forgets a namespace does not depend on the kernel",
        |_| true,
    ),
    (
        "top_",
        "a guest has no terminal (tmux), and what one shows does not depend on the kernel",
        |_| true,
    ),
    ("the_history_ends_with_the_numbers_of_the_metrics", SAME_ANSWERS, |_| true),
    ("the_status_has_", SAME_ANSWERS, |_| true),
    ("node_exporter_exports_the_same_values", SAME_ANSWERS, |_| true),
    ("node_exporter_serves_the_textfile_unchanged_and_once", SAME_ANSWERS, |_| true),
    ("an_idle_host_has_the_documented_number_of_series", SAME_ANSWERS, |_| true),
    ("a_busy_host_has_at_most_120_series_", SAME_ANSWERS, |_| true),
    ("a_counter_appears_with_its_first_event_and_stays", SAME_ANSWERS, |_| true),
    ("counts_as_reset_with_tracepoint", SAME_ERRORS, |_| true),
    ("counts_as_refused_with_tracepoint", SAME_ERRORS, |_| true),
    ("counts_as_timed_out_with_tracepoint", SAME_ERRORS, |_| true),
    ("counts_as_destroyed_with_tracepoint", SAME_ERRORS, |_| true),
    ("counts_as_none_with_tracepoint", SAME_ERRORS, |_| true),
    ("counts_as_no_port_with_tracepoint", SAME_ERRORS, |_| true),
    ("counts_as_unreachable_with_tracepoint", SAME_ERRORS, |_| true),
    ("a_route_makes_no_transition_with_tracepoint", SAME_ERRORS, |_| true),
    ("its_children_do_not_with_tracepoint", SAME_DWELLS, |_| true),
    ("before_the_start_are_not_measured_with_tracepoint", SAME_DWELLS, |_| true),
    ("is_removed_and_all_else_stays_with_tracepoint", SAME_DWELLS, |_| true),
    ("counted_and_in_the_gauges_with_tracepoint", SAME_DWELLS, |_| true),
    (
        "a_state_that_cannot_be_measured_",
        "which states --dwell refuses does not depend on the kernel",
        |_| true,
    ),
];

/// Prints what is left out, and why. `kernel_of_host`: whether a kernel is.
pub(crate) fn announce(kernel_of_host: bool) {
    if kernel_of_host {
        println!("left out: the kernel series of this machine, which runs all tests by itself");
    }
    println!(
        "left out: tests of what is around the process (tests/tests/kernel/main.rs): the host runs them, and a guest takes too long"
    );
    println!(
        "left out: most tests on the kernels between the oldest and the newest, of which one runs those on what differs and the next the scopes and the storm: `cargo xtask matrix --kernel SERIES` runs all"
    );
    for (test, reason, _) in LEFT_OUT {
        println!("left out: {test}*: {reason}");
    }
}

/// The arguments that have the tests leave it out on a kernel of that series.
pub(crate) fn arguments(series: Series) -> Vec<&'static str> {
    let left_out = LEFT_OUT.iter().filter(|(_, _, on)| on(series));
    left_out.flat_map(|(test, ..)| ["--skip", test]).collect()
}
