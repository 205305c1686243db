//! The tests that a guest does not run, each by name and with its reason. All others run in all.

use crate::matrix::choice::Series;

struct LeftOut {
    /// What its name begins with, and no other test's holds.
    test: &'static str,
    reason: &'static str,
    on: fn(Series) -> bool,
}

const LEFT_OUT: [LeftOut; 1] = [LeftOut {
    test: "mptcp_counts_by_its_subflows_with_",
    reason: "on 5.10, which Debian built without MPTCP",
    on: |series| series < (5, 15),
}];

/// Says what is left out, and why.
pub(crate) fn announce() {
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
    fn only_the_kernel_without_mptcp_leaves_it_out() {
        assert_eq!(arguments((5, 10)), ["--skip", "mptcp_counts_by_its_subflows_with_"]);
        assert_eq!(arguments((6, 1)), Vec::<String>::new());
    }
}
