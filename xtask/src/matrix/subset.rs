//! The tests on what differs between kernels and architectures: the structures of the kernel, processors, trampolines, system
//! calls. A guest of another architecture runs these alone, because it is slower than the others.

use std::path::Path;

use anyhow::Result;
use fs_err as fs;

/// A program of the guest, and parts of the names of its tests. A part that no test has in its name is an error there.
type Only = (&'static str, &'static [&'static str]);

const ONLY: [Only; 4] = [
    (
        "tests",
        &[
            // Reads of the kernel's structures by both programs, and the iterator: which offsets, and in which order.
            "all_states_are_counted_at_once_with_",
            "sockets_of_another_namespace_are_not_counted_with_tracepoint",
            "both_sources_list_the_same_sockets",
            "the_causes_of_churn_are_exact_with_",
            "a_socket_in_close_wait_at_the_start_is_as_old_as_it_is",
            "the_fullest_listeners_have_series_and_the_others_are_added_up",
            // Adding per processor, and reading that through mappings.
            "every_transition_is_counted_by_",
            "a_start_during_churn_seeds_btf_exactly",
            "a_cpu_whose_id_is_beyond_the_possible_ones_counts_every_transition_with_btf",
            // Trampolines.
            "hooks_attach_or_their_refusal_is_logged",
            "mini_sockets_are_counted_when_they_appear_change_and_end",
            // Numbers of system calls in the filter, and capabilities.
            "root_drops_to_two_capabilities_and_no_thread_is_without_a_filter",
            "with_two_capabilities_tp_btf_runs",
            "check_fails_without_privileges_and_says_what_to_grant",
            "the_namespace_at_a_path_is_counted_with_btf",
            "churn_leaves_no_gauge_of_a_scope_wrong_with_btf",
        ],
    ),
    (
        "scopes",
        &[
            "full_sockets_that_appear_and_end_are_counted_in_another_namespace_with_tracepoint",
            "a_leak_in_another_namespace_is_as_old_as_it_is",
        ],
    ),
    ("who", &["a_leak_is_as_old_as_it_is"]),
    (
        // The ring buffer.
        "events",
        &[
            "a_half_close_shows_every_transition_once_in_order_with_",
            "the_process_that_closes_a_socket_is_named_even_if_another_made_it",
        ],
    ),
];

/// Writes a file for each program into `folder`: the parts, one a line.
pub(crate) fn write(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    for (program, parts) in ONLY {
        fs::write(folder.join(program), parts.join("\n"))?;
    }
    Ok(())
}
