//! `tcpstat completions`: what a shell completes.

use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use super::{Cli, write_out};

pub(super) const EXAMPLES: &str = "Examples:
  tcpstat completions bash > /usr/share/bash-completion/completions/tcpstat
  tcpstat completions zsh > /usr/local/share/zsh/site-functions/_tcpstat
  tcpstat completions fish > ~/.config/fish/completions/tcpstat.fish";

/// Flags of `tcpstat completions`.
#[derive(Args, Debug)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints to standard output.
pub(super) fn run(args: &CompletionsArgs) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    generate(args.shell, &mut Cli::command(), "tcpstat", &mut script);
    write_out(&script)?;
    Ok(ExitCode::SUCCESS)
}
