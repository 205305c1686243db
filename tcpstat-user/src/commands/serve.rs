//! `tcpstat serve`: count, and serve the metrics over HTTP.

use std::{process::ExitCode, time::Duration};

use anyhow::Context;
use clap::{ArgAction, Args, ValueHint};
use tokio::{net::TcpListener, sync::watch, task::JoinSet, time::timeout};
use tracing::info;

use super::{counting::CountingArgs, resources, signals::StopSignals, values};
use crate::{
    clock, kernel,
    textfile::{self, Textfile},
    web::{self, Exporter, ListenAddress, Recorder, StreamPlaces, TelemetryPath},
};

/// Threads that answer requests.
const WORKERS: usize = 2;

/// All that are needed: the tracker, and the one that drains the event log, besides.
const THREADS: usize = WORKERS + 2;

/// Descriptors of the runtime and of its signals, of a listener and of one file.
const DESCRIPTORS: usize = 10;

/// How long a response under way may take when it is to end.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) const EXAMPLES: &str = "Examples:
  tcpstat                                             on port 10048 of every address
  tcpstat serve --web.listen-address 127.0.0.1:10048
  tcpstat serve --textfile /var/lib/prometheus/node-exporter/tcpstat.prom
  tcpstat serve --tracer off --snapshot-interval 5s   listings alone";

/// Flags of `tcpstat serve`.
#[derive(Args, Clone, Debug)]
pub(super) struct ServeArgs {
    /// Address to listen on: HOST:PORT, or :PORT for all; repeatable
    #[arg(
        long = "web.listen-address",
        default_value = ":10048",
        value_name = "ADDRESS",
        env = "TCPSTAT_WEB_LISTEN_ADDRESS",
        value_delimiter = ',',
        value_parser = values::parsed::<ListenAddress>,
        help_heading = "Listening"
    )]
    listen_address: Vec<ListenAddress>,

    /// Path of the metrics
    #[arg(
        long = "web.telemetry-path",
        default_value = "/metrics",
        value_name = "PATH",
        env = "TCPSTAT_WEB_TELEMETRY_PATH",
        value_parser = values::parsed::<TelemetryPath>,
        value_hint = ValueHint::Other,
        help_heading = "Listening"
    )]
    telemetry_path: TelemetryPath,

    #[command(flatten)]
    counting: CountingArgs,

    /// Do not serve node_exporter's node_tcp_connection_states
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

    /// File to write node_exporter's metric to, for its textfile collector; ends in .prom
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

/// Serves until SIGTERM or SIGINT.
pub(super) fn run(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    resources::check(THREADS, DESCRIPTORS)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .on_thread_start(kernel::ask_for_short_turns)
        .enable_all()
        .build()
        .context("starting the runtime")?;
    runtime.block_on(serve(args))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(args: &ServeArgs) -> anyhow::Result<()> {
    let started = clock::now();
    let rungs = args.counting.rungs()?;
    if let Some(textfile) = &args.textfile {
        textfile.check().context("--textfile")?;
    }
    let mut stop_signals = StopSignals::new()?;
    let mut listeners = Vec::new();
    for address in &args.listen_address {
        listeners.push(web::bind(address).await?);
    }
    let counting = args.counting.load(rungs)?;
    let procfs = counting.procfs.clone();
    let tracking = counting.start()?;
    let (recorder, recording) = Recorder::new(tracking.published.clone(), procfs.clone());
    let (stop, stopped) = watch::channel(false);
    let textfile = args.textfile.clone().map(|textfile| {
        let writer = textfile::Writer {
            textfile,
            published: tracking.published.clone(),
            nudge: tracking.nudge(),
            procfs: procfs.clone(),
            interval: args.counting.snapshot_interval,
        };
        tokio::spawn(writer.run(stopped.clone()))
    });
    let exporter = Exporter {
        published: tracking.published.clone(),
        nudge: tracking.nudge(),
        procfs,
        node_exporter: !args.no_node_exporter,
        telemetry_path: args.telemetry_path.to_string(),
        recording,
        streams: StreamPlaces::default(),
        started,
    };

    let recorder = tokio::spawn(recorder.run());
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
    if let Some(textfile) = textfile {
        textfile.await?;
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
