//! The tracer's counters, read through shared memory: no system call, whatever the number of sockets.

use std::{
    io,
    os::fd::AsFd,
    sync::atomic::{AtomicU64, Ordering},
};

use memmap2::{MmapOptions, MmapRaw};
use std::os::fd::AsRawFd;
use tcpstat_ebpf::{BANK_CELLS, Bank, Control, MatrixRow, ROW_CELLS};

use crate::transitions::Transitions;

/// The map `MATRIX`, mapped read-only.
#[derive(Debug)]
pub struct Counters {
    map: MmapRaw,
    cpus: usize,
}

impl Counters {
    /// Maps the rows of the CPU ids below `cpus`.
    ///
    /// # Errors
    /// That of mmap(2).
    pub(super) fn map(matrix: impl AsFd, cpus: usize) -> io::Result<Self> {
        let map = MmapOptions::new()
            .len(cpus * size_of::<MatrixRow>())
            .map_raw_read_only(matrix.as_fd().as_raw_fd())?;
        Ok(Self { map, cpus })
    }

    /// Every transition counted since the tracer was loaded.
    ///
    /// The cells are read one after the other while events go on: a socket that moves meanwhile
    /// may be seen to arrive before it is seen to leave, or the other way round.
    #[must_use]
    pub fn read(&self) -> Transitions {
        self.bank(Bank::Plain).plus(&self.bank(Bank::Logged))
    }

    /// What has been counted in one bank.
    pub(super) fn bank(&self, bank: Bank) -> Transitions {
        Transitions::from_cells(|index| {
            let index = bank as usize * BANK_CELLS + index;
            (0..self.cpus).fold(0, |sum, cpu| sum.wrapping_add(self.cell(cpu * ROW_CELLS + index)))
        })
    }

    fn cell(&self, index: usize) -> u64 {
        debug_assert!(index < self.cpus * ROW_CELLS);
        // SAFETY: the map holds `cpus * ROW_CELLS` cells and lives as long as `self`; the kernel
        // changes them with atomic adds only.
        unsafe { &*first_word(&self.map).add(index) }.load(Ordering::Relaxed)
    }
}

/// The map `CONTROL`, mapped for writing.
#[derive(Debug)]
pub(super) struct Switch {
    map: MmapRaw,
}

impl Switch {
    /// # Errors
    /// That of mmap(2).
    pub(super) fn map(control: impl AsFd) -> io::Result<Self> {
        let map =
            MmapOptions::new().len(size_of::<Control>()).map_raw(control.as_fd().as_raw_fd())?;
        Ok(Self { map })
    }

    /// Opens or shuts the event log for every event from now on.
    pub(super) fn set_log_open(&self, open: bool) {
        // SAFETY: `log_open` is the first and only member of `Control`; the tracer only reads it.
        unsafe { &*first_word(&self.map) }.store(u64::from(open), Ordering::SeqCst);
    }
}

/// The first 64-bit word of a mapping, which begins at a page and so is aligned.
fn first_word(map: &MmapRaw) -> *const AtomicU64 {
    map.as_ptr().cast()
}
