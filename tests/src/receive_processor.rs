//! The processor on which the loopback interface receives.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use nix::mount::umount;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::mounts::PrivateMounts;
use crate::netns::Namespace;

/// Makes `lo` of `namespace` pass every packet to processor `cpu`, whose softirq interrupts the code that runs
/// there (Documentation/networking/scaling.rst, RPS). The calling thread enters a new mount namespace, because
/// each network namespace has its own sysfs.
///
/// # Errors
/// Fails without privileges, and if the kernel was built without RPS.
pub fn receive_on(_: &Namespace, cpu: usize) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mounted = PrivateMounts::enter()?.sysfs(folder.path())?;
    let mask = mounted.join("class/net/lo/queues/rx-0/rps_cpus");
    write(&mask, &format!("{:x}", 1_u64 << cpu))?;
    umount(folder.path()).context("umount")
}

/// Binds the calling thread, and the threads it starts later, to processor `cpu`.
///
/// # Errors
/// Fails if there is no such processor.
pub fn run_on(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("run on processor {cpu}"))
}

fn write(path: &Path, value: &str) -> Result<()> {
    fs::write(path, value).with_context(|| format!("write {value} to {}", path.display()))
}
