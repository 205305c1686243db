//! A fault on many hosts is one message: the configuration and the templates that tcpstat prints, in a real Alertmanager.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tcpstat_tests::alertmanager;
use tcpstat_tests::binary::printed;
use tcpstat_tests::fleet::{Fleet, LEAKING_SCOPE, Profile, RollOut, Served, Shape, Template};
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::mailbox::{Mailbox, Message};
use tcpstat_tests::mounts::PrivateMounts;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::prometheus::Prometheus;
use tcpstat_tests::rules::scaled;
use tcpstat_tests::server::Server;
use tcpstat_tests::webhook::Webhook;

use crate::scene::DEADLINE;

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        a_fault_on_500_hosts_is_one_message_that_counts_them,
        hosts_of_two_clusters_with_the_same_instance_are_two_hosts,
        a_leak_that_a_roll_out_brings_is_one_message_and_so_is_a_lost_site
    ]
}

/// The durations of the rules are divided by this.
const DIVISOR: u64 = 30;

/// The durations of Alertmanager's configuration are divided by this where the alerts come from Prometheus.
const WAITS: u64 = 12;

/// Between two scrapes and two evaluations. As with the shipped durations, two of them are shorter than the wait for the
/// other alerts of a group.
const INTERVAL: Duration = Duration::from_secs(2);

/// Hosts of the simulated fleet, in ten sites, and those of them that leak after the roll-out.
const HOSTS: u64 = 120;
const LEAKING: u64 = 100;

/// Bytes of a message, whatever the number of hosts.
const BOUND: usize = 3000;

/// Alertmanager with what tcpstat prints, and what it sends to.
struct Pager {
    webhook: Webhook,
    mailbox: Mailbox,
    _alertmanager: Server,
}

impl Pager {
    /// The durations of its configuration are divided by `divisor`.
    fn start(divisor: u64) -> Result<Self> {
        let (webhook, mailbox) = (Webhook::listen()?, Mailbox::listen()?);
        let config = alertmanager::shipped(webhook.address(), mailbox.address())?;
        let alertmanager =
            alertmanager::start(&PrivateMounts::enter()?, &scaled(&config, divisor)?)?;
        Ok(Self { webhook, mailbox, _alertmanager: alertmanager })
    }

    /// Waits for a mail with that subject, and returns it and the subjects of all before it.
    fn await_mail(&self, wanted: &str) -> Result<(Message, Vec<String>)> {
        let mut subjects = Vec::new();
        loop {
            let message = self.mailbox.next(DEADLINE);
            let message = message.with_context(|| format!("no {wanted:?}, but {subjects:#?}"))?;
            let subject = subject(&message)?;
            if subject == wanted {
                return Ok((message, subjects));
            }
            subjects.push(subject);
        }
    }
}

fn subject(message: &Message) -> Result<String> {
    let header = message.header.replace("\n ", " ");
    let subject = header.lines().find_map(|line| line.strip_prefix("Subject: "));
    Ok(subject.context("no subject")?.to_owned())
}

/// An alert about a host, as the rules make it.
fn alert(name: &str, summary: &str, host: &str, labels: &[(&str, &str)]) -> Value {
    let instance = format!("{host}:10048");
    let mut all = json!({"alertname": name, "job": "tcpstat", "severity": "warning"});
    all["instance"] = instance.into();
    for (label, value) in labels {
        all[label] = (*value).into();
    }
    let annotations = json!({
        "summary": format!("{summary} on {host}."),
        "description": format!("About {host}."),
        "runbook_url": format!("http://{host}:10048/runbook#{name}"),
    });
    json!({"labels": all, "annotations": annotations})
}

