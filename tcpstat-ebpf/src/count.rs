//! Counts and logs an event of a counted namespace, in the rows of its slot. All programs use it.

use aya_ebpf::{EbpfContext, bindings::BPF_RB_NO_WAKEUP};
use aya_log_ebpf::error;
use tcpstat_ebpf::{
    BANK_CELLS, Bank, EventRecord, FAMILY_CELLS, FULL_PLACES, Family, MAY_HAVE_DETAIL, NO_CELL,
    OWN_SLOT, PAIRS, SILENCE_PLACE, SILENCE_SUM_PLACE, ScopedEventRecord, State, cell, pair, place,
    silence_bucket,
};

use crate::{
    bounded::bounded,
    closing::{FullSocket, detail_of},
    entered,
    maps::{CONTROL, DETAIL_SLOT, EVENTS, TICKS_PER_SECOND},
    scoped::Scoping,
    this_cpu::{add_to, own_row},
};

/// Counts a transition of a full socket. While the log is open, also logs it: `fill` sets kernel address,
/// addresses and ports in the record.
///
/// The states are words: BPF needs two more instructions for each comparison of half a register.
#[inline(always)]
pub(crate) fn transition<C: EbpfContext, S: Scoping>(
    ctx: &C,
    slot: u64,
    family: Family,
    oldstate: u64,
    newstate: u64,
    scoping: S,
    socket: impl FullSocket,
    fill: impl FnOnce(&mut EventRecord),
) {
    #[cfg(feature = "lose-events")]
    match crate::lose::fate(oldstate as u32, newstate as u32) {
        crate::lose::Fate::Counted => {}
        crate::lose::Fate::Lost => return,
        crate::lose::Fate::WithoutCell => return without_cell(),
    }
    match place_of(oldstate, newstate) {
        Some(place) => {
            let counted = counted_at(slot, place, family, oldstate, newstate, socket);
            event(counted, family, oldstate as u8, newstate as u8, scoping, fill);
            if S::COUNTS && slot == OWN_SLOT {
                entered::note(socket.address(), oldstate, newstate);
            }
        }
        None if oldstate == newstate => {}
        None => {
            let (old, new) = (oldstate as u32, newstate as u32);
            error!(
                ctx,
                "no counter for the state transition {} -> {} (kernel numbers): report it with the kernel release",
                old,
                new
            );
            without_cell();
        }
    }
}

/// Counts and logs a transition of a mini-socket or a request, as [`transition`] does.
#[inline(always)]
pub(crate) fn hooked_transition(
    slot: u64,
    family: Family,
    oldstate: State,
    newstate: State,
    scoping: impl Scoping,
    fill: impl FnOnce(&mut EventRecord),
) {
    // Hooks report only transitions that have a cell.
    if let Some(place) = place(oldstate, newstate) {
        let counted = Counted { slot, row_slot: slot, place, cell: place };
        event(counted, family, oldstate as u8, newstate as u8, scoping, fill);
    }
}

/// Where an event is counted.
struct Counted {
    /// The slot of its namespace.
    slot: u64,
    /// The slot whose row has its cell.
    row_slot: u64,
    /// The index of the transition in [`tcpstat_ebpf::TRANSITIONS`].
    place: usize,
    /// The cell in the row, for IPv4 and without the bank.
    cell: usize,
}

/// Where a transition of a full socket is counted; `place` is one of [`FULL_PLACES`]. Counts the silence, if it leaves
/// CLOSE_WAIT.
///
/// Details are those of the own namespace. `DETAIL_SLOT` is a constant to the verifier: if it is 0 their code is removed.
#[inline(always)]
fn counted_at(
    slot: u64,
    place: usize,
    family: Family,
    oldstate: u64,
    newstate: u64,
    socket: impl FullSocket,
) -> Counted {
    if place & usize::from(MAY_HAVE_DETAIL) == 0 {
        return Counted { slot, row_slot: slot, place, cell: place };
    }
    let place = place % FAMILY_CELLS;
    if slot == OWN_SLOT && DETAIL_SLOT.load() != 0 {
        if oldstate == State::CloseWait as u64 {
            count_silence(family, socket);
        }
        if let Some(detail) = detail_of(oldstate, newstate, socket) {
            let row_slot = detail_slot(detail);
            return Counted { slot, row_slot, place, cell: detail % FAMILY_CELLS };
        }
    }
    Counted { slot, row_slot: slot, place, cell: place }
}

/// Calls [`log_open`] once: that one answer chooses the bank, and decides whether the event is logged.
#[inline(always)]
fn event<S: Scoping>(
    Counted { slot, row_slot, place, cell: place_in_row }: Counted,
    family: Family,
    oldstate: u8,
    newstate: u8,
    scoping: S,
    fill: impl FnOnce(&mut EventRecord),
) {
    let cell = bounded::<BANK_CELLS>(cell(Bank::Plain, family, place_in_row));
    if S::LOGS_CGROUP {
        let bank = if log_open(slot) {
            add(row_slot, Bank::Logged, cell);
            log(family, oldstate, newstate, scoping, fill);
            Bank::Logged
        } else {
            add(row_slot, Bank::Plain, cell);
            Bank::Plain
        };
        return count_scopes(scoping, slot, bank, place);
    }
    // Here the bank is a constant in each branch, which makes the program sixty instructions shorter. Above it would
    // make a copy of the code that finds a cgroup.
    if log_open(slot) {
        add(row_slot, Bank::Logged, cell);
        log(family, oldstate, newstate, scoping, fill);
        count_scopes(scoping, slot, Bank::Logged, place);
    } else {
        add(row_slot, Bank::Plain, cell);
        count_scopes(scoping, slot, Bank::Plain, place);
    }
}

