//! `tcpstat top`: the states live, in the terminal.

use std::{
    env,
    io::{self, IsTerminal},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::Args;

use super::{
    connect::ConnectArgs,
    counting::CountingArgs,
    dwell::DwellArgs,
    log::colours_wanted,
    restrictions::{SeccompArgs, Stays},
    signals::TopSignals,
};
use crate::{
    kernel::Needs,
    top::{
        Feed, LastLogLine, LocalHolders, Model, OwnTracker, RemoteExporter, screen, view::Theme,
    },
};

pub(super) const EXAMPLES: &str = "Examples:
  tcpstat top
  tcpstat top --interval 200ms
  tcpstat top --connect http://web-1:10048   a running exporter
  tcpstat top --connect https://web-1:10048 --connect.ca-file ca.crt
  tcpstat top --connect unix:/run/tcpstat/tcpstat.sock";

/// The most addresses and ports whose listening sockets are counted each, as with `serve`.
const LISTENERS_MAX: u32 = 100;

/// How long the tracker may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Flags of `tcpstat top`.
#[derive(Args, Debug)]
pub(super) struct TopArgs {
    /// Time between two updates; the keys + and - change it
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
    connect: ConnectArgs,

    #[command(flatten)]
    counting: CountingArgs,
}

/// Shows the view until a key or a signal ends it. The view shows `log`.
pub(super) fn run(
    args: &TopArgs,
    seccomp: SeccompArgs,
    log: &LastLogLine,
) -> anyhow::Result<ExitCode> {
    let connection = args.connect.connection()?;
    let mut restrictions = seccomp.restrict(args.needs(connection.is_some()));
    restrictions.log_refusals()?;
    if connection.is_none() {
        args.counting.check()?;
    }
    let drawable = env::var("TERM").is_ok_and(|kind| kind != "dumb");
    if !io::stdout().is_terminal() || !drawable {
        bail!(
            "top needs a terminal on standard output, and its type in TERM; \
             `tcpstat show` prints the numbers once"
        );
    }
    if let Some(connection) = connection {
        restrictions.reduce(Stays::Briefly);
        let exporter = RemoteExporter::connect(&connection)
            .with_context(|| format!("--connect {}", connection.address))?;
        return show(args, log, Feed::RemoteExporter(exporter));
    }
    let programs = args.counting.programs()?;
    let counting = args
        .counting
        .load(programs, LISTENERS_MAX, &DwellArgs::default())?
        .with_snapshots_every(args.interval)
        .with_destination(true);
    let procfs = counting.procfs.clone();
    // How the holders are read is known only when the view shows them.
    restrictions.keep_descriptors();
    restrictions.reduce(Stays::Briefly);
    let holders = LocalHolders::start(&procfs, &args.counting.netns.pods())
        .context("starting the thread that reads what processes hold")?;
    let tracking = counting.start()?;
    let tracker = OwnTracker { published: tracking.published.clone(), procfs, holders };
    let shown = show(args, log, Feed::OwnTracker(tracker));
    tracking.stop(STOP_TIMEOUT)?;
    shown
}

impl TopArgs {
    fn needs(&self, connects: bool) -> Needs {
        let needs = Needs { draws: true, ..Needs::default() };
        if connects {
            Needs { connects, ..needs }
        } else {
            Needs { bpf: true, enters_netns: self.counting.netns.enters(), ..needs }
        }
    }
}

fn show(args: &TopArgs, log: &LastLogLine, feed: Feed) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let theme = Theme { colours: colours_wanted(), unicode: is_unicode() };
    let model = Model::new(args.interval);
    runtime.block_on(async {
        let mut signals = TopSignals::new()?;
        let shown = screen::run(feed, model, theme, log, signals.any()).await;
        shown.context("drawing on the terminal")
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Whether the locale's encoding is UTF-8. Without a locale, it is assumed to be.
fn is_unicode() -> bool {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(|name| env::var(name).ok());
    let locale = set.into_iter().find(|value| !value.is_empty());
    locale.is_none_or(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.ends_with("utf-8") || locale.ends_with("utf8")
    })
}

fn interval(text: &str) -> Result<Duration, String> {
    super::values::duration(text, Duration::from_millis(100), Duration::from_mins(1))
}