fn a_fault_on_500_hosts_is_one_message_that_counts_them(_: &Namespace) -> Result<()> {
    const LEAK: &str = "Sockets leak in CLOSE_WAIT";
    let pager = Pager::start(60)?;
    let hosts: Vec<_> = (0..500).map(|number| format!("web{number:03}")).collect();
    // Two pods of the same program on each host, in two sites.
    let mut alerts = Vec::new();
    for (number, host) in hosts.iter().enumerate() {
        let site = if number % 2 == 0 { "berlin" } else { "oslo" };
        for pod in ["shop/web-7d9f8b6c5d-x2x4q", "shop/web-7d9f8b6c5d-b5z7k"] {
            let labels = [("netns", pod), ("scope", "shop/web"), ("site", site)];
            alerts.push(alert("TcpCloseWaitLeak", LEAK, host, &labels));
        }
    }
    // What the same host has in another scope, what is wrong with the program that cannot count, and a lost site.
    alerts.push(alert("TcpCloseWaitLeak", LEAK, "web000", &[("scope", "port 8080")]));
    let blind = "tcpstat does not count in the kernel";
    alerts.push(alert("TcpstatTracerDown", blind, "web001", &[]));
    alerts.push(alert("TcpstatDrift", "tcpstat drifts from the kernel's list", "web001", &[]));
    let silent = "tcpstat does not answer";
    for number in 0..400 {
        let host = format!("db{number:03}");
        let site = [("site", "bergen")];
        alerts.push(alert("TcpstatDown", silent, &host, &site));
        // An older alert about it.
        alerts.push(alert("TcpSynFlood", "Too many half-open connections", &host, &site));
    }
    let absent = json!({"alertname": "TcpstatAbsent", "severity": "warning"});
    alerts.push(json!({"labels": absent, "annotations": {"summary": "No tcpstat is scraped."}}));
    alertmanager::send(&alerts)?;

    let mut messages = Vec::new();
    for _ in 0..5 {
        let message = pager.mailbox.next(DEADLINE)?;
        messages.push((subject(&message)?, message.body));
    }
    messages.sort();
    let subjects: Vec<_> = messages.iter().map(|(subject, _)| subject.as_str()).collect();
    let expected = [
        "[FIRING] No tcpstat is scraped",
        "[FIRING] Sockets leak in CLOSE_WAIT on 500 hosts, in shop/web",
        "[FIRING] Sockets leak in CLOSE_WAIT on web000, port 8080",
        "[FIRING] tcpstat does not answer on 400 hosts, site bergen",
        "[FIRING] tcpstat does not count in the kernel on web001",
    ];
    assert_eq!(subjects, expected);
    let leak = &messages[1].1;
    let names = hosts[..10].join(", ");
    let parts = [
        "Sockets leak in CLOSE_WAIT on 500 hosts, in shop/web.",
        &format!("Hosts: {names}, and 490 more."),
        "The first of 1000 alerts: About web000.",
        "http://web000:10048/runbook",
        "Alert: TcpCloseWaitLeak",
    ];
    for part in parts {
        ensure!(leak.contains(part), "no {part:?} in {leak}");
    }
    for (_, body) in &messages {
        ensure!(body.len() < BOUND, "{} bytes: {body}", body.len());
    }
    // The JSON is bounded too.
    let body =
        pager.webhook.await_body(DEADLINE, |body| body["groupLabels"]["scope"] == "shop/web")?;
    assert_eq!(body["alerts"].as_array().map(Vec::len), Some(10));
    assert_eq!(body["truncatedAlerts"], 990);
    let rest = pager.mailbox.rest()?;
    ensure!(rest.is_empty(), "{rest:#?}");

    // Three hosts are repaired.
    let ended = |alert: &Value| {
        let mut alert = alert.clone();
        alert["endsAt"] = "2026-01-01T00:00:00Z".into();
        alert
    };
    alertmanager::send(&alerts[..6].iter().map(ended).collect::<Vec<_>>())?;
    let wanted = "[FIRING] Sockets leak in CLOSE_WAIT on 497 hosts, in shop/web";
    let (message, before) = pager.await_mail(wanted)?;
    ensure!(before.is_empty(), "{before:#?}");
    let ended =
        "Sockets leak in CLOSE_WAIT: no longer reported of 3 hosts: web000, web001, web002.";
    ensure!(message.body.contains(ended), "{}", message.body);
    Ok(())
}

/// Each cluster has a Prometheus of its own, and numbers its hosts alike.
fn hosts_of_two_clusters_with_the_same_instance_are_two_hosts(_: &Namespace) -> Result<()> {
    let pager = Pager::start(60)?;
    let mut alerts = Vec::new();
    for cluster in ["berlin", "oslo"] {
        for host in ["10.0.0.1", "10.0.0.2"] {
            for pod in ["shop/web-7d9f8b6c5d-x2x4q", "shop/web-7d9f8b6c5d-b5z7k"] {
                let labels = [("netns", pod), ("scope", "shop/web"), ("cluster", cluster)];
                alerts.push(alert("TcpCloseWaitLeak", "Sockets leak", host, &labels));
            }
        }
    }
    // It inhibits the alerts about this host, and not those about the other one.
    let labels = [("cluster", "berlin")];
    alerts.push(alert("TcpstatDown", "tcpstat does not answer", "10.0.0.1", &labels));
    alertmanager::send(&alerts)?;
    let wanted = "[FIRING] Sockets leak on 3 hosts, in shop/web";
    let (leak, before) = pager.await_mail(wanted)?;
    let expected = "Hosts: 10.0.0.1, 10.0.0.2, 10.0.0.2 (oslo).";
    ensure!(leak.body.contains(expected), "{}", leak.body);
    if before.is_empty() {
        pager.await_mail("[FIRING] tcpstat does not answer on 10.0.0.1, cluster berlin")?;
    }
    Ok(())
}

