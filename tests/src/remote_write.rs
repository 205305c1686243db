//! Servers that send samples to others, and those that receive them.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;

use crate::binary::path_from;
use crate::prometheus::Prometheus;
use crate::server::Server;

/// Arguments of a Prometheus that receives samples, and makes snapshots of its database.
pub const RECEIVER: [&str; 3] =
    ["--storage.tsdb.path=data", "--web.enable-remote-write-receiver", "--web.enable-admin-api"];

/// The folder of an agent's log of samples, in that of the server.
pub const AGENT_FOLDER: &str = "agent";

/// A Prometheus in agent mode: it scrapes, sends, and keeps what it could not send.
///
/// # Errors
/// As [`Server::start`].
pub fn agent(address: SocketAddr, config: &str) -> Result<Server> {
    agent_with_files(address, &[("prometheus.yml", config)])
}

/// As [`agent`], in a folder with these files (names and texts). One is prometheus.yml, its configuration.
///
/// # Errors
/// As [`Server::start`].
pub fn agent_with_files(address: SocketAddr, files: &[(&str, &str)]) -> Result<Server> {
    let args = [
        "--config.file=prometheus.yml",
        "--enable-feature=agent",
        &format!("--storage.agent.path={AGENT_FOLDER}"),
        &format!("--web.listen-address={address}"),
        "--log.level=warn",
    ];
    Server::start(&path_from("TCPSTAT_PROMETHEUS")?, &args, files, address)
}

/// The part of a configuration of Prometheus that sends to a Prometheus or a VictoriaMetrics at this address.
#[must_use]
pub fn remote_write(receiver: SocketAddr) -> String {
    format!("remote_write: [{{url: 'http://{receiver}/api/v1/write'}}]\n")
}

/// A Prometheus that scrapes nothing, and receives samples. It evaluates `rules` that often.
///
/// # Errors
/// As [`Server::start`].
pub fn receiver(address: SocketAddr, rules: &str, interval: Duration) -> Result<Prometheus> {
    let config = format!(
        "global: {{evaluation_interval: {}ms}}\nrule_files: [rules.yml]\n",
        interval.as_millis()
    );
    Prometheus::start_at(address, &RECEIVER, &config, rules)
}

/// A VictoriaMetrics of one node, with an empty database. It answers queries as Prometheus does.
///
/// # Errors
/// As [`Server::start`].
pub fn victoria_metrics(address: SocketAddr) -> Result<Prometheus> {
    let args = [
        "-storageDataPath=data",
        &format!("-httpListenAddr={address}"),
        // Else the newest 30 seconds are in no answer.
        "-search.latencyOffset=0s",
        "-loggerLevel=WARN",
    ];
    let program = path_from("TCPSTAT_VICTORIA_METRICS")?;
    Ok(Prometheus::at(Server::start(&program, &args, &[], address)?))
}

/// What evaluates rules for a VictoriaMetrics at `database`, and writes there what they record. Alerts go nowhere.
///
/// # Errors
/// As [`Server::start`].
pub fn vmalert(
    address: SocketAddr,
    database: SocketAddr,
    rules: &str,
    interval: Duration,
) -> Result<Server> {
    let args = [
        "-rule=rules.yml",
        &format!("-datasource.url=http://{database}"),
        &format!("-remoteRead.url=http://{database}"),
        &format!("-remoteWrite.url=http://{database}"),
        &format!("-httpListenAddr={address}"),
        &format!("-evaluationInterval={}ms", interval.as_millis()),
        // It must be given, and nothing listens there.
        "-notifier.url=http://127.0.0.1:9",
        "-loggerLevel=ERROR",
    ];
    // Versions before 1.91 do not know it.
    let known = |line: &&str| !line.trim_start().starts_with("keep_firing_for:");
    let rules = rules.lines().filter(known).collect::<Vec<_>>().join("\n");
    Server::start(&path_from("TCPSTAT_VMALERT")?, &args, &[("rules.yml", &rules)], address)
}
