//! Which CPU ids there can be.

use std::{fs, io};

/// The kernel's list of the CPUs that can ever be online, such as `0-3,8-11`: ids can have gaps.
pub(super) const POSSIBLE_CPUS: &str = "/sys/devices/system/cpu/possible";

/// The number of ids up to the highest possible one: what counters that are indexed by id need.
///
/// # Errors
/// That of reading the list, or [`io::ErrorKind::InvalidData`] with what it holds.
pub(super) fn cpu_ids() -> io::Result<u32> {
    let list = fs::read_to_string(POSSIBLE_CPUS)?;
    ids(&list).ok_or_else(|| {
        let problem = format!("{:?} is not a list of CPUs", list.trim());
        io::Error::new(io::ErrorKind::InvalidData, problem)
    })
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
    fn there_is_a_row_for_the_highest_id_whatever_gaps_there_are() {
        for (list, rows) in
            [("0\n", 1), ("0-3\n", 4), ("1", 2), ("0,2-3,8-11\n", 12), ("4-7,0-1", 8)]
        {
            assert_eq!(ids(list), Some(rows), "{list}");
        }
    }

    #[test]
    fn what_is_no_list_of_cpus_is_refused() {
        for list in ["", "\n", "3-1", "0-", "a", "0,,1", "-1", "4294967295", "4294967296"] {
            assert_eq!(ids(list), None, "{list}");
        }
    }
}
