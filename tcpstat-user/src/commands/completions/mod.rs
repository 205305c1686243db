//! `tcpstat completions`: shell completions.

mod fish;

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use clap_complete::generate;

use super::{arguments, write_out};

pub(super) const EXAMPLES: &str = "Examples:
  tcpstat completions bash > /usr/share/bash-completion/completions/tcpstat
  tcpstat completions zsh > /usr/local/share/zsh/site-functions/_tcpstat
  tcpstat completions fish > ~/.config/fish/completions/tcpstat.fish";

/// Flags of `tcpstat completions`.
#[derive(Args, Debug)]
pub(super) struct CompletionsArgs {
    /// Shell to print completions for
    #[arg(value_enum, value_name = "bash|fish|zsh")]
    shell: Shell,
}

/// The shells in which the completions are tested.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Fish,
    Zsh,
}

pub(super) fn run(args: &CompletionsArgs) -> anyhow::Result<ExitCode> {
    let mut command = arguments::command();
    let mut script = Vec::new();
    match args.shell {
        Shell::Bash => generate(clap_complete::Shell::Bash, &mut command, "tcpstat", &mut script),
        Shell::Zsh => generate(clap_complete::Shell::Zsh, &mut command, "tcpstat", &mut script),
        Shell::Fish => {
            command.build();
            script = fish::script(&command).into_bytes();
        }
    }
    write_out(&script)?;
    Ok(ExitCode::SUCCESS)
}
