//! Which program to count with, judged by what each has missed: decisions without I/O.

use crate::kernel::Program;

/// What is known of the programs that may be used.
#[derive(Debug)]
pub(super) struct Programs {
    programs: Vec<Candidate>,
    /// Counted and missed when the last judgement was made.
    judged: (u64, u64),
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    program: Program,
    /// Misses in a million events at the last judgement; `None` before it was tried.
    missed_per_million: Option<u64>,
    refused: bool,
}

/// Misses after which a judgement is made: enough to tell a rate from chance.
const MISSES_TO_JUDGE: u64 = 100;
/// Events after which one is made anyway.
const EVENTS_TO_JUDGE: u64 = 1_000_000;
/// Misses in a million events from which on another program is worth a new seed. Up to 6.18 `tp_btf`
/// misses about ten, from 7.0 on ten thousand.
const MOUNTING: u64 = 100;

impl Programs {
    /// `programs` may be used.
    pub(super) fn new(programs: &[Program]) -> Self {
        let candidate = |&program| Candidate { program, missed_per_million: None, refused: false };
        Self { programs: programs.iter().map(candidate).collect(), judged: (0, 0) }
    }

    /// Takes what `current` has counted and missed since it was attached. Gives the program to change
    /// to, where misses mount and another was never tried or missed less than half as much.
    pub(super) fn judge(&mut self, current: Program, counted: u64, missed: u64) -> Option<Program> {
        let events = counted.saturating_sub(self.judged.0);
        let misses = missed.saturating_sub(self.judged.1);
        if misses < MISSES_TO_JUDGE && events < EVENTS_TO_JUDGE {
            return None;
        }
        self.judged = (counted, missed);
        let rate = misses.saturating_mul(1_000_000) / (events + misses);
        let candidate = self.programs.iter_mut().find(|candidate| candidate.program == current)?;
        candidate.missed_per_million = Some(rate);
        if rate < MOUNTING {
            return None;
        }
        self.programs
            .iter()
            .filter(|candidate| candidate.program != current && !candidate.refused)
            .find(|candidate| candidate.missed_per_million.is_none_or(|known| known < rate / 2))
            .map(|candidate| candidate.program)
    }

    /// Another program counts from now on.
    pub(super) fn changed(&mut self) {
        self.judged = (0, 0);
    }

    /// `program` does not run here.
    pub(super) fn refused(&mut self, program: Program) {
        for candidate in &mut self.programs {
            candidate.refused |= candidate.program == program;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Program::{TpBtf, Tracepoint};

    #[test]
    fn a_program_whose_misses_mount_is_left_for_one_that_was_not_tried() {
        let mut programs = Programs::new(&[TpBtf, Tracepoint]);
        assert_eq!(programs.judge(TpBtf, 5_000, 50), None, "too few to tell");
        assert_eq!(programs.judge(TpBtf, 10_000, 100), Some(Tracepoint));
    }

    #[test]
    fn a_few_misses_in_a_million_are_left_to_the_listings() {
        let mut programs = Programs::new(&[TpBtf, Tracepoint]);
        for million in 1..100 {
            assert_eq!(programs.judge(TpBtf, million * 1_000_000, million * 12), None);
        }
    }

    #[test]
    fn it_comes_back_where_the_other_misses_more_and_stays_there() {
        let mut programs = Programs::new(&[Tracepoint, TpBtf]);
        assert_eq!(programs.judge(Tracepoint, 100_000, 100), Some(TpBtf));
        programs.changed();
        assert_eq!(programs.judge(TpBtf, 10_000, 100), Some(Tracepoint));
        programs.changed();
        assert_eq!(programs.judge(Tracepoint, 100_000, 100), None);
        assert_eq!(programs.judge(Tracepoint, 200_000, 200), None);
    }

    #[test]
    fn misses_that_begin_late_count_by_the_rate_since() {
        let mut programs = Programs::new(&[TpBtf, Tracepoint]);
        assert_eq!(programs.judge(TpBtf, 50_000_000, 0), None);
        assert_eq!(programs.judge(TpBtf, 50_010_000, 100), Some(Tracepoint));
    }

    #[test]
    fn a_program_that_was_named_is_kept_and_one_that_was_refused_is_not_tried() {
        assert_eq!(Programs::new(&[TpBtf]).judge(TpBtf, 10_000, 1_000), None);
        let mut programs = Programs::new(&[TpBtf, Tracepoint]);
        programs.refused(Tracepoint);
        assert_eq!(programs.judge(TpBtf, 10_000, 1_000), None);
    }
}
