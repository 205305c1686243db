//! The tracer's counters and its switch, in memory that the kernel shares. Reading takes no system call.

use std::{
    io,
    mem::offset_of,
    os::fd::AsFd,
    sync::atomic::{AtomicU64, Ordering},
};

use memmap2::{MmapOptions, MmapRaw};
use tcpstat_ebpf::{BANK_CELLS, Bank, Control, DETAIL_SLOTS, DWELL_SLOTS, row};

use super::slot::Slot;
use crate::{
    detailed::{DetailedRows, DetailedTransitions},
    dwell::Dwells,
    transitions::Transitions,
};

/// The map `ROWS` or `SCOPE_ROWS` in read-only memory: the number of transitions of each kind, for each slot and
/// each CPU.
#[derive(Debug)]
pub(crate) struct Counters {
    map: MmapRaw,
    slots: usize,
    cpus: usize,
    bank_cells: usize,
    own: OwnRows,
}

/// What is counted in the own namespace besides transitions, in slots that follow the others.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OwnRows {
    /// Details of transitions.
    pub(super) details: bool,
    /// Dwells, after these.
    pub(super) dwells: bool,
}

impl OwnRows {
    /// Number of slots.
    pub(super) const fn slots(self) -> u32 {
        let dwells = if self.dwells { DWELL_SLOTS } else { 0 };
        self.detail_slots() + dwells
    }

    /// Number of slots before those of dwells.
    pub(super) const fn detail_slots(self) -> u32 {
        if self.details { DETAIL_SLOTS } else { 0 }
    }
}

const BOTH_BANKS: &[Bank] = &[Bank::Plain, Bank::Logged];

impl Counters {
    /// Maps the rows of the slots below `slots`, each with those of the CPU ids below `cpus`. A row has two banks,
    /// each of `bank_cells` cells: those of both families, or of IPv4 alone. The slots of `own` follow.
    ///
    /// # Errors
    /// The error of mmap(2).
    pub(super) fn map(
        rows: impl AsFd,
        slots: usize,
        cpus: usize,
        bank_cells: usize,
        own: OwnRows,
    ) -> io::Result<Self> {
        debug_assert!(bank_cells <= BANK_CELLS);
        let bytes = bytes(slots, cpus, bank_cells, own);
        let map = MmapOptions::new().len(bytes).map_raw_read_only(&rows.as_fd())?;
        Ok(Self { map, slots, cpus, bank_cells, own })
    }

    /// Rows in memory of this process, which no tracer has; of both families, with details.
    ///
    /// # Errors
    /// The error of mmap(2).
    pub(super) fn replica(slots: usize, cpus: usize) -> io::Result<Self> {
        let own = OwnRows { details: true, dwells: false };
        let bytes = bytes(slots, cpus, BANK_CELLS, own);
        let mut map = MmapOptions::new().len(bytes).map_anon()?;
        // Memory that is not written is one page for all.
        map.fill(1);
        Ok(Self { map: map.into(), slots, cpus, bank_cells: BANK_CELLS, own })
    }

    /// All transitions that `slot` has counted since the tracer was loaded. The slot must have rows.
    ///
    /// The cells are read one after the other while the programs count. A socket that changes state meanwhile
    /// can be counted in the new state and not out of the old one, or the other way round.
    #[must_use]
    pub(crate) fn read(&self, slot: Slot) -> Transitions {
        self.of(slot, BOTH_BANKS)
    }

    /// The number of transitions in all slots.
    #[must_use]
    pub(crate) fn total(&self) -> u64 {
        self.slots().map(|slot| self.read(slot).total()).sum()
    }

    /// As [`Counters::read`], and the same transitions with their details. `None` if the tracer counts none, as in all
    /// slots but that of the own namespace.
    #[must_use]
    pub(crate) fn read_detailed(&self, slot: Slot) -> (Transitions, Option<DetailedTransitions>) {
        if self.has_details(slot) {
            let detailed = self.detailed(BOTH_BANKS);
            (detailed.transitions(), Some(detailed))
        } else {
            (self.read(slot), None)
        }
    }

    /// Whether the details of transitions in this slot are counted.
    pub(crate) fn has_details(&self, slot: Slot) -> bool {
        self.own.details && slot == Slot::OWN
    }

    /// The dwells that have ended since the tracer was loaded; `None` if they are not measured.
    pub(crate) fn read_dwells(&self) -> Option<Dwells> {
        let slot = self.slots as u64 + u64::from(self.own.detail_slots());
        self.own.dwells.then(|| {
            let (low, high) = (self.sum(slot, &[Bank::Plain]), self.sum(slot, &[Bank::Logged]));
            let mut dwells = Dwells::default();
            dwells.cells[..BANK_CELLS].copy_from_slice(&low);
            dwells.cells[BANK_CELLS..].copy_from_slice(&high);
            dwells
        })
    }

