//! `iter/task`: lists every process with its network namespace and its cgroup. Needs CAP_BPF and CAP_PERFMON, and
//! no permission to trace the process.
//!
//! It lists the processes of the PID namespace of the process that creates the iterator, nested ones included. The
//! same process reads it.

use aya_ebpf::helpers::generated::bpf_get_current_task;
use tcpstat_ebpf::{NetnsKey, TaskRecord};

use crate::{
    iter::{Meta, write},
    maps::{
        CGROUP_KN, CSS_SET_DFL_CGRP, KERNFS_NODE_ID, NET_COOKIE, NET_INUM, NETNS_KEY, NSPROXY_NET,
        PID_LEVEL, PID_LEVELS_UP, PID_NUMBERS, TASK_CGROUPS, TASK_NSPROXY, TASK_PID, TASK_TGID,
        TASK_THREAD_PID, UPID_BYTES,
    },
    probe::{probe, probe_u32},
};

/// The members of `struct bpf_iter__task`.
#[repr(C)]
pub(crate) struct Context {
    meta: *const Meta,
    task: *const u8,
}

/// Writes a [`TaskRecord`] for the process of which the task in the context is the first thread.
#[unsafe(no_mangle)]
// SAFETY: the section names the kernel's iterator, and the function takes the context of that iterator.
#[unsafe(link_section = "iter/task")]
pub(crate) extern "C" fn tcpstat_tasks(context: *const Context) -> i32 {
    // SAFETY: the kernel passes a valid context, and the offsets are from BTF.
    unsafe {
        let task = (*context).task;
        if task.is_null() {
            return 0;
        }
        let pid = TASK_PID.read(task);
        if pid != TASK_TGID.read(task) {
            return 0;
        }
        // A constant to the verifier. Under lockdown=confidentiality it refuses the helper of `nested_pid`.
        let pid = if UPID_BYTES.load() == 0 { pid } else { nested_pid(task) };
        if pid == 0 {
            return 0;
        }
        if let Some(record) = record(task, pid) {
            write((*context).meta, &record, size_of::<TaskRecord>());
        }
    }
    0
}

/// The process id in the PID namespace that is `PID_LEVELS_UP` above that of the reader; 0 for a task that has ended.
///
/// `struct pid` has one number for each level, from the initial namespace down. Until 6.5 its type has one alone,
/// and the verifier refuses to read another through a pointer of BTF type.
#[inline(always)]
pub(crate) fn nested_pid(task: *const u8) -> u32 {
    // SAFETY: the helper takes no arguments.
    let reader = unsafe { bpf_get_current_task() };
    let level = probe_u32(probe(reader, TASK_THREAD_PID.bytes()), PID_LEVEL.bytes());
    let above = u64::from(level.wrapping_sub(PID_LEVELS_UP.load()));
    let numbers = probe(task as u64, TASK_THREAD_PID.bytes());
    if numbers == 0 {
        return 0;
    }
    probe_u32(numbers.wrapping_add(above * u64::from(UPID_BYTES.load())), PID_NUMBERS.bytes())
}

/// `None` for a task that has ended, and has no namespaces any more.
///
/// A load through a pointer of BTF type returns 0 where the address is not mapped, so a pointer that has become
/// stale does no harm. The kernel frees a cgroup only after an RCU grace period, and an `nsproxy` at once: it is
/// valid as long as the task has it, which is checked at the end. A task that changes its namespace meanwhile
/// has no record this time.
///
/// # Safety
/// `task` is a `struct task_struct *` that the kernel passed.
#[inline(always)]
unsafe fn record(task: *const u8, pid: u32) -> Option<TaskRecord> {
    // SAFETY: as the function's.
    unsafe {
        let nsproxy = non_null(TASK_NSPROXY.read(task))?;
        let net = non_null(NSPROXY_NET.read(nsproxy))?;
        let netns_inum = NET_INUM.read(net);
        let netns_key = if NETNS_KEY.load() == NetnsKey::Cookie as u32 {
            NET_COOKIE.read(net)
        } else {
            u64::from(netns_inum)
        };
        let cgroup = cgroup_id(task).unwrap_or(0);
        if TASK_NSPROXY.read_again(task) != nsproxy {
            return None;
        }
        Some(TaskRecord { netns_key, cgroup, netns_inum, pid })
    }
}

/// `cgroup_id` of the cgroup of the default hierarchy.
///
/// # Safety
/// As [`record`].
#[inline(always)]
unsafe fn cgroup_id(task: *const u8) -> Option<u64> {
    // SAFETY: as the function's.
    unsafe {
        let css_set = non_null(TASK_CGROUPS.read(task))?;
        let cgroup = non_null(CSS_SET_DFL_CGRP.read(css_set))?;
        Some(KERNFS_NODE_ID.read(non_null(CGROUP_KN.read(cgroup))?))
    }
}

#[inline(always)]
fn non_null(pointer: *const u8) -> Option<*const u8> {
    if pointer.is_null() { None } else { Some(pointer) }
}
