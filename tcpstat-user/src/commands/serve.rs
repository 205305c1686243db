//! `tcpstat serve`: count, and serve the metrics over HTTP.

use std::{
    process::ExitCode,
    sync::{Arc, mpsc::channel},
    thread::Builder,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::{ArgAction, Args, ValueHint};
use tokio::{sync::watch, task::spawn_blocking};
use tracing::{info, warn};

use super::{
    arguments, contradiction,
    counting::CountingArgs,
    dwell::DwellArgs,
    listening::ListeningArgs,
    resources,
    restrictions::{Restrictions, SeccompArgs, Stays},
    signals::ServeSignals,
    stopping::Parts,
    values,
    web::WebArgs,
};
use crate::{
    clock,
    kernel::{self, Kept, Needs, Program},
    metrics::Compat,
    textfile::{self, Textfile},
    tracker::NetnsChoice,
    web::{self, AppState, ConfigFile, PassedSockets, Recorder, ScrapeSource, Scrapes, Server},
};

/// Threads that answer requests.
const WORKERS: usize = 2;

/// Most threads that do what would block a worker: encode answers, check passwords, and read and write files. They never
/// end, so that such work waits for a thread if the kernel starts no other one. Without any the runtime panics.
const BLOCKING: usize = 8;

/// Longer than any process runs.
const FOREVER: Duration = Duration::from_hours(1_000_000);

/// Threads that are needed: besides the workers, those that write the log, wait for signals and for refused system calls,
/// read for scrapes, run the tracker, and drain the event log, and two for work that blocks.
const MIN_THREADS: usize = WORKERS + 8;

/// In this time a thread starts on a busy machine, too.
const STARTS: Duration = Duration::from_secs(1);

/// Descriptors that are needed: of the runtime, the signals, a listener, and one file.
const MIN_DESCRIPTORS: usize = 10;

/// How long the file system of the textfile may take to answer.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) const EXAMPLES: &str = "Examples:
  tcpstat                                             on port 10048 of every address
  tcpstat serve --web.listen-address 127.0.0.1:10048
  tcpstat serve --textfile /var/lib/prometheus/node-exporter/tcpstat.prom
  tcpstat serve --netns all                           each network namespace as a scope
  tcpstat serve --netns all --compat.cadvisor         also cAdvisor's metrics of pods and containers
  tcpstat serve --cgroups '*.service' --ports 80,443  also by service, and by local port
  tcpstat serve --web.config.file web.yml             TLS and basic authentication
  tcpstat serve --web.listen-address unix:/run/tcpstat/tcpstat.sock
  tcpstat serve --tracer off --snapshot-interval 5s   snapshots only";

/// Flags of `tcpstat serve`.
#[derive(Args, Clone, Debug)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    listening: ListeningArgs,

    #[command(flatten)]
    web: WebArgs,

    #[command(flatten)]
    counting: CountingArgs,

    /// Most addresses and ports whose listening sockets have series each, the fullest first; the rest is added up as
    /// `other`. 0 for no such series. Needs a tracer
    #[arg(
        long = "listeners-max",
        default_value = "100",
        value_name = "NUMBER",
        env = "TCPSTAT_LISTENERS_MAX",
        value_parser = values::number::<u32>(0..=4096),
        help_heading = "Counting"
    )]
    listeners_max: u32,

    /// Export which destination takes the most ephemeral ports, with its addresses and port as labels, and not only its
    /// number of sockets
    #[arg(
        long = "ephemeral.destination",
        env = "TCPSTAT_EPHEMERAL_DESTINATION",
        value_name = "YES|NO",
        num_args = 0..=1,
        require_equals = true,
        action = ArgAction::Set,
        default_value = "no",
        default_missing_value = "yes",
        value_parser = values::switch,
        help_heading = "Counting"
    )]
    ephemeral_destination: bool,

    #[command(flatten)]
    dwell: DwellArgs,

    /// Do not export node_exporter's metric node_tcp_connection_states
    #[arg(
        long = "no-compat.node-exporter",
        env = "TCPSTAT_NO_COMPAT_NODE_EXPORTER",
        value_name = "YES|NO",
        num_args = 0..=1,
        require_equals = true,
        action = ArgAction::Set,
        default_value = "no",
        default_missing_value = "yes",
        value_parser = values::switch,
        help_heading = "Compatibility"
    )]
    no_node_exporter: bool,

    /// Export cAdvisor's metrics container_network_tcp_usage_total and container_network_tcp6_usage_total for
    /// pods and containers; only with --netns all
    #[arg(
        long = "compat.cadvisor",
        env = "TCPSTAT_COMPAT_CADVISOR",
        value_name = "YES|NO",
        num_args = 0..=1,
        require_equals = true,
        action = ArgAction::Set,
        default_value = "no",
        default_missing_value = "yes",
        value_parser = values::switch,
        help_heading = "Compatibility"
    )]
    cadvisor: bool,

    /// File to write node_exporter's metric to, for its textfile collector; the name must end in .prom
    #[arg(
        long = "textfile",
        value_name = "PATH",
        env = "TCPSTAT_TEXTFILE",
        value_parser = values::parsed::<Textfile>,
        value_hint = ValueHint::FilePath,
        help_heading = "Compatibility"
    )]
    textfile: Option<Textfile>,
}

