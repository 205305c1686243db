//! The same parts for callgrind, which counts instructions: `instructions PART TIMES` repeats one part. The
//! difference between two runs with different TIMES is the part alone. Without arguments each part runs
//! once.

use std::{env, hint::black_box, process::ExitCode};

use tcpstat_user::metrics::Format;

mod workloads;
use workloads::{
    Table, connections, expose, rewind_by_address, rewind_by_tuple, values, values_with_scopes,
};

/// Rows of one snapshot.
const ROWS: u16 = 1_000;

const PARTS: [&str; 7] =
    ["parse", "rewind-tuple", "rewind-address", "ledger", "classic", "openmetrics", "scopes"];

fn main() -> ExitCode {
    // cargo adds `--bench`.
    let arguments: Vec<_> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let (parts, times) = match arguments.as_slice() {
        [] => (PARTS.to_vec(), Some(1)),
        [part, times] => (vec![part.as_str()], times.parse().ok()),
        _ => (Vec::new(), None),
    };
    let (Some(times), true) = (times, parts.iter().all(|part| PARTS.contains(part))) else {
        eprintln!("usage: instructions [PART TIMES]; there are {}", PARTS.join(", "));
        return ExitCode::FAILURE;
    };
    let table = Table::with_rows(ROWS.into());
    let (values, scopes) = (values(), values_with_scopes());
    for part in parts {
        for _ in 0..times {
            black_box(match part {
                "parse" => table.list(),
                "rewind-tuple" => rewind_by_tuple(ROWS),
                "rewind-address" => rewind_by_address(ROWS),
                "ledger" => connections(),
                "classic" => expose(values.clone(), Format::Classic) as u64,
                "scopes" => expose(scopes.clone(), Format::Classic) as u64,
                _ => expose(values.clone(), Format::OpenMetrics) as u64,
            });
        }
    }
    ExitCode::SUCCESS
}
