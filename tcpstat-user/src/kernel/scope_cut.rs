//! The counters of scopes at the moment when the event log opened.

use tcpstat_ebpf::Bank;

use super::{scope_maps::ScopeMaps, slot::Slot};
use crate::transitions::Transitions;

/// The counts of one bank, by slot number.
#[derive(Debug)]
pub(crate) struct ScopeBank(Vec<Transitions>);

/// What each slot had counted at the moment when the event log of the own namespace opened.
#[derive(Debug)]
pub(crate) struct ScopeCut {
    plain: Vec<Transitions>,
    logged: Vec<Transitions>,
}

impl ScopeMaps {
    /// The bank of logged events, which does not change while the log is closed.
    pub(crate) fn logged_bank(&self) -> ScopeBank {
        self.bank(Bank::Logged)
    }

    /// The counters at the moment when the log opened, which it still is. `logged` is from before that.
    pub(crate) fn cut(&self, logged: ScopeBank) -> ScopeCut {
        ScopeCut { plain: self.bank(Bank::Plain).0, logged: logged.0 }
    }

    fn bank(&self, bank: Bank) -> ScopeBank {
        ScopeBank(self.counters.slots().map(|slot| self.counters.bank(slot, bank)).collect())
    }

    /// Whether an event after the cut did not see the log open, which it still is. Then the cut is not exact.
    pub(crate) fn is_torn(&self, cut: &ScopeCut) -> bool {
        self.bank(Bank::Plain).0 != cut.plain
    }
}

impl ScopeCut {
    /// The counts of this slot.
    pub(crate) fn of(&self, slot: Slot) -> Transitions {
        let index = usize::try_from(slot.number()).unwrap_or(usize::MAX);
        match (self.plain.get(index), self.logged.get(index)) {
            (Some(plain), Some(logged)) => plain.plus(logged),
            _ => Transitions::default(),
        }
    }
}
