//! `tcpstat show`: one snapshot of this network namespace, as a table or as JSON.

use std::{collections::BTreeMap, fmt::Write as _, process::ExitCode};

use clap::{ArgAction, Args};
use serde::Serialize;

use super::{
    ProcfsArgs,
    restrictions::{SeccompArgs, Stays},
    values, write_out,
};
use crate::{
    kernel::{Kept, Needs},
    states::{Family, PerFamily, State, family_word, state_word},
    tracker::{self, Snapshot},
};

pub(super) const EXAMPLES: &str = "Examples:
  tcpstat show
  tcpstat show --json | jq .ipv4.close_wait
  nsenter --net=/run/netns/blue tcpstat show    the sockets of another network namespace";

/// Flags of `tcpstat show`.
#[derive(Args, Debug)]
pub(super) struct ShowArgs {
    #[command(flatten)]
    procfs: ProcfsArgs,

    /// Print JSON instead of a table
    #[arg(
        long,
        value_name = "YES|NO",
        num_args = 0..=1,
        require_equals = true,
        action = ArgAction::Set,
        default_value = "no",
        default_missing_value = "yes",
        value_parser = values::switch,
        help_heading = "Output"
    )]
    json: bool,
}

/// Prints to standard output. Rows that do not parse are reported on standard error.
pub(super) fn run(args: &ShowArgs, seccomp: SeccompArgs) -> anyhow::Result<ExitCode> {
    let mut restrictions = seccomp.restrict(Needs::default());
    restrictions.log_refusals()?;
    let procfs = args.procfs.procfs()?;
    let snapshot = restrictions
        .attempt(Kept::SYS_PTRACE, "a process that is hidden", || tracker::take(&procfs))?;
    restrictions.reduce(Stays::Briefly);
    if let Some(broken) = &snapshot.first_broken {
        tracing::warn!(rows = snapshot.broken_rows, "{broken}: rows like this are left out");
    }
    let text = if args.json {
        let mut json = serde_json::to_string_pretty(&ShowJson::from(&snapshot))?;
        json.push('\n');
        json
    } else {
        table(&snapshot)
    };
    write_out(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

#[derive(Serialize)]
struct ShowJson {
    ipv4: BTreeMap<&'static str, u64>,
    ipv6: BTreeMap<&'static str, u64>,
    receive_queue_bytes: BTreeMap<&'static str, u64>,
    send_queue_bytes: BTreeMap<&'static str, u64>,
    fin_wait2_mini: BTreeMap<&'static str, u64>,
    rows: u64,
    bad_rows: u64,
}

impl From<&Snapshot> for ShowJson {
    fn from(snapshot: &Snapshot) -> Self {
        let tally = &snapshot.tally;
        let connections = tally.connections();
        let states = |family| {
            State::ALL.map(|state| (state_word(state), connections[(family, state)])).into()
        };
        let families = |values: PerFamily<u64>| {
            Family::ALL.map(|family| (family_word(family), values[family])).into()
        };
        Self {
            ipv4: states(Family::Ipv4),
            ipv6: states(Family::Ipv6),
            receive_queue_bytes: families(tally.receive_queue_bytes),
            send_queue_bytes: families(tally.send_queue_bytes),
            fin_wait2_mini: families(tally.fin_wait2_mini),
            rows: tally.rows,
            bad_rows: snapshot.broken_rows,
        }
    }
}

fn table(snapshot: &Snapshot) -> String {
    let tally = &snapshot.tally;
    let connections = tally.connections();
    let mut lines = vec![("STATE", ["IPV4", "IPV6", "TOTAL"].map(str::to_owned))];
    let mut sums = [0; 2];
    for state in State::ALL {
        let counts = Family::ALL.map(|family| connections[(family, state)]);
        sums = [sums[0] + counts[0], sums[1] + counts[1]];
        lines.push((state_word(state), numbers(counts)));
    }
    lines.push(("sockets", numbers(sums)));
    lines.push(("receive queue bytes", numbers(tally.receive_queue_bytes.0)));
    lines.push(("send queue bytes", numbers(tally.send_queue_bytes.0)));
    let widths = [0, 1, 2].map(|column| {
        let widest = lines.iter().map(|(_, columns)| columns[column].len()).max();
        // At least one space between two numbers.
        MIN_COLUMN_WIDTH.max(widest.unwrap_or_default() + 1)
    });
    let [ipv4, ipv6, total] = widths;
    let mut text = String::new();
    for (name, [a, b, c]) in &lines {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:<20}{a:>ipv4$}{b:>ipv6$}{c:>total$}");
    }
    text
}

const MIN_COLUMN_WIDTH: usize = 10;

fn numbers([ipv4, ipv6]: [u64; 2]) -> [String; 3] {
    [ipv4, ipv6, ipv4.saturating_add(ipv6)].map(|number| number.to_string())
}
