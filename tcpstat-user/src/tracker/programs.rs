//! Decides which program counts, by the events that each has missed. No I/O.

use crate::kernel::Program;

/// The programs that may be used.
#[derive(Debug)]
pub(super) struct Programs {
    candidates: Vec<Candidate>,
    /// The events of the current program at the last decision.
    judged: Judged,
}

#[derive(Clone, Copy, Debug, Default)]
struct Judged {
    own: u64,
    all: u64,
    missed: u64,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    program: Program,
    /// Missed events in a million at the last decision; `None` if the program was not tried.
    missed_per_million: Option<u64>,
    /// Whether the kernel refused the program.
    refused: bool,
}

/// Missed events that are enough for a decision.
const MISSES_TO_JUDGE: u64 = 100;
/// Events that are enough for a decision, even without misses.
const EVENTS_TO_JUDGE: u64 = 1_000_000;
/// Missed events in a million for which another program is worth a new seed. `tp_btf` misses about ten up
/// to 6.18, and ten thousand from 7.0 on.
const TOO_MANY_PER_MILLION: u64 = 100;

impl Programs {
    pub(super) fn new(programs: &[Program]) -> Self {
        let candidate = |&program| Candidate { program, missed_per_million: None, refused: false };
        Self { candidates: programs.iter().map(candidate).collect(), judged: Judged::default() }
    }

    /// Gives the program to switch to: if `current` misses too many events, and another program was not
    /// tried or missed less than half as many.
    ///
    /// All are numbers of events of `current` since it was attached: `own` are those of the own namespace, `missed` those
    /// that the kernel skipped in any namespace, and `all`, which takes longer to read, those of all namespaces that are
    /// counted.
    pub(super) fn judge(
        &mut self,
        current: Program,
        own: u64,
        missed: u64,
        all: impl FnOnce() -> u64,
    ) -> Option<Program> {
        let misses = missed.saturating_sub(self.judged.missed);
        if misses < MISSES_TO_JUDGE && own.saturating_sub(self.judged.own) < EVENTS_TO_JUDGE {
            return None;
        }
        let all = all();
        let events = all.saturating_sub(self.judged.all);
        self.judged = Judged { own, all, missed };
        let rate = misses.saturating_mul(1_000_000) / (events + misses);
        let candidate =
            self.candidates.iter_mut().find(|candidate| candidate.program == current)?;
        candidate.missed_per_million = Some(rate);
        if rate < TOO_MANY_PER_MILLION {
            return None;
        }
        self.candidates
            .iter()
            .filter(|candidate| candidate.program != current && !candidate.refused)
            .find(|candidate| candidate.missed_per_million.is_none_or(|known| known < rate / 2))
            .map(|candidate| candidate.program)
    }

    /// Notes that another program counts from now on.
    pub(super) fn switched(&mut self) {
        self.judged = Judged::default();
    }

    /// Notes that the kernel refuses `program`.
    pub(super) fn refused(&mut self, program: Program) {
        for candidate in &mut self.candidates {
            candidate.refused |= candidate.program == program;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Program::{TpBtf, Tracepoint};

    impl Programs {
        /// The decision on a host with one namespace.
        fn judge_one(&mut self, current: Program, counted: u64, missed: u64) -> Option<Program> {
            self.judge(current, counted, missed, || counted)
        }
    }

    #[test]
    fn events_that_are_missed_in_any_namespace_are_compared_with_those_of_all() {
        let mut programs = Programs::new(&[TpBtf, Tracepoint]);
        assert_eq!(programs.judge(TpBtf, 100_000, 100, || 10_000_000), None);
        assert_eq!(programs.judge(TpBtf, 200_000, 2_000, || 20_000_000), Some(Tracepoint));
    }

    #[test]
    fn the_events_of_all_namespaces_are_read_for_a_decision_only() {
        let mut programs = Programs::new(&[TpBtf, Tracepoint]);
        assert_eq!(programs.judge(TpBtf, 999_999, 99, || panic!("not needed")), None);
    }

    #[test]
    fn a_program_that_misses_too_many_events_is_replaced_by_an_untried_one() {
        let mut programs = Programs::new(&[TpBtf, Tracepoint]);
        assert_eq!(programs.judge_one(TpBtf, 5_000, 50), None, "too few for a decision");
        assert_eq!(programs.judge_one(TpBtf, 10_000, 100), Some(Tracepoint));
    }

    #[test]
    fn a_few_misses_in_a_million_cause_no_switch() {
        let mut programs = Programs::new(&[TpBtf, Tracepoint]);
        for million in 1..100 {
            assert_eq!(programs.judge_one(TpBtf, million * 1_000_000, million * 12), None);
        }
    }

    #[test]
    fn the_first_program_returns_if_the_other_misses_more_and_then_stays() {
        let mut programs = Programs::new(&[Tracepoint, TpBtf]);
        assert_eq!(programs.judge_one(Tracepoint, 100_000, 100), Some(TpBtf));
        programs.switched();
        assert_eq!(programs.judge_one(TpBtf, 10_000, 100), Some(Tracepoint));
        programs.switched();
        assert_eq!(programs.judge_one(Tracepoint, 100_000, 100), None);
        assert_eq!(programs.judge_one(Tracepoint, 200_000, 200), None);
    }

    #[test]
    fn only_misses_since_the_last_decision_count() {
        let mut programs = Programs::new(&[TpBtf, Tracepoint]);
        assert_eq!(programs.judge_one(TpBtf, 50_000_000, 0), None);
        assert_eq!(programs.judge_one(TpBtf, 50_010_000, 100), Some(Tracepoint));
    }

    #[test]
    fn a_single_program_is_kept_and_a_refused_one_is_not_tried() {
        assert_eq!(Programs::new(&[TpBtf]).judge_one(TpBtf, 10_000, 1_000), None);
        let mut programs = Programs::new(&[TpBtf, Tracepoint]);
        programs.refused(Tracepoint);
        assert_eq!(programs.judge_one(TpBtf, 10_000, 1_000), None);
    }
}
