//! Whether the process may start the threads that it needs.

use std::{
    sync::RwLock,
    thread::{Builder, scope},
};

use anyhow::anyhow;

/// Starts `count` threads that wait for one another, and ends them: the runtime panics where it cannot
/// start one.
///
/// # Errors
/// The kernel's answer, and what to raise.
pub(super) fn check(count: usize) -> anyhow::Result<()> {
    let gate = RwLock::new(());
    scope(|scope| {
        let closed = gate.write();
        let started = (0..count).try_for_each(|_| {
            Builder::new().spawn_scoped(scope, || drop(gate.read())).map(drop)
        });
        drop(closed);
        started
    })
    .map_err(|error| {
        anyhow!(
            "starting {count} threads: {error}: raise the limit on tasks (RLIMIT_NPROC, TasksMax=, pids.max)"
        )
    })
}