    /// The transitions that one bank of `slot` has counted.
    pub(super) fn bank(&self, slot: Slot, bank: Bank) -> Transitions {
        self.of(slot, &[bank])
    }

    /// All slots, in the order of their numbers.
    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> {
        (0..self.slots as u64).map(Slot::from_number)
    }

    fn of(&self, slot: Slot, banks: &[Bank]) -> Transitions {
        assert!(slot.number() < self.slots as u64, "{slot:?} has no rows");
        if self.has_details(slot) {
            return self.detailed(banks).transitions();
        }
        Transitions::from_cells(self.sum(slot.number(), banks))
    }

    /// The transitions of the own namespace.
    fn detailed(&self, banks: &[Bank]) -> DetailedTransitions {
        let mut rows: DetailedRows = [[0; BANK_CELLS]; _];
        let [plain, details @ ..] = &mut rows;
        *plain = self.sum(Slot::OWN.number(), banks);
        for (details, slot) in details.iter_mut().zip(self.slots as u64..) {
            *details = self.sum(slot, banks);
        }
        DetailedTransitions { rows }
    }

    /// Reads row by row, in the order of memory.
    fn sum(&self, slot: u64, banks: &[Bank]) -> [u64; BANK_CELLS] {
        let mut sums = [0_u64; BANK_CELLS];
        for cpu in 0..self.cpus {
            let row = row(slot, self.cpus, cpu);
            for &bank in banks {
                let first = (row * 2 + bank as usize) * self.bank_cells;
                for (index, sum) in sums[..self.bank_cells].iter_mut().enumerate() {
                    *sum = sum.wrapping_add(self.cell(first + index));
                }
            }
        }
        sums
    }

    fn cell(&self, index: usize) -> u64 {
        debug_assert!(index < self.map.len() / size_of::<u64>());
        // SAFETY: the map has `cpus` rows of two banks for each slot, those of `own` among them, and lives as long
        // as `self`. The kernel changes the cells only by atomic adds.
        unsafe { &*first_word(&self.map).add(index) }.load(Ordering::Relaxed)
    }
}

/// Bytes of the rows of so many slots, and of those that follow.
fn bytes(slots: usize, cpus: usize, bank_cells: usize, own: OwnRows) -> usize {
    (slots + own.slots() as usize) * cpus * 2 * bank_cells * size_of::<u64>()
}

/// The map `CONTROL` in writable memory: the switch of the event log, and what the programs report.
#[derive(Debug)]
pub(super) struct Switch {
    map: MmapRaw,
}

impl Switch {
    /// # Errors
    /// The error of mmap(2).
    pub(super) fn map(control: impl AsFd) -> io::Result<Self> {
        let map = MmapOptions::new().len(size_of::<Control>()).map_raw(&control.as_fd())?;
        Ok(Self { map })
    }

    /// Opens the event log of a slot, or closes the open one, for all events that start from now on.
    pub(super) fn set_log_open(&self, slot: Option<Slot>) {
        let word = slot.map_or(0, |slot| slot.number() + 1);
        self.word(offset_of!(Control, log_open)).store(word, Ordering::SeqCst);
    }

    /// How many events had states for which there is no cell.
    pub(super) fn without_cell(&self) -> u64 {
        self.word(offset_of!(Control, without_cell)).load(Ordering::Relaxed)
    }

    /// How many namespaces have got a slot from the tracer.
    pub(super) fn netns_assigned(&self) -> u64 {
        self.word(offset_of!(Control, netns_assigned)).load(Ordering::Acquire)
    }

    /// How many cgroups have got a slot from the tracer.
    pub(super) fn cgroups_assigned(&self) -> u64 {
        self.word(offset_of!(Control, cgroups_assigned)).load(Ordering::Acquire)
    }

    fn word(&self, offset: usize) -> &AtomicU64 {
        debug_assert!(offset < size_of::<Control>());
        // SAFETY: all members of `Control` are words; the mapped memory holds one `Control` and lives as long
        // as `self`. The tracer reads the words, and changes them only by atomic adds.
        unsafe { &*first_word(&self.map).byte_add(offset) }
    }
}

/// The first 64-bit word of mapped memory. It is aligned: the memory begins at a page.
pub(super) fn first_word(map: &MmapRaw) -> *const AtomicU64 {
    map.as_ptr().cast()
}
