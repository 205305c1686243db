//! Builds, runs and tests tcpstat, and installs what that needs: `cargo xtask <command>`.
//!
//! Every command first makes sure of what it needs, so `cargo xtask test` is enough on a fresh machine.
//! A failure is one line on stderr and exit status 1. Nothing outside the target directory is
//! written, except the system packages that are installed.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::architecture::Architecture;
use crate::target::Workspace;

mod alerts;
mod apt;
mod architecture;
mod bench;
mod cargo;
mod cargo_tools;
mod charts;
mod conventions;
mod dist;
mod documents;
mod files;
mod fuzz;
mod layers;
mod linker;
mod losses;
mod matrix;
mod object;
mod process;
mod report;
mod setup;
mod source;
mod systems;
mod target;
mod test_steps;
mod toolchain;
mod tools;
mod words;

/// Builds, runs and tests tcpstat, and installs what that needs.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Find or install the BPF toolchain: rustc with the sources of core, and bpf-linker
    Setup {
        /// Also what the tests need: Prometheus, Alertmanager, a node exporter, ip, schemas, Chromium
        #[arg(long)]
        tests: bool,
    },
    /// Build the BPF object, and the release binary that embeds it
    Build,
    /// Build, then serve on 127.0.0.1:10048
    Run {
        /// Passed on to `tcpstat serve`
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Build, then check format, lints, conventions, and run all tests
    Test {
        /// Then boot other kernels under QEMU, and run the kernel tests in them
        #[arg(long)]
        matrix: bool,
        /// Of other kernels only the newest of that series, such as 5.10 or arm64-6.1, or `newest` (repeatable)
        #[arg(long, value_name = "SERIES", requires = "matrix")]
        kernel: Vec<String>,
        /// Passed on to the test binaries: only tests whose name contains it
        #[arg(value_name = "FILTER", trailing_var_arg = true, allow_hyphen_values = true)]
        filter: Vec<String>,
    },
    /// Build, then run nothing but the kernel tests in other kernels
    Matrix {
        /// Only the newest kernel of that series, such as 5.10 or arm64-6.1, or `newest` (repeatable)
        #[arg(long, value_name = "SERIES")]
        kernel: Vec<String>,
        /// Passed on to the test binary: only tests whose name contains it
        #[arg(value_name = "FILTER", trailing_var_arg = true, allow_hyphen_values = true)]
        filter: Vec<String>,
    },
    /// Build, then measure what it costs with 10, 100, … sockets, beside node_exporter, ss and cat
    Bench(bench::Options),
    /// Evaluate the alerting rules over simulated hosts: how soon faults are reported, and what is reported on healthy days
    Alerts(alerts::Options),
    /// Fuzz what tcpstat reads from outside: parsers of /proc, records, requests, and files
    Fuzz {
        /// Only the targets with that in their name
        #[arg(default_value = "")]
        target: String,
        /// Time for each target
        #[arg(long, default_value_t = 600)]
        seconds: u64,
    },
    /// Build, then run an exporter while connections, scrapes, namespaces, and containers come and go, through reloads,
    /// stops, restarts, and clock steps
    Soak {
        /// How long
        #[arg(long, default_value_t = 60)]
        minutes: u64,
    },
    /// Build what is released, in target/dist: packages, archives, and a container image. The checkout must be clean
    Dist {
        /// Then install and run all of it, as `cargo xtask test` does; also of a checkout with changes
        #[arg(long, conflicts_with = "target")]
        test: bool,
        /// Only that architecture: x86_64 or aarch64 (repeatable)
        #[arg(long, value_name = "ARCHITECTURE")]
        target: Vec<Architecture>,
    },
    /// Run the end-to-end tests, and rewrite the golden files from what they see
    Bless,
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the command succeeded; an error is a failure that has not been shown yet.
fn run(command: Command) -> Result<bool> {
    let workspace = Workspace::locate()?;
    match command {
        Command::Setup { tests } => {
            setup::bpf(&workspace)?;
            if tests {
                tools::provide(&workspace)?;
            }
        }
        Command::Build => object::build(&workspace)?,
        Command::Run { args } => return Err(object::serve(&workspace, &args)),
        Command::Test { matrix, kernel, filter } => {
            let kernels = matrix.then_some(kernel.as_slice());
            return test_steps::run(&workspace, &filter, kernels);
        }
        Command::Matrix { kernel, filter } => {
            return test_steps::matrix(&workspace, &filter, &kernel);
        }
        Command::Bench(options) => bench::run(&workspace, &options)?,
        Command::Alerts(options) => alerts::run(&workspace, &options)?,
        Command::Fuzz { target, seconds } => {
            test_steps::fuzz(&workspace, &target, Duration::from_secs(seconds))?;
        }
        Command::Soak { minutes } => {
            return test_steps::soak(&workspace, Duration::from_secs(60 * minutes));
        }
        Command::Dist { test: true, .. } => return test_steps::test_packages(&workspace, &[]),
        Command::Dist { target, .. } if target.is_empty() => {
            dist::release(&workspace, &architecture::ALL)?;
        }
        Command::Dist { target, .. } => dist::release(&workspace, &target)?,
        Command::Bless => return test_steps::bless(&workspace),
    }
    Ok(true)
}
