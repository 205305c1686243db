//! The tracer's counters and its switch, in memory that the kernel shares. Reading takes no system call.

use std::{
    io,
    mem::offset_of,
    os::fd::AsFd,
    sync::atomic::{AtomicU64, Ordering},
};

use memmap2::{MmapOptions, MmapRaw};
use tcpstat_ebpf::{BANK_CELLS, Bank, Control, row};

use super::slot::Slot;
use crate::transitions::Transitions;

/// The map `ROWS` or `SCOPE_ROWS` in read-only memory: the number of transitions of each kind, for each slot and
/// each CPU.
#[derive(Debug)]
pub(crate) struct Counters {
    map: MmapRaw,
    slots: usize,
    cpus: usize,
    bank_cells: usize,
}

impl Counters {
    /// Maps the rows of the slots below `slots`, each with those of the CPU ids below `cpus`. A row has two banks,
    /// each of `bank_cells` cells: those of both families, or of IPv4 alone.
    ///
    /// # Errors
    /// The error of mmap(2).
    pub(super) fn map(
        rows: impl AsFd,
        slots: usize,
        cpus: usize,
        bank_cells: usize,
    ) -> io::Result<Self> {
        debug_assert!(bank_cells <= BANK_CELLS);
        let bytes = slots * cpus * 2 * bank_cells * size_of::<u64>();
        let map = MmapOptions::new().len(bytes).map_raw_read_only(&rows.as_fd())?;
        Ok(Self { map, slots, cpus, bank_cells })
    }

    /// Rows in memory of this process, which no tracer has; of both families.
    ///
    /// # Errors
    /// The error of mmap(2).
    pub(super) fn replica(slots: usize, cpus: usize) -> io::Result<Self> {
        let bytes = slots * cpus * 2 * BANK_CELLS * size_of::<u64>();
        let mut map = MmapOptions::new().len(bytes).map_anon()?;
        // Memory that is not written is one page for all.
        map.fill(1);
        Ok(Self { map: map.into(), slots, cpus, bank_cells: BANK_CELLS })
    }

    /// All transitions that `slot` has counted since the tracer was loaded. The slot must have rows.
    ///
    /// The cells are read one after the other while the programs count. A socket that changes state meanwhile
    /// can be counted in the new state and not out of the old one, or the other way round.
    #[must_use]
    pub(crate) fn read(&self, slot: Slot) -> Transitions {
        self.sum(slot, &[Bank::Plain, Bank::Logged])
    }

    /// The transitions that one bank of `slot` has counted.
    pub(super) fn bank(&self, slot: Slot, bank: Bank) -> Transitions {
        self.sum(slot, &[bank])
    }

    /// All slots, in the order of their numbers.
    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> {
        (0..self.slots as u64).map(Slot::from_number)
    }

    /// Reads row by row, in the order of memory.
    fn sum(&self, slot: Slot, banks: &[Bank]) -> Transitions {
        assert!(slot.number() < self.slots as u64, "{slot:?} has no rows");
        let mut sums = [0_u64; BANK_CELLS];
        for cpu in 0..self.cpus {
            let row = row(slot.number(), self.cpus, cpu);
            for &bank in banks {
                let first = (row * 2 + bank as usize) * self.bank_cells;
                for (index, sum) in sums[..self.bank_cells].iter_mut().enumerate() {
                    *sum = sum.wrapping_add(self.cell(first + index));
                }
            }
        }
        Transitions::from_cells(sums)
    }

    fn cell(&self, index: usize) -> u64 {
        debug_assert!(index < self.slots * self.cpus * 2 * self.bank_cells);
        // SAFETY: the map has `slots * cpus` rows of two banks, and lives as long as `self`. The kernel changes
        // the cells only by atomic adds.
        unsafe { &*first_word(&self.map).add(index) }.load(Ordering::Relaxed)
    }
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
