//! An Alertmanager with a configuration of a test.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use anyhow::{Context, Result, ensure};

use serde_json::Value;

use crate::binary::{path_from, printed};
use crate::mounts::PrivateMounts;
use crate::server::Server;

/// Where it listens: every namespace has its own loopback.
const ADDRESS: &str = "127.0.0.1:9093";

/// Starts it in the network namespace of the calling thread, with the templates that tcpstat prints in `tcpstat.tmpl`.
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
    let template = printed(&["alertmanager", "--template"])?;
    let files = [("alertmanager.yml", config), ("tcpstat.tmpl", template.as_str())];
    Server::start(&program, &args, &files, ADDRESS.parse()?)
}

/// The configuration that tcpstat prints, with the addresses of a test.
///
/// # Errors
/// Fails if an address is not once in it.
pub fn shipped(webhook: SocketAddr, mailbox: SocketAddr) -> Result<String> {
    let mut config = printed(&["alertmanager"])?;
    for (example, own) in [
        ("'mail.example:25'", format!("'{mailbox}'\n  smtp_require_tls: false")),
        ("'http://pager.example/alerts'", format!("'http://{webhook}/'")),
    ] {
        ensure!(config.matches(example).count() == 1, "{example} is not once in {config}");
        config = config.replace(example, &own);
    }
    Ok(config)
}

/// Sends it alerts, as Prometheus does.
///
/// # Errors
/// Fails if it does not accept them.
pub fn send(alerts: &[Value]) -> Result<()> {
    let body = serde_json::to_string(alerts)?;
    let mut stream = TcpStream::connect(ADDRESS)?;
    let head = format!(
        "POST /api/v2/alerts HTTP/1.1\r\nHost: {ADDRESS}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    Ok(())
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
