//! An alert about real sockets, sent by Alertmanager.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tcpstat_tests::alertmanager;
use tcpstat_tests::binary::printed;
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

/// Time between two leaked sockets.
const LEAK_INTERVAL: Duration = Duration::from_millis(100);

fn a_leak_in_close_wait_reaches_the_webhook(_: &Namespace) -> Result<()> {
    let webhook = Webhook::listen()?;
    let _alertmanager = start_alertmanager(&webhook)?;
    // Ages are in real minutes, while those of the rules are divided. Without a tracer there are no ages.
    let exporter = Exporter::start(&["--snapshot-interval=1s", "--tracer=off"])?;
    let rules = scaled(&printed(&["rules"])?, DIVISOR)?;
    let config = config(&[exporter.address()], &alertmanager::alerting());
    let prometheus = Prometheus::start(&config, &rules)?;

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
    alertmanager::start(&PrivateMounts::enter()?, &config)
}
