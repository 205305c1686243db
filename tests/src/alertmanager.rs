//! An Alertmanager with a configuration of a test.

use std::path::Path;

use anyhow::{Context, Result};

use crate::binary::path_from;
use crate::mounts::PrivateMounts;
use crate::server::Server;

/// Where it listens: every namespace has its own loopback.
const ADDRESS: &str = "127.0.0.1:9093";

/// Starts it in the network namespace of the calling thread.
///
/// # Errors
/// As [`Server::start`].
pub fn start(mounts: &PrivateMounts, config: &str) -> Result<Server> {
    let args = [
        "--config.file=alertmanager.yml",
        "--storage.path=data",
        &format!("--web.listen-address={ADDRESS}"),
        // No cluster.
        "--cluster.listen-address=",
    ];
    let program = path_from("TCPSTAT_ALERTMANAGER")?;
    show_templates(mounts, &program)?;
    Server::start(&program, &args, &[("alertmanager.yml", config)], ADDRESS.parse()?)
}

/// The part of a configuration of Prometheus that names it.
#[must_use]
pub fn alerting() -> String {
    format!("alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{ADDRESS}']}}]}}]}}\n")
}

/// Debian's Alertmanager reads its templates from /usr/share. They are missing there if its package is unpacked in
/// another folder.
fn show_templates(mounts: &PrivateMounts, program: &Path) -> Result<()> {
    let prefix = program.parent().and_then(Path::parent).context("no bin directory")?;
    let unpacked = prefix.join("share");
    let installed = Path::new("/usr/share");
    let template = "prometheus/alertmanager/default.tmpl";
    if unpacked.join(template).exists() && !installed.join(template).exists() {
        mounts.replace(installed, &unpacked)?;
    }
    Ok(())
}
