//! Counts and logs an event of the counted namespace. All programs use it.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::{EbpfContext, bindings::BPF_RB_NO_WAKEUP, helpers::bpf_get_smp_processor_id};
use aya_log_ebpf::error;
use tcpstat_ebpf::{Bank, EventRecord, Family, ROW_CELLS, State, cell};

use crate::maps::{CONTROL, EVENTS, MATRIX};

/// Counts a transition of a full socket. While the log is open, also logs it: `fill` sets the socket's address
/// and its ends in the record.
#[inline(always)]
pub(crate) fn transition<C: EbpfContext>(
    ctx: &C,
    family: Family,
    oldstate: u32,
    newstate: u32,
    fill: impl FnOnce(&mut EventRecord),
) {
    if !is_possible(oldstate) || !is_possible(newstate) {
        error!(ctx, "impossible TCP state: {} -> {}", oldstate, newstate);
        return;
    }
    #[cfg(feature = "lose-events")]
    if crate::lose::is_lost(oldstate, newstate) {
        return;
    }
    event(family, oldstate as u8, newstate as u8, fill);
}

/// Counts and logs a transition of a mini-socket or a request, as [`transition`] does.
#[inline(always)]
pub(crate) fn hooked_transition(
    family: Family,
    oldstate: State,
    newstate: State,
    fill: impl FnOnce(&mut EventRecord),
) {
    event(family, oldstate as u8, newstate as u8, fill);
}

/// Calls [`log_open`] once: that one answer chooses the bank, and decides whether the event is logged.
#[inline(always)]
fn event(family: Family, oldstate: u8, newstate: u8, fill: impl FnOnce(&mut EventRecord)) {
    if log_open() {
        add(Bank::Logged, family, oldstate, newstate);
        log(family, oldstate, newstate, fill);
    } else {
        add(Bank::Plain, family, oldstate, newstate);
    }
}

/// Whether user space has the event log open.
#[inline(always)]
fn log_open() -> bool {
    // SAFETY: the pointer is to the map's only entry, and a u64 is loaded at once.
    CONTROL
        .get_ptr(0)
        .is_some_and(|control| unsafe { (&raw const (*control).log_open).read_volatile() } != 0)
}

/// Adds one in the row of this CPU. A CPU id beyond the map uses the first row; the atomic add allows that.
#[inline(always)]
fn add(bank: Bank, family: Family, oldstate: u8, newstate: u8) {
    // SAFETY: the helper has no preconditions.
    let cpu = unsafe { bpf_get_smp_processor_id() } as u32;
    if let Some(row) = MATRIX.get_ptr_mut(cpu).or_else(|| MATRIX.get_ptr_mut(0)) {
        let index = bounded(cell(bank, family, oldstate, newstate));
        // Atomic although the row belongs to this CPU: a softirq can interrupt between load and store.
        // SAFETY: the index is below ROW_CELLS, so the pointer stays inside the map's value.
        unsafe {
            atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(row.cast::<u64>().add(index), 1)
        };
    }
}

/// Bounds `index` by an instruction that the compiler cannot remove. The compiler knows that the index is in
/// bounds; the verifier does not, and would refuse the access.
#[inline(always)]
fn bounded(mut index: usize) -> usize {
    const { assert!(ROW_CELLS.is_power_of_two()) };
    // SAFETY: one instruction changes one register.
    unsafe {
        core::arch::asm!("{index} &= {mask}", index = inout(reg) index, mask = const ROW_CELLS - 1);
    }
    index
}

/// Drops the record if the buffer is full. User space notices: the bank has one event more than the log.
#[inline(always)]
fn log(family: Family, oldstate: u8, newstate: u8, fill: impl FnOnce(&mut EventRecord)) {
    let Some(mut entry) = EVENTS.reserve::<EventRecord>(0) else { return };
    let record = entry.write(EventRecord {
        skaddr: 0,
        sport: 0,
        dport: 0,
        family: family as u8,
        oldstate,
        newstate,
        reserved: 0,
        saddr: [0; 16],
        daddr: [0; 16],
    });
    fill(record);
    // The reader polls. A wake-up would cost an interrupt for each event.
    entry.submit(u64::from(BPF_RB_NO_WAKEUP));
}

/// Whether a full socket can be in the state with this number.
#[inline(always)]
fn is_possible(state: u32) -> bool {
    state >= State::Established as u32 && state <= State::Closing as u32
}
