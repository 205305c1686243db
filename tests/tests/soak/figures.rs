//! What an exporter takes of the machine.

use std::fmt;

use anyhow::{Result, ensure};
use std::fs;
use tcpstat_tests::bpf_objects;
use tcpstat_tests::memory::resident_bytes;

/// What the history of ten minutes, which fills meanwhile, and the allocator may take.
const MEMORY_SLACK: u64 = 6 << 20;

/// Threads of the runtime's pool, which come with work that comes at once, and end when they have had none for 10 s.
const THREADS_SLACK: u64 = 2;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    memory: u64,
    descriptors: usize,
    threads: usize,
    bpf_objects: usize,
}

impl Figures {
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let count =
            |folder| Ok::<_, anyhow::Error>(fs::read_dir(format!("/proc/{pid}/{folder}"))?.count());
        Ok(Self {
            memory: resident_bytes(pid)?,
            descriptors: count("fd")?,
            threads: count("task")?,
            bpf_objects: bpf_objects::held_by(pid)?.len(),
        })
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { memory, descriptors, threads, bpf_objects } = self;
        let kib = memory >> 10;
        write!(
            f,
            "{kib} KiB, {descriptors} descriptors, {threads} threads, {bpf_objects} BPF objects"
        )
    }
}

/// Fails if the least of the last third is more than the most of the first third: what is kept after a round is kept
/// after each.
pub(crate) fn assert_flat(figures: &[Figures]) -> Result<()> {
    let third = figures.len().div_ceil(3);
    let (first, last) = (&figures[..third], &figures[figures.len() - third..]);
    let flat = |what, of: fn(&Figures) -> u64, slack| {
        let most = first.iter().map(of).max().unwrap_or_default();
        let least = last.iter().map(of).min().unwrap_or_default();
        ensure!(least <= most + slack, "{what} grow from {most} to {least}: {figures:?}");
        Ok(())
    };
    flat("bytes of memory", |it| it.memory, MEMORY_SLACK)?;
    flat("descriptors", |it| it.descriptors as u64, 0)?;
    flat("threads", |it| it.threads as u64, THREADS_SLACK)?;
    flat("BPF objects", |it| it.bpf_objects as u64, 0)
}