#[inline(always)]
fn count_scopes<S: Scoping>(scoping: S, slot: u64, bank: Bank, place: usize) {
    if S::COUNTS && slot == OWN_SLOT {
        scoping.count(bank, place);
    }
}

/// The place of a full socket's transition in [`FULL_PLACES`].
#[inline(always)]
fn place_of(oldstate: u64, newstate: u64) -> Option<usize> {
    /// In the object's read-only data.
    static TABLE: [u8; PAIRS] = FULL_PLACES;
    if oldstate > 0xf || newstate > 0xf {
        return None;
    }
    let pair = bounded::<PAIRS>(pair(oldstate as u8, newstate as u8));
    // SAFETY: `pair` is below PAIRS.
    match unsafe { TABLE.as_ptr().add(pair).read_volatile() } {
        NO_CELL => None,
        place => Some(place as usize),
    }
}

/// Counts an event that has no cell: the gauges lack it until a snapshot corrects them.
#[inline(always)]
fn without_cell() {
    if let Some(control) = CONTROL.get_ptr_mut(0) {
        // SAFETY: the pointer is to the map's only entry.
        unsafe { add_to(&raw mut (*control).without_cell, 1) };
    }
}

/// Whether user space has the event log of `slot` open.
#[inline(always)]
fn log_open(slot: u64) -> bool {
    CONTROL.get_ptr(0).is_some_and(|control| {
        // SAFETY: the pointer is to the map's only entry, and a u64 is loaded at once.
        let log_open = unsafe { (&raw const (*control).log_open).read_volatile() };
        log_open.wrapping_sub(1) == slot
    })
}

/// The slot of a place of [`tcpstat_ebpf::DETAILS`] or of silences, less [`FAMILY_CELLS`].
#[inline(always)]
fn detail_slot(detail: usize) -> u64 {
    u64::from(DETAIL_SLOT.load()) + (detail / FAMILY_CELLS) as u64
}

/// Counts how long the peer had been silent, if that is known. Nothing compares these counts with a snapshot, so they need
/// no banks.
///
/// A function of its own: inlined, it makes the paths of all transitions 1 to 2 ns longer, because they keep more on the stack.
#[inline(never)]
fn count_silence(family: Family, socket: impl FullSocket) {
    let ticks_per_second = TICKS_PER_SECOND.load();
    if ticks_per_second == 0 {
        return;
    }
    let Some(ticks) = socket.silence() else { return };
    let slot = detail_slot(SILENCE_PLACE - FAMILY_CELLS);
    let Some(row) = own_row(slot) else { return };
    let bucket = SILENCE_PLACE + silence_bucket(ticks, ticks_per_second);
    let bucket = bounded::<BANK_CELLS>(cell(Bank::Plain, family, bucket));
    let sum = bounded::<BANK_CELLS>(cell(Bank::Plain, family, SILENCE_SUM_PLACE));
    // SAFETY: both cells are below BANK_CELLS, so the pointers stay inside the map's value.
    unsafe {
        add_to(row.add(sum), u64::from(ticks));
        add_to(row.add(bucket), 1);
    }
}

/// Adds one to a cell of this bank, in the row of this slot and this CPU.
#[inline(always)]
fn add(slot: u64, bank: Bank, cell: usize) {
    if let Some(row) = own_row(slot) {
        let index = bank as usize * BANK_CELLS + cell;
        // SAFETY: `cell` is below BANK_CELLS, so the pointer stays inside the map's value.
        unsafe { add_to(row.add(index), 1) };
    }
}

/// Drops the record if the buffer is full. User space notices: the bank has one event more than the log.
#[inline(always)]
fn log<S: Scoping>(
    family: Family,
    oldstate: u8,
    newstate: u8,
    scoping: S,
    fill: impl FnOnce(&mut EventRecord),
) {
    // The reader polls. A wake-up would cost an interrupt for each event.
    let submit = u64::from(BPF_RB_NO_WAKEUP);
    // Written in place: the compiler would copy a record from the stack word by word.
    if S::LOGS_CGROUP {
        let Some(mut entry) = EVENTS.reserve::<ScopedEventRecord>(0) else { return };
        let record =
            entry.write(ScopedEventRecord { event: record(family, oldstate, newstate), cgroup: 0 });
        record.cgroup = scoping.cgroup();
        fill(&mut record.event);
        entry.submit(submit);
    } else {
        let Some(mut entry) = EVENTS.reserve::<EventRecord>(0) else { return };
        fill(entry.write(record(family, oldstate, newstate)));
        entry.submit(submit);
    }
}

/// A record with these states, and without addresses and ports.
#[inline(always)]
fn record(family: Family, oldstate: u8, newstate: u8) -> EventRecord {
    EventRecord {
        skaddr: 0,
        sport: 0,
        dport: 0,
        family: family as u8,
        oldstate,
        newstate,
        reserved: 0,
        saddr: [0; 16],
        daddr: [0; 16],
    }
}
