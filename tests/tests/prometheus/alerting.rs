//! An alert about real sockets, sent by Alertmanager.

use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tcpstat_tests::binary::{path_from, printed};
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::mounts::PrivateMounts;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::prometheus::Prometheus;
use tcpstat_tests::rules::scaled;
use tcpstat_tests::server::Server;
use tcpstat_tests::webhook::Webhook;

use crate::scene::{DEADLINE, DIVISOR, config, leak};

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![a_leak_in_close_wait_reaches_the_webhook]
}

const ALERTMANAGER: &str = "127.0.0.1:9093";

/// Time between two leaked sockets.
const LEAK_INTERVAL: Duration = Duration::from_millis(100);

fn a_leak_in_close_wait_reaches_the_webhook(_: &Namespace) -> Result<()> {
    let webhook = Webhook::listen()?;
    let _alertmanager = start_alertmanager(&webhook)?;
    // Ages are in real minutes, while those of the rules are divided. Without a tracer there are no ages.
    let exporter = Exporter::start(&["--snapshot-interval=1s", "--tracer=off"])?;
    let alerting = format!(
        "alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{ALERTMANAGER}']}}]}}]}}\n"
    );
    let rules = scaled(&printed(&["rules"])?, DIVISOR)?;
    let prometheus = Prometheus::start(&config(&[exporter.address()], &alerting), &rules)?;

    let (stop, stopped) = channel::<()>();
    let leaking = thread::spawn(move || -> Result<usize> {
        let mut leaked = Vec::new();
        while stopped.recv_timeout(LEAK_INTERVAL) == Err(RecvTimeoutError::Timeout) {
            leaked.push(leak()?);
        }
        Ok(leaked.len())
    });
    let body = webhook.await_body(DEADLINE, |body| alert(body).is_some());
    let body = body.with_context(|| prometheus.log())?;
    drop(stop);
    let leaked = leaking.join().unwrap_or_else(|_| bail!("the leak panicked"))?;

    let alert = alert(&body).context("no alert")?;
    let instance = exporter.address().to_string();
    assert_eq!(alert["status"], "firing");
    assert_eq!(alert["labels"]["instance"], *instance);
    assert_eq!(alert["labels"]["severity"], "warning");
    let summary = format!("Sockets leak in CLOSE_WAIT on {}.", exporter.address().ip());
    assert_eq!(alert["annotations"]["summary"], *summary);
    let description = alert["annotations"]["description"].as_str().context("no description")?;
    assert!(description.ends_with("sudo tcpstat who close_wait"), "{description}");
    // Enough for the alert to be about them.
    assert!(leaked > 50, "{leaked}");
    Ok(())
}

fn alert(body: &Value) -> Option<&Value> {
    let alerts = body["alerts"].as_array()?;
    alerts.iter().find(|alert| alert["labels"]["alertname"] == "TcpCloseWaitLeak")
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

fn start_alertmanager(webhook: &Webhook) -> Result<Server> {
    let config = format!(
        "\
route: {{receiver: test, group_by: [alertname], group_wait: 0s, group_interval: 1s}}
receivers:
  - name: test
    webhook_configs:
      - url: http://{}/
",
        webhook.address()
    );
    let args = [
        "--config.file=alertmanager.yml",
        "--storage.path=data",
        &format!("--web.listen-address={ALERTMANAGER}"),
        // No cluster.
        "--cluster.listen-address=",
    ];
    let program = path_from("TCPSTAT_ALERTMANAGER")?;
    let mounts = PrivateMounts::enter()?;
    show_templates(&mounts, &program)?;
    Server::start(&program, &args, &[("alertmanager.yml", &config)], ALERTMANAGER.parse()?)
}