/// What the rules of a leak read of a host.
fn shape() -> Result<Shape> {
    let mut text = "# TYPE tcpstat_build_info gauge\ntcpstat_build_info{version=\"0.2.0\"} 1\n\
        # TYPE tcpstat_netns_connections gauge\n\
        tcpstat_netns_connections{netns=\"shop\",state=\"established\"} 40\n\
        # TYPE tcpstat_netns_close_wait_aged_connections gauge\n"
        .to_owned();
    for age in ["1m", "5m", "1h"] {
        let labels = format!("netns=\"{LEAKING_SCOPE}\",older_than=\"{age}\"");
        text.extend(["tcpstat_netns_close_wait_aged_connections{", &labels, "} 0\n"]);
    }
    let template = Template::parse(&text)?;
    Ok(Shape { counting: template.clone(), blind: template })
}

fn a_leak_that_a_roll_out_brings_is_one_message_and_so_is_a_lost_site(_: &Namespace) -> Result<()> {
    let pager = Pager::start(WAITS)?;
    #[expect(clippy::cast_precision_loss, reason = "it is small")]
    let fleet = Fleet { speed: DIVISOR as f64, ..Fleet::quiet(HOSTS) };
    let served = Served::start(fleet, vec![(Profile::Scopes, shape()?)])?;
    let config = served.config(Profile::Scopes, INTERVAL, &alertmanager::alerting());
    let prometheus = Prometheus::start(&config, &scaled(&printed(&["rules"])?, DIVISOR)?)?;
    let scraped = format!("sum(count by (job) (tcpstat_build_info)) == {HOSTS}");
    prometheus.await_query(&scraped, DEADLINE, |answer| !answer.is_empty())?;

    let begins = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
    served.change(|fleet| {
        fleet.roll_out = Some(RollOut { begins, lasts: 0.0, leaking: LEAKING });
    });
    let wanted =
        format!("[FIRING] Sockets leak in CLOSE_WAIT on {LEAKING} hosts, in {LEAKING_SCOPE}");
    let (leak, before) = pager.await_mail(&wanted).with_context(|| prometheus.log())?;
    ensure!(
        leak.body.contains(&format!(", and {} more.", LEAKING - 10)) && leak.body.len() < BOUND,
        "{}",
        leak.body
    );
    served.change(|fleet| fleet.lost_site = Some(3));
    let wanted = "[FIRING] tcpstat does not answer on 12 hosts, site site-3";
    let (lost, between) = pager.await_mail(wanted).with_context(|| prometheus.log())?;
    ensure!(lost.body.contains(", and 2 more."), "{}", lost.body);

    // A machine that stands still can make the first message one about fewer hosts, which a second one of the same group
    // follows, and can make hosts of other sites silent.
    let is_known = |subject: &String| {
        subject.contains("Sockets leak in CLOSE_WAIT on ")
            || subject.contains("does not answer on ")
    };
    let others = before.iter().chain(&between).filter(|subject| !is_known(subject));
    let others: Vec<_> = others.collect();
    ensure!(others.is_empty(), "{others:#?}");
    // A mail can arrive before what the webhook receives about the same.
    let parts = ["TcpCloseWaitLeak", "site-3"];
    let key = |body: &Value| body["groupKey"].as_str().unwrap_or_default().to_owned();
    let mut keys = BTreeSet::new();
    pager.webhook.await_body(DEADLINE, |body| {
        keys.insert(key(body));
        parts.iter().all(|part| keys.iter().any(|key| key.contains(part)))
    })?;
    keys.extend(pager.webhook.rest()?.iter().map(key));
    for part in parts {
        let groups: Vec<_> = keys.iter().filter(|key| key.contains(part)).collect();
        ensure!(groups.len() == 1, "{part}: {groups:#?}");
    }
    Ok(())
}
