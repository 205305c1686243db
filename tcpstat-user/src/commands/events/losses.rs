//! The events that are missing in the stream.

/// Counts missing events, each once.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// Records that did not fit in the ring buffer.
    no_room: u64,
    /// Events that the kernel skipped.
    skipped: u64,
    /// Events of cgroups whose paths are not known, so that no filter can keep them.
    unknown: u64,
    /// The events of [`Self::unknown`] that have not been reported.
    unknown_unreported: u64,
}

impl Losses {
    /// The events that are missing before a record whose program found so many lost ones: the lower half of their number.
    pub(super) fn before_record(&mut self, lost: u32) -> u64 {
        #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
        let more = lost.wrapping_sub(self.no_room as u32);
        // Records of two processors can be in another order than the numbers that their programs found.
        if more > u32::MAX / 2 {
            return std::mem::take(&mut self.unknown_unreported);
        }
        self.no_room += u64::from(more);
        u64::from(more) + std::mem::take(&mut self.unknown_unreported)
    }

    /// Counts an event of a cgroup whose path is not known.
    pub(super) fn leave_out_unknown(&mut self) {
        self.unknown += 1;
        self.unknown_unreported += 1;
    }

    /// The events that are missing after the last record.
    pub(super) fn at_rest(&mut self, no_room: u64, skipped: u64) -> u64 {
        let more = no_room.saturating_sub(self.no_room) + skipped.saturating_sub(self.skipped);
        self.no_room = self.no_room.max(no_room);
        self.skipped = self.skipped.max(skipped);
        more + std::mem::take(&mut self.unknown_unreported)
    }

    pub(super) fn total(&self) -> u64 {
        self.no_room + self.skipped + self.unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_missing_event_counts_once_and_in_its_place() {
        let mut losses = Losses::default();
        assert_eq!([0, 12, 12, 10, 13].map(|lost| losses.before_record(lost)), [0, 12, 0, 0, 1]);
        assert_eq!(losses.at_rest(15, 2), 4);
        assert_eq!(losses.at_rest(15, 2), 0);
        assert_eq!(losses.total(), 17);
    }

    #[test]
    fn events_of_unknown_cgroups_are_reported_once() {
        let mut losses = Losses::default();
        losses.leave_out_unknown();
        losses.leave_out_unknown();
        assert_eq!([2, 2].map(|lost| losses.before_record(lost)), [4, 0]);
        losses.leave_out_unknown();
        assert_eq!([losses.at_rest(2, 0), losses.at_rest(2, 0)], [1, 0]);
        assert_eq!(losses.total(), 5);
    }

    #[test]
    fn the_number_in_a_record_wraps() {
        let mut losses = Losses::default();
        assert_eq!(losses.at_rest(u64::from(u32::MAX) - 1, 0), u64::from(u32::MAX) - 1);
        assert_eq!(losses.before_record(3), 5);
        assert_eq!(losses.total(), u64::from(u32::MAX) + 4);
    }
}