impl ServeArgs {
    /// The programs to try, of flags that do not contradict each other.
    fn programs(&self) -> anyhow::Result<Vec<Program>> {
        if self.cadvisor && self.counting.netns.netns != NetnsChoice::All {
            let remedy = "--compat.cadvisor: pods and containers are counted with --netns all only: add that, or leave \
                          --compat.cadvisor and TCPSTAT_COMPAT_CADVISOR out";
            return Err(contradiction(remedy).into());
        }
        let programs = self.counting.programs()?;
        self.dwell.check()?;
        self.counting.check()?;
        Ok(programs)
    }

    fn needs(&self) -> Needs {
        Needs {
            bpf: self.counting.uses_bpf(),
            enters_netns: self.counting.netns.enters(),
            writes_files: self.textfile.is_some(),
            serves: true,
            unix_sockets: self.listening.has_unix_socket(),
            connects: self.listening.has_name(),
            draws: false,
        }
    }
}

/// What is ready before the first thread starts.
struct Prepared {
    programs: Vec<Program>,
    config: Option<ConfigFile>,
    restrictions: Restrictions,
    passed: Option<PassedSockets>,
}

/// Serves until a signal ends it: see [`ServeSignals`].
pub(super) fn run(args: &ServeArgs, seccomp: SeccompArgs) -> anyhow::Result<ExitCode> {
    let passed = args.listening.passed()?;
    let mut restrictions = seccomp.restrict(args.needs());
    let signals = ServeSignals::new(args.web.has_config())?;
    restrictions.log_refusals()?;
    let descriptors = web::raise_descriptor_limit().unwrap_or_else(|error| {
        warn!("{error}");
        error.soft
    });
    resources::check(MIN_THREADS + args.counting.netns.threads(), MIN_DESCRIPTORS)?;
    let programs = args.programs()?;
    if let Some(textfile) = &args.textfile {
        let check = || check(textfile);
        restrictions.attempt(Kept::DAC_OVERRIDE, "the folder of --textfile", check)?;
    }
    let config = args.web.config(&mut restrictions)?;
    let kept = restrictions.kept();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING)
        .thread_keep_alive(FOREVER)
        .on_thread_start(move || {
            // A failure is reported when the main thread does the same.
            let _ = kept.keep();
            kernel::request_short_slices();
        })
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let prepared = Prepared { programs, config, restrictions, passed };
    let ended = runtime.block_on(serve(args, prepared, signals, descriptors));
    // Does not wait for threads, which may hang in the kernel.
    runtime.shutdown_background();
    ended.map(|()| ExitCode::SUCCESS)
}

/// Starts the two threads that go on if the kernel starts no more: the writer of the textfile can keep one of them, while
/// the file system does not answer.
async fn start_blocking_threads() -> anyhow::Result<()> {
    let (both, other) = channel();
    // The second one wakes the first one, or the kernel has started none.
    let first = spawn_blocking(move || other.recv_timeout(STARTS));
    let second = spawn_blocking(move || both.send(()));
    let _ = first.await.context("starting a thread for work that blocks")?;
    let _ = second.await.context("starting a thread for work that blocks")?;
    Ok(())
}

