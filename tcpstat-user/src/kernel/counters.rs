//! The tracer's counters and its switch, in memory that the kernel shares. Reading takes no system call.

use std::{
    io,
    os::fd::AsFd,
    sync::atomic::{AtomicU64, Ordering},
};

use memmap2::{MmapOptions, MmapRaw};
use tcpstat_ebpf::{BANK_CELLS, Bank, Control, MatrixRow, ROW_CELLS};

use crate::transitions::Transitions;

/// The map `MATRIX` in read-only memory: the number of transitions of each kind, for each CPU.
#[derive(Debug)]
pub struct Counters {
    map: MmapRaw,
    cpus: usize,
}

impl Counters {
    /// Maps the rows of the CPU ids below `cpus`.
    ///
    /// # Errors
    /// The error of mmap(2).
    pub(super) fn map(matrix: impl AsFd, cpus: usize) -> io::Result<Self> {
        let map = MmapOptions::new()
            .len(cpus * size_of::<MatrixRow>())
            .map_raw_read_only(&matrix.as_fd())?;
        Ok(Self { map, cpus })
    }

    /// All transitions since the tracer was loaded.
    ///
    /// The cells are read one after the other while the programs count. A socket that changes state meanwhile
    /// can be counted in the new state and not out of the old one, or the other way round.
    #[must_use]
    pub fn read(&self) -> Transitions {
        self.bank(Bank::Plain).plus(&self.bank(Bank::Logged))
    }

    /// The transitions that one bank has counted.
    pub(super) fn bank(&self, bank: Bank) -> Transitions {
        Transitions::from_cells(|index| {
            let index = bank as usize * BANK_CELLS + index;
            (0..self.cpus).fold(0, |sum, cpu| sum.wrapping_add(self.cell(cpu * ROW_CELLS + index)))
        })
    }

    fn cell(&self, index: usize) -> u64 {
        debug_assert!(index < self.cpus * ROW_CELLS);
        // SAFETY: the map has `cpus * ROW_CELLS` cells and lives as long as `self`. The kernel changes them
        // only by atomic adds.
        unsafe { &*first_word(&self.map).add(index) }.load(Ordering::Relaxed)
    }
}

/// The map `CONTROL` in writable memory: the switch of the event log.
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

    /// Opens or closes the event log for all events that start from now on.
    pub(super) fn set_log_open(&self, open: bool) {
        // SAFETY: `log_open` is the first and only member of `Control`; the tracer only reads it.
        unsafe { &*first_word(&self.map) }.store(u64::from(open), Ordering::SeqCst);
    }
}

/// The first 64-bit word of mapped memory. It is aligned: the memory begins at a page.
fn first_word(map: &MmapRaw) -> *const AtomicU64 {
    map.as_ptr().cast()
}
