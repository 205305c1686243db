//! `tcpstat top`: the states live, in the terminal.

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::Args;

use super::{counting::CountingArgs, log::colours_wanted, signals::StopSignals};
use crate::top::{Here, LogLines, Model, Source, screen, view::Theme};

pub(super) const EXAMPLES: &str = "Examples:
  tcpstat top
  tcpstat top --interval 200ms";

/// Flags of `tcpstat top`.
#[derive(Args, Debug)]
pub(super) struct TopArgs {
    /// Time between two looks; the keys + and - change it
    #[arg(
        long = "interval",
        default_value = "1s",
        value_name = "TIME",
        env = "TCPSTAT_INTERVAL",
        value_parser = interval,
        help_heading = "Display"
    )]
    interval: Duration,

    #[command(flatten)]
    counting: CountingArgs,
}

/// Shows them until a key or a signal ends it. What is logged meanwhile goes to `log`.
pub(super) fn run(args: &TopArgs, log: &LogLines) -> anyhow::Result<ExitCode> {
    if !io::stdout().is_terminal() {
        bail!("top needs a terminal on standard output; `tcpstat show` prints the numbers once");
    }
    let rungs = args.counting.rungs()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let counting = args.counting.load(rungs).listing_every(args.interval);
    let procfs = counting.procfs.clone();
    let tracking = counting.start()?;
    let source = Source::Here(Here { published: tracking.published.clone(), procfs });
    let theme = Theme { colours: colours_wanted() };
    let shown = runtime.block_on(async {
        let mut signals = StopSignals::new()?.with_hangup()?;
        let model = Model::new(args.interval);
        screen::run(source, model, theme, log, signals.any())
            .await
            .context("drawing on the terminal")
    });
    tracking.stop()?;
    shown.map(|()| ExitCode::SUCCESS)
}

fn interval(text: &str) -> Result<Duration, String> {
    super::duration(text, Duration::from_millis(100), Duration::from_mins(1))
}
