//! The CPU ids that the kernel can use.

use std::{fs, io};

use thiserror::Error;

/// The kernel's list of all CPUs that can be online, such as `0-3,8-11`. The ids can have gaps.
pub(super) const POSSIBLE_CPUS: &str = "/sys/devices/system/cpu/possible";

/// Why the number of CPU ids is unknown.
#[derive(Debug, Error)]
pub(super) enum CpuListError {
    #[error("{0}")]
    Unreadable(#[from] io::Error),
    #[error("{0:?} is not a list of CPUs")]
    NotAList(String),
}

/// The highest possible id plus one: how many rows counters need that are indexed by id.
pub(super) fn cpu_ids() -> Result<u32, CpuListError> {
    let list = fs::read_to_string(POSSIBLE_CPUS)?;
    ids(&list).ok_or_else(|| CpuListError::NotAList(list.trim().to_owned()))
}

fn ids(list: &str) -> Option<u32> {
    let mut highest = None;
    for range in list.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
        if first > last {
            return None;
        }
        highest = highest.max(Some(last));
    }
    highest?.checked_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_id_has_a_row_even_if_ids_have_gaps() {
        for (list, rows) in
            [("0\n", 1), ("0-3\n", 4), ("1", 2), ("0,2-3,8-11\n", 12), ("4-7,0-1", 8)]
        {
            assert_eq!(ids(list), Some(rows), "{list}");
        }
    }

    #[test]
    fn text_other_than_a_list_of_cpus_is_refused() {
        for list in ["", "\n", "3-1", "0-", "a", "0,,1", "-1", "4294967295", "4294967296"] {
            assert_eq!(ids(list), None, "{list}");
        }
    }
}
