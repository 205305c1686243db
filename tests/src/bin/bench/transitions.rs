//! The cost of a transition for the processes that make it: loopback connections on one core, with and without the
//! tracer, in turn.

use std::time::{Duration, Instant};

use anyhow::Result;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
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
        let without = per_transition(connections)?.elapsed;
        let exporter = Exporter::start(&["--tracer=btf", "--snapshot-interval=1h"])?;
        let with = per_transition(connections)?.elapsed;
        drop(exporter);
        samples.add("transition_without", 0, without);
        samples.add("transition_with", 0, with);
        samples.add("transition_cost", 0, with - without);
    }
    Ok(())
}

/// Seconds for each transition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) elapsed: f64,
    /// Of the processor, for the threads that connect: other processes on it do not count.
    pub(crate) processor: f64,
}

pub(crate) fn per_transition(connections: usize) -> Result<Cost> {
    let this = Pid::from_raw(0);
    let all = sched_getaffinity(this)?;
    let mut one = CpuSet::new();
    one.set(CORE)?;
    sched_setaffinity(this, &one)?;
    let churn = Churn { threads: 1, connections, family: Family::Ipv4, resets: true };
    let (started, before) = (Instant::now(), processor_time()?);
    let churned = churn.run();
    let (elapsed, processor) = (started.elapsed(), processor_time()?.saturating_sub(before));
    sched_setaffinity(this, &all)?;
    let transitions = churned?.transitions().values().sum::<u64>() as f64;
    Ok(Cost {
        elapsed: elapsed.as_secs_f64() / transitions,
        processor: processor.as_secs_f64() / transitions,
    })
}

/// The time that this process has had of the processors.
fn processor_time() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into())
}