async fn serve(
    args: &ServeArgs,
    prepared: Prepared,
    mut signals: ServeSignals,
    descriptors: u64,
) -> anyhow::Result<()> {
    let started = clock::now();
    start_blocking_threads().await?;
    let Prepared { programs, config, mut restrictions, passed } = prepared;
    let access = args.web.access(config.as_ref(), &args.listening.telemetry_path);
    let listeners = args.listening.listeners(passed).await?;
    let counting = args.counting.load(programs, args.listeners_max, &args.dwell)?;
    let counting = counting.with_destination(args.ephemeral_destination);
    for unknown in arguments::unknown_variables() {
        warn!("{unknown}");
    }
    counting.keep(&mut restrictions);
    restrictions.reduce(Stays::Long);
    let procfs = counting.procfs.clone();
    let tracking = counting.start()?;
    let history = Arc::default();
    let scrapes = Scrapes::start(ScrapeSource {
        published: tracking.published.clone(),
        nudge: tracking.nudge(),
        procfs: procfs.clone(),
        compat: Compat { node_exporter: !args.no_node_exporter, cadvisor: args.cadvisor },
        history: Arc::clone(&history),
        web_config: config.as_ref().map(ConfigFile::status),
    })
    .map_err(|error| {
        resources::not_started("the thread that reads the values of a scrape", &error)
    })?;
    let (recorder, recording) = Recorder::new(tracking.published.clone(), scrapes.clone(), history);
    let (stop, stopped) = watch::channel(false);
    let textfile = args.textfile.clone().map(|textfile| {
        let name = textfile.to_string();
        let writer = textfile::Writer {
            textfile,
            published: tracking.published.clone(),
            nudge: tracking.nudge(),
            procfs,
            interval: args.counting.snapshot_interval,
        };
        (name, tokio::spawn(writer.run(stopped.clone())))
    });
    let state = AppState {
        published: tracking.published.clone(),
        scrapes,
        telemetry_path: args.listening.telemetry_path.to_string(),
        recording,
        started,
        events: Arc::default(),
        page: args.web.page(),
    };

    let recorder = tokio::spawn(recorder.run());
    let scheme = config.as_ref().map_or("http", |config| config.settings().borrow().scheme());
    for listener in &listeners {
        let shown = listener.shown(scheme).context("reading the address of a listening socket")?;
        info!("listening on {shown}");
    }
    if let Some(config) = config {
        info!("--web.config.file: {}", **config.settings().borrow());
        // Ends with the runtime.
        tokio::spawn(config.follow(signals.hangups()));
    }
    let server =
        Server::new(web::router(state), access, args.listening.max_requests(), descriptors);
    let server = tokio::spawn(server.serve(listeners, stopped));
    let mut parts = Parts { stop, server, recorder, textfile, tracking };
    let ended = tokio::select! {
        signal = signals.first() => {
            info!(signal, "stopping");
            Ok(())
        }
        ended = parts.one_ended() => Err(ended),
    };
    parts.end(ended).await
}

/// Checks that `textfile` can be written.
fn check(textfile: &Textfile) -> anyhow::Result<()> {
    let (report, checked) = channel();
    let cloned = textfile.clone();
    // The thread ends with the process if the file system hangs.
    Builder::new()
        .name("textfile".to_owned())
        .spawn(move || report.send(cloned.check()))
        .map_err(|error| resources::not_started("the thread that checks --textfile", &error))?;
    let Ok(checked) = checked.recv_timeout(CHECK_TIMEOUT) else {
        bail!("--textfile: {textfile}: its file system does not answer within {CHECK_TIMEOUT:?}");
    };
    let removed = checked.context("--textfile")?;
    if removed > 0 {
        info!(
            removed,
            "--textfile {textfile}: removed the temporary files of runs that were killed"
        );
    }
    Ok(())
}
