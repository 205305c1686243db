//! `tcpstat serve`: count, and serve the metrics over HTTP.

use std::{error::Error, process::ExitCode, time::Duration};

use anyhow::Context;
use clap::Args;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
    time::timeout,
};
use tracing::{debug, info, warn};

use super::{ProcfsArgs, TracerChoice};
use crate::{
    clock,
    kernel::{self, Attempt, Program, Tracer},
    procfs::Procfs,
    tracker::{SourceChoice, Tracker},
    web::{self, Exporter, ListenAddress, Recorder, StreamPlaces},
};

/// How long a response under way may take when it is to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// Flags of `tcpstat serve`.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    /// Address to listen on: HOST:PORT, or :PORT for all. May be given several times.
    #[arg(
        long = "web.listen-address",
        default_value = ":10048",
        value_name = "ADDRESS",
        env = "TCPSTAT_WEB_LISTEN_ADDRESS",
        value_delimiter = ','
    )]
    listen_address: Vec<ListenAddress>,

    /// Path of the metrics.
    #[arg(
        long = "web.telemetry-path",
        default_value = "/metrics",
        value_name = "PATH",
        env = "TCPSTAT_WEB_TELEMETRY_PATH",
        value_parser = telemetry_path
    )]
    telemetry_path: String,

    #[command(flatten)]
    procfs: ProcfsArgs,

    /// Time between two listings of all sockets: the ledger is held against each.
    #[arg(
        long = "snapshot-interval",
        default_value = "15s",
        value_name = "TIME",
        env = "TCPSTAT_SNAPSHOT_INTERVAL",
        value_parser = snapshot_interval
    )]
    snapshot_interval: Duration,

    /// Who lists all sockets.
    #[arg(
        long = "snapshot",
        default_value = "auto",
        value_name = "SOURCE",
        env = "TCPSTAT_SNAPSHOT",
        value_enum
    )]
    snapshot: SourceChoice,

    /// The BPF program that counts; several, best first, with commas between.
    #[arg(
        long = "tracer",
        default_value = "auto",
        value_name = "PROGRAM",
        env = "TCPSTAT_TRACER",
        value_delimiter = ',',
        value_enum
    )]
    tracer: Vec<TracerChoice>,

    /// Do not serve node_exporter's node_tcp_connection_states.
    #[arg(long = "no-compat.node-exporter", env = "TCPSTAT_NO_COMPAT_NODE_EXPORTER")]
    no_node_exporter: bool,
}

/// Serves until SIGTERM or SIGINT.
pub(super) fn run(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .on_thread_start(kernel::ask_for_short_turns)
        .enable_all()
        .build()
        .context("starting the runtime")?;
    runtime.block_on(serve(args))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(args: &ServeArgs) -> anyhow::Result<()> {
    let started = clock::now();
    let rungs = TracerChoice::rungs(&args.tracer)?;
    let mut stop_signals = StopSignals::new()?;
    let mut listeners = Vec::new();
    for address in &args.listen_address {
        listeners.push(web::bind(address).await?);
    }
    let procfs = args.procfs.procfs();
    let tracer = find_tracer(&rungs, &procfs);
    let tracker = Tracker {
        procfs: procfs.clone(),
        tracer,
        rungs,
        source: args.snapshot,
        snapshot_interval: args.snapshot_interval,
    };
    let tracking = tracker.start()?;
    let (recorder, recording) = Recorder::new(tracking.published.clone(), procfs.clone());
    let exporter = Exporter {
        published: tracking.published.clone(),
        nudge: tracking.nudge(),
        procfs,
        node_exporter: !args.no_node_exporter,
        telemetry_path: args.telemetry_path.clone(),
        recording,
        streams: StreamPlaces::default(),
        started,
    };

    let recorder = tokio::spawn(recorder.run());
    let (stop, stopped) = watch::channel(false);
    let mut servers = serve_all(listeners, &exporter, &stopped)?;
    let mut published = tracking.published.clone();
    let tracker_ended = async { while published.changed().await.is_ok() {} };
    let ended_by_itself = tokio::select! {
        signal = stop_signals.any() => {
            info!(signal, "stopping");
            false
        }
        () = tracker_ended => true,
    };
    stop.send_replace(true);
    // Streams end with it.
    recorder.abort();
    if !ended_by_itself {
        let ended = async { while servers.join_next().await.is_some() {} };
        if timeout(PATIENCE, ended).await.is_err() {
            info!("connections whose other side does not read are cut off");
        }
    }
    tokio::task::spawn_blocking(|| tracking.stop()).await??;
    Ok(())
}

/// One server for each listener, until `stopped` says so.
fn serve_all(
    listeners: Vec<TcpListener>,
    exporter: &Exporter,
    stopped: &watch::Receiver<bool>,
) -> anyhow::Result<JoinSet<std::io::Result<()>>> {
    let mut servers = JoinSet::new();
    for listener in listeners {
        let address = listener.local_addr().context("asking for the address listened on")?;
        info!("listening on http://{address}");
        let mut stopped = stopped.clone();
        let until_stopped = async move {
            // An error means that the sender is gone, which is a stop too.
            let _ = stopped.wait_for(|stopped| *stopped).await;
        };
        let server = axum::serve(listener, web::router(exporter.clone()))
            .with_graceful_shutdown(until_stopped);
        servers.spawn(async move { server.await });
    }
    Ok(servers)
}

/// The first tracer that runs; without one a warning says what each rung lacks.
fn find_tracer(rungs: &[Program], procfs: &Procfs) -> Option<Tracer> {
    if rungs.is_empty() {
        info!("the tracer is off: serving snapshots alone");
        return None;
    }
    let netns_inum = match procfs.netns_inum() {
        Ok(inum) => inum,
        Err(error) => {
            warn!(
                "serving snapshots alone: {error}: this is no mounted procfs, so the network namespace to count is unknown"
            );
            return None;
        }
    };
    let (tracer, refused) = kernel::climb(rungs, netns_inum);
    for Attempt { program, error } in &refused {
        debug!(program = program.word(), source = ?error.source(), "refused");
    }
    let told = |Attempt { program, error }: &Attempt| {
        format!("{}: {error}; {}", program.word(), error.remedy())
    };
    let refused: Vec<_> = refused.iter().map(told).collect();
    if let Some(tracer) = &tracer {
        if !refused.is_empty() {
            info!("not the first choice, which does not run: {}", refused.join("; "));
        }
        for refusal in &tracer.hooks_refused {
            debug!(hooks = refusal.group, source = ?refusal.error.source(), "refused: {refusal}");
        }
        let hooks = tracer.hooks.word();
        info!(program = tracer.program.word(), hooks, "counting in the kernel");
    } else {
        warn!("serving snapshots alone, no tracer runs: {}", refused.join("; "));
    }
    tracer
}

struct StopSignals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl StopSignals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("handling SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("handling SIGINT")?,
        })
    }

    async fn any(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

fn telemetry_path(text: &str) -> Result<String, String> {
    if !text.starts_with('/') || text.contains(['{', '}', '?', '#']) {
        return Err("a path begins with / and has none of { } ? #".to_owned());
    }
    if web::is_taken(text) {
        return Err("/, /-/healthy, /-/ready, /api and what is below /assets are taken".to_owned());
    }
    Ok(text.to_owned())
}

fn snapshot_interval(text: &str) -> Result<Duration, String> {
    const SHORTEST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_hours(24);
    let interval = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write it like 15s, 500ms or 1h"))?;
    if (SHORTEST..=LONGEST).contains(&interval) {
        Ok(interval)
    } else {
        Err("at least 100ms, at most 1day".to_owned())
    }
}
