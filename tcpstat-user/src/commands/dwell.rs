//! The flags of dwells: how long sockets are in the states that the user chooses.

use clap::Args;
use tracing::warn;

use super::{incomplete, values};
use crate::{
    dwell::{DwellChoice, MeasuredState},
    procfs::Procfs,
};

/// Flags of dwells.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct DwellArgs {
    /// Also measure how long sockets are in these states, with commas between: established, syn_sent, fin_wait1,
    /// fin_wait2, close_wait, last_ack, listen, closing. `established` gives the lifetimes of connections. Only sockets of
    /// tcpstat's own namespace, with --netns all too; needs a tracer
    #[arg(
        long = "dwell",
        value_name = "STATE",
        env = "TCPSTAT_DWELL",
        value_delimiter = ',',
        value_parser = values::parsed::<MeasuredState>,
        help_heading = "Counting"
    )]
    dwell: Vec<MeasuredState>,

    /// Most sockets in the states of --dwell at a time whose time is measured, 65536 by default; only with --dwell. Each takes
    /// 80 to 96 bytes of kernel memory from the start
    #[arg(
        long = "dwell-max",
        value_name = "NUMBER",
        env = "TCPSTAT_DWELL_MAX",
        value_parser = values::number::<u32>(1..=1_048_576),
        help_heading = "Counting"
    )]
    dwell_max: Option<u32>,
}

/// The default of `--dwell-max`.
const DWELL_MAX: u32 = 65_536;

impl DwellArgs {
    /// # Errors
    /// If there is a bound, and nothing to measure.
    pub(super) fn check(&self) -> Result<(), clap::Error> {
        if self.dwell_max.is_none() || !self.dwell.is_empty() {
            return Ok(());
        }
        let remedy = "--dwell-max: nothing is measured without --dwell: add --dwell with the states to measure, or leave \
                      --dwell-max out";
        Err(incomplete(remedy))
    }

    /// What the tracer has to measure in the namespace that `procfs` lists. What is impossible here is off, with one line in
    /// the log.
    pub(super) fn choice(&self, procfs: &Procfs) -> DwellChoice {
        let states = self.dwell.iter().copied().collect();
        let choice = DwellChoice { states, max: self.dwell_max.unwrap_or(DWELL_MAX) };
        if choice.any() && !procfs.lists_own_namespace() {
            warn!(
                "--dwell is off: the iterator does not list the network namespace that is counted, because it is not that of this process"
            );
            return DwellChoice::default();
        }
        choice
    }
}
