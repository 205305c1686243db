//! The time of the tracer's own work, without the kernel's work to run it: its time as the kernel measures it, less
//! that of a program that does nothing at the same events.

use anyhow::Result;
use tcpstat_tests::empty_program::{EmptyProgram, Runs, Statistics};
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::loopback::Churn;
use tcpstat_tests::tcp::Family;

use crate::Effort;
use crate::samples::Samples;

pub(crate) fn measure(effort: Effort, samples: &mut Samples) -> Result<()> {
    eprintln!("the program's body ...");
    let (rounds, connections) = if effort.short { (1, 200) } else { (20, 4_000) };
    let _statistics = Statistics::enable()?;
    let exporter = Exporter::start(&["--tracer=btf", "--snapshot-interval=1h"])?;
    let empty = EmptyProgram::attach()?;
    for _ in 0..rounds {
        let before = (Runs::of_process(exporter.pid())?, empty.runs()?);
        Churn { threads: 1, connections, family: Family::Ipv4, resets: true }.run()?;
        let (program, nothing) = (Runs::of_process(exporter.pid())?, empty.runs()?);
        let (program, nothing) = (program.each_since(before.0)?, nothing.each_since(before.1)?);
        samples.add("program", 0, program * 1e-9);
        samples.add("program_empty", 0, nothing * 1e-9);
        samples.add("program_body", 0, (program - nothing) * 1e-9);
    }
    Ok(())
}
