//! The cost of a transition for the processes that make it: loopback connections on one core, with and without the
//! tracer, in turn.

use std::time::Instant;

use anyhow::Result;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::loopback::Churn;
use tcpstat_tests::tcp::Family;

use crate::Effort;
use crate::samples::Samples;

/// The core that the connections are made on.
const CORE: usize = 0;

pub(crate) fn measure(effort: Effort, samples: &mut Samples) -> Result<()> {
    eprintln!("transitions ...");
    let (rounds, connections) = if effort.short { (1, 200) } else { (20, 4_000) };
    for _ in 0..rounds {
        let without = per_transition(connections)?;
        let exporter = Exporter::start(&["--tracer=btf", "--snapshot-interval=1h"])?;
        let with = per_transition(connections)?;
        drop(exporter);
        samples.add("transition_without", 0, without);
        samples.add("transition_with", 0, with);
        samples.add("transition_cost", 0, with - without);
    }
    Ok(())
}

/// Seconds for each transition.
pub(crate) fn per_transition(connections: usize) -> Result<f64> {
    let this = Pid::from_raw(0);
    let all = sched_getaffinity(this)?;
    let mut one = CpuSet::new();
    one.set(CORE)?;
    sched_setaffinity(this, &one)?;
    let churn = Churn { threads: 1, connections, family: Family::Ipv4, resets: true };
    let started = Instant::now();
    let churned = churn.run();
    let seconds = started.elapsed().as_secs_f64();
    sched_setaffinity(this, &all)?;
    Ok(seconds / churned?.transitions().values().sum::<u64>() as f64)
}
