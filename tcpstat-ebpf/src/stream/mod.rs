//! The programs of `tcpstat events`: they write each transition that passes the filters to a ring buffer. They count nothing,
//! and run beside the programs that do.
//!
//! A filter that is off is a constant to the verifier, which removes its code.

mod filter;
mod tp_btf;
mod tracepoint;

use aya_ebpf::{
    bindings::BPF_RB_NO_WAKEUP,
    helpers::{
        bpf_get_current_comm, bpf_get_current_pid_tgid,
        generated::{bpf_get_current_task_btf, bpf_jiffies64, bpf_ktime_get_ns},
    },
};
use tcpstat_ebpf::{
    CgroupMember, Family, HEARD_STATES, NO_CAUSE, NO_SILENCE, NetnsKey, State, StreamProcess,
    StreamRecord,
};

use crate::{
    maps::{
        CGROUPS, NETNS_KEY, STREAM, STREAM_LOST, STREAM_PROCESS, TASK_COMM, TASK_GROUP_LEADER,
        TICKS_PER_SECOND,
    },
    this_cpu::add_to,
};

/// What the programs read from a full socket, only where it is needed.
trait Socket: Copy {
    /// How it refers to a network namespace.
    type Netns: Copy;

    fn netns(self) -> Option<Self::Netns>;

    fn inum(self, netns: Self::Netns) -> u32;

    fn cookie(self, netns: Self::Netns) -> u64;

    /// As [`StreamRecord::sport`] and [`StreamRecord::dport`].
    fn ports(self) -> (u16, u16);

    /// As [`StreamRecord::saddr`] and [`StreamRecord::daddr`].
    fn addresses(self, family: Family) -> ([u32; 4], [u32; 4]);

    fn cgroup(self) -> u64;

    /// `sk_err`, a positive number.
    fn error(self) -> u32;

    /// `rcv_tstamp` and `icsk_ack.lrcvtime`.
    fn heard(self) -> (u32, u32);

    /// `sk_lock.owned`
    fn owned(self) -> u32;

    /// Writes the address in the kernel.
    ///
    /// # Safety
    /// `place` can be written.
    unsafe fn write_address(self, place: *mut u64);
}

/// Writes a transition of a socket of this family, if it passes the filters.
#[inline(always)]
fn transition(socket: impl Socket, family: Family, oldstate: u64, newstate: u64) {
    if !filter::transition(oldstate, newstate) {
        return;
    }
    let Some(netns) = socket.netns() else { return };
    let inum = socket.inum(netns);
    if !filter::netns(inum) {
        return;
    }
    let (sport, dport) = socket.ports();
    let cause = if newstate == State::Close as u64 {
        filter::cause(oldstate, sport, || socket.error())
    } else {
        NO_CAUSE
    };
    if !filter::closes(cause) || !filter::ports(sport, dport) {
        return;
    }
    // A constant to the verifier.
    let cgroup = if CGROUPS.load() == CgroupMember::Off as u32 { 0 } else { socket.cgroup() };
    if !filter::cgroup(cgroup) {
        return;
    }
    if !filter::addresses(family, dport, || socket.addresses(family)) {
        return;
    }
    let Some(lost) = STREAM_LOST.get_ptr_mut(0) else { return };
    let Some(mut entry) = STREAM.reserve::<StreamRecord>(0) else {
        // SAFETY: the pointer is to the map's only entry.
        unsafe { add_to(lost, 1) };
        return;
    };
    let record = entry.as_mut_ptr();
    // Read and written part by part: the compiler keeps more on the stack otherwise, and would copy a whole record from it.
    // SAFETY: the pointer is to a record that this program has reserved; `lost` is as above.
    unsafe {
        (&raw mut (*record).time).write(bpf_ktime_get_ns());
        socket.write_address(&raw mut (*record).skaddr);
        (&raw mut (*record).netns_inum).write(inum);
        (&raw mut (*record).cgroup).write(cgroup);
        (&raw mut (*record).lost).write(lost.read_volatile() as u32);
        (&raw mut (*record).sport).write(sport);
        (&raw mut (*record).dport).write(dport);
        (&raw mut (*record).family).write(family as u8);
        (&raw mut (*record).oldstate).write(oldstate as u8);
        (&raw mut (*record).newstate).write(newstate as u8);
        (&raw mut (*record).cause).write(cause);
        let (saddr, daddr) = socket.addresses(family);
        (&raw mut (*record).saddr).write(saddr);
        (&raw mut (*record).daddr).write(daddr);
        (&raw mut (*record).silence).write(silence(socket, oldstate));
        let (pid, command) = owner(socket);
        (&raw mut (*record).pid).write(pid);
        (&raw mut (*record).command).write(command);
        let key = if NETNS_KEY.load() == NetnsKey::Cookie as u32 {
            socket.cookie(netns)
        } else {
            u64::from(inum)
        };
        (&raw mut (*record).netns_key).write(key);
    }
    // The reader polls. A wake-up would cost an interrupt for each event.
    entry.submit(u64::from(BPF_RB_NO_WAKEUP));
}

/// How many ticks ago the peer was last heard. The kernel sends keepalive probes by the same rule
/// (`keepalive_time_elapsed`): data that is received in order changes `lrcvtime` alone.
#[inline(always)]
fn silence(socket: impl Socket, oldstate: u64) -> u32 {
    if TICKS_PER_SECOND.load() == 0 || (u64::from(HEARD_STATES) >> oldstate) & 1 == 0 {
        return NO_SILENCE;
    }
    let (acknowledged, received) = socket.heard();
    // As in `ticks_since`.
    if acknowledged == 0 {
        return NO_SILENCE;
    }
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_jiffies64() } as u32;
    let (acknowledged, received) = (now.wrapping_sub(acknowledged), now.wrapping_sub(received));
    if received < acknowledged { received } else { acknowledged }
}

/// Id and name of the process that owns the lock of the socket; 0 for none. Where a softirq makes the transition, `owned`
/// is 0: it leaves a socket that is owned to its owner (`sock_owned_by_user`).
#[inline(always)]
fn owner(socket: impl Socket) -> (u32, [u32; 4]) {
    let kind = STREAM_PROCESS.load();
    if kind == StreamProcess::Off as u32 || socket.owned() != 1 {
        return (0, [0; 4]);
    }
    let pid = (bpf_get_current_pid_tgid() >> 32) as u32;
    let command = if kind == StreamProcess::Process as u32 {
        // SAFETY: the helper returns the running task, and the offsets are those of its BTF.
        unsafe { TASK_COMM.read(TASK_GROUP_LEADER.read(bpf_get_current_task_btf().cast())) }
    } else {
        let name = bpf_get_current_comm().unwrap_or_default();
        let word =
            |at: usize| u32::from_ne_bytes([name[at], name[at + 1], name[at + 2], name[at + 3]]);
        [word(0), word(4), word(8), word(12)]
    };
    (pid, command)
}
