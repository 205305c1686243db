//! Checks that the process may have the threads and descriptors without which its runtime panics.

use std::{
    io::{Error, stderr},
    os::fd::AsFd,
    sync::RwLock,
    thread::{Builder, scope},
};

use anyhow::anyhow;

/// Starts that many threads and opens that many descriptors, and releases them.
///
/// # Errors
/// The kernel's error, and which limit to raise.
pub(super) fn check(threads: usize, descriptors: usize) -> anyhow::Result<()> {
    start(threads).map_err(|error| not_started(&format!("{threads} threads"), &error))?;
    open(descriptors).map_err(|error| {
        anyhow!(
            "opening {descriptors} descriptors: {error}: raise RLIMIT_NOFILE (`ulimit -n`, LimitNOFILE=)"
        )
    })
}

/// The error for threads that the kernel does not start, and which limit to raise.
pub(super) fn not_started(what: &str, error: &Error) -> anyhow::Error {
    anyhow!(
        "starting {what}: {error}: raise the limit on tasks (RLIMIT_NPROC, TasksMax=, pids.max)"
    )
}

/// Starts threads that wait until all of them have started.
fn start(count: usize) -> Result<(), Error> {
    let gate = RwLock::new(());
    scope(|scope| {
        let closed = gate.write();
        let started = (0..count)
            .try_for_each(|_| Builder::new().spawn_scoped(scope, || drop(gate.read())).map(drop));
        drop(closed);
        started
    })
}

fn open(count: usize) -> Result<(), Error> {
    let copy = |_| stderr().as_fd().try_clone_to_owned();
    (0..count).map(copy).collect::<Result<Vec<_>, _>>().map(drop)
}
