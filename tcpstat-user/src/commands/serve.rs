//! `tcpstat serve`: count, and serve the metrics over HTTP.

use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinSet, spawn_blocking},
    time::timeout,
};
use tracing::info;

use super::{
    counting::CountingArgs,
    signals::EndSignals,
    stopping::{PATIENCE, Parts},
};
use crate::{
    clock, kernel,
    textfile::{self, Textfile},
    web::{self, Exporter, ListenAddress, Recorder, StreamPlaces},
};

pub(super) const EXAMPLES: &str = "Examples:
  tcpstat                                             on port 10048 of every address
  tcpstat serve --web.listen-address 127.0.0.1:10048
  tcpstat serve --textfile /var/lib/prometheus/node-exporter/tcpstat.prom
  tcpstat serve --tracer off --snapshot-interval 5s   listings alone";

/// Flags of `tcpstat serve`.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    /// Address to listen on: HOST:PORT, or :PORT for all; repeatable
    #[arg(
        long = "web.listen-address",
        default_value = ":10048",
        value_name = "ADDRESS",
        env = "TCPSTAT_WEB_LISTEN_ADDRESS",
        value_delimiter = ',',
        help_heading = "Listening"
    )]
    listen_address: Vec<ListenAddress>,

    /// Path of the metrics
    #[arg(
        long = "web.telemetry-path",
        default_value = "/metrics",
        value_name = "PATH",
        env = "TCPSTAT_WEB_TELEMETRY_PATH",
        value_parser = telemetry_path,
        help_heading = "Listening"
    )]
    telemetry_path: String,

    #[command(flatten)]
    counting: CountingArgs,

    /// Do not serve node_exporter's node_tcp_connection_states
    #[arg(
        long = "no-compat.node-exporter",
        env = "TCPSTAT_NO_COMPAT_NODE_EXPORTER",
        help_heading = "Compatibility"
    )]
    no_node_exporter: bool,

    /// File to write node_exporter's metric to, for its textfile collector; ends in .prom
    #[arg(
        long = "textfile",
        value_name = "PATH",
        env = "TCPSTAT_TEXTFILE",
        help_heading = "Compatibility"
    )]
    textfile: Option<Textfile>,
}

/// Serves until a signal ends it: see [`EndSignals`].
pub(super) fn run(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let signals = EndSignals::take_over()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .on_thread_start(kernel::ask_for_short_turns)
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let ended = runtime.block_on(serve(args, signals));
    // A thread that hangs in the kernel is not waited for.
    runtime.shutdown_background();
    ended.map(|()| ExitCode::SUCCESS)
}

async fn serve(args: &ServeArgs, mut signals: EndSignals) -> anyhow::Result<()> {
    let started = clock::now();
    let rungs = args.counting.rungs()?;
    if let Some(textfile) = &args.textfile {
        check(textfile).await?;
    }
    let mut listeners = Vec::new();
    for address in &args.listen_address {
        listeners.push(web::bind(address).await?);
    }
    let counting = args.counting.load(rungs);
    let procfs = counting.procfs.clone();
    let tracking = counting.start()?;
    let (recorder, recording) = Recorder::new(tracking.published.clone(), procfs.clone());
    let (stop, stopped) = watch::channel(false);
    let textfile = args.textfile.clone().map(|textfile| {
        let name = textfile.to_string();
        let writer = textfile::Writer {
            textfile,
            published: tracking.published.clone(),
            nudge: tracking.nudge(),
            procfs: procfs.clone(),
            interval: args.counting.snapshot_interval,
        };
        (name, tokio::spawn(writer.run(stopped.clone())))
    });
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
    let servers = serve_all(listeners, &exporter, &stopped)?;
    let mut parts = Parts { stop, servers, recorder, textfile, tracking };
    let ended = tokio::select! {
        signal = signals.first() => {
            info!(signal, "stopping");
            Ok(())
        }
        ended = parts.one_ended() => Err(ended),
    };
    parts.end(ended).await
}

/// Tries whether `textfile` can be written.
async fn check(textfile: &Textfile) -> anyhow::Result<()> {
    let tried = textfile.clone();
    let Ok(checked) = timeout(PATIENCE, spawn_blocking(move || tried.check())).await else {
        bail!("--textfile: {textfile}: its file system does not answer within {PATIENCE:?}");
    };
    let removed = checked?.context("--textfile")?;
    if removed > 0 {
        info!(
            removed,
            "--textfile {textfile}: removed the temporary files of runs that were killed"
        );
    }
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

fn telemetry_path(text: &str) -> Result<String, String> {
    if !text.starts_with('/') || text.contains(['{', '}', '?', '#']) {
        return Err("a path begins with / and has none of { } ? #".to_owned());
    }
    if web::is_taken(text) {
        return Err("/, /-/healthy, /-/ready, /api and what is below /assets are taken".to_owned());
    }
    Ok(text.to_owned())
}
