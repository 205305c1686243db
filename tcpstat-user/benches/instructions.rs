//! The same parts for callgrind, which counts instructions: `instructions PART TIMES` does one of them so
//! many times. The difference between two numbers of times is the part alone.

use std::{env, hint::black_box, process::ExitCode};

use tcpstat_user::metrics::Format;

mod workloads;
use workloads::{Table, connections, expose, rewind_by_address, rewind_by_tuple, values};

/// Rows of one listing.
const ROWS: u16 = 1_000;

fn main() -> ExitCode {
    // cargo adds `--bench`.
    let arguments: Vec<_> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let part = arguments.first().map(String::as_str);
    let times = arguments.get(1).and_then(|times| times.parse().ok());
    let (Some(part), Some(times)) = (part, times) else {
        eprintln!("usage: instructions PART TIMES");
        return ExitCode::FAILURE;
    };
    let table = Table::with_rows(ROWS.into());
    let values = values();
    let work = || match part {
        "parse" => table.list(),
        "rewind-tuple" => rewind_by_tuple(ROWS),
        "rewind-address" => rewind_by_address(ROWS),
        "ledger" => connections(),
        "classic" => expose(values.clone(), Format::Classic) as u64,
        "openmetrics" => expose(values.clone(), Format::OpenMetrics) as u64,
        _ => 0,
    };
    let done: u64 = (0..times).map(|_: u32| black_box(work())).sum();
    if done == 0 && times > 0 {
        eprintln!("instructions: there is no part {part:?}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
