//! `tcpstat top`: the states live, in the terminal.

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::Args;

use super::{counting::CountingArgs, log::colours_wanted, signals::StopSignals};
use crate::top::{Exporter, Here, LogLines, Model, Source, screen, view::Theme};

pub(super) const EXAMPLES: &str = "Examples:
  tcpstat top
  tcpstat top --interval 200ms
  tcpstat top --connect http://web-1:10048   a running exporter";

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

    /// Running exporter to look at, instead of counting here: http://HOST:PORT
    #[arg(
        long = "connect",
        value_name = "URL",
        env = "TCPSTAT_CONNECT",
        value_parser = exporter_url,
        help_heading = "Display"
    )]
    connect: Option<String>,

    #[command(flatten)]
    counting: CountingArgs,
}

/// Shows them until a key or a signal ends it. What is logged meanwhile goes to `log`.
pub(super) fn run(args: &TopArgs, log: &LogLines) -> anyhow::Result<ExitCode> {
    if !io::stdout().is_terminal() {
        bail!("top needs a terminal on standard output; `tcpstat show` prints the numbers once");
    }
    if let Some(url) = &args.connect {
        let exporter = Exporter::connect(url).with_context(|| format!("--connect {url}"))?;
        return show(args, log, Source::Exporter(exporter));
    }
    let rungs = args.counting.rungs()?;
    let counting = args.counting.load(rungs).listing_every(args.interval);
    let procfs = counting.procfs.clone();
    let tracking = counting.start()?;
    let here = Here { published: tracking.published.clone(), procfs };
    let shown = show(args, log, Source::Here(here));
    tracking.stop()?;
    shown
}

fn show(args: &TopArgs, log: &LogLines, source: Source) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let theme = Theme { colours: colours_wanted() };
    let model = Model::new(args.interval);
    runtime.block_on(async {
        let mut signals = StopSignals::new()?.with_hangup()?;
        let shown = screen::run(source, model, theme, log, signals.any()).await;
        shown.context("drawing on the terminal")
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Without a slash at its end.
fn exporter_url(text: &str) -> Result<String, String> {
    let url = text.trim_end_matches('/');
    match url.strip_prefix("http://") {
        Some(place) if !place.is_empty() && !place.contains(char::is_whitespace) => {
            Ok(url.to_owned())
        }
        _ => Err("write it like http://web-1:10048; there is no TLS".to_owned()),
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    super::duration(text, Duration::from_millis(100), Duration::from_mins(1))
}
