//! One of five services leaks: one message says where, and its command names the process.

use std::env;
use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tcpstat_tests::alertmanager;
use tcpstat_tests::binary::printed;
use tcpstat_tests::cgroups::Cgroup;
use tcpstat_tests::container::{Container, Maker};
use tcpstat_tests::harness::{Test, kernel_test};
use tcpstat_tests::mailbox::Mailbox;
use tcpstat_tests::mounts::PrivateMounts;
use tcpstat_tests::prometheus::Prometheus;
use tcpstat_tests::resident::{Order, Resident};
use tcpstat_tests::rules::{scaled, with_least_age};
use tcpstat_tests::scopes::all_namespaces;
use tcpstat_tests::service::{Clients, Request};
use tcpstat_tests::webhook::Webhook;

use crate::message::Leak;

/// Set for the shipped rules and intervals, unchanged: a case takes 12 minutes.
const REAL_TIME: &str = "TCPSTAT_REAL_TIME";

/// The durations of rules and configurations are divided by this. A minute, the smallest age that tcpstat exports, is
/// not.
const DIVISOR: u64 = 20;

/// Between two scrapes, two evaluations, and two snapshots, undivided.
const INTERVAL: Duration = Duration::from_secs(15);

/// Of Alertmanager in the configuration that tcpstat prints.
const GROUP_INTERVAL: Duration = Duration::from_mins(5);

/// The first is in a container, the second in a unit.
const SERVICES: [(&str, u16); 5] =
    [("shop", 8080), ("mail", 8025), ("api", 8081), ("login", 8082), ("search", 8083)];

pub(crate) fn tests() -> Vec<Test> {
    let cases = [("container", SERVICES[0].0), ("unit", SERVICES[1].0)];
    let test = |(place, name): (&str, &'static str)| {
        let title = format!("a_leak_in_a_{place}_is_one_message_that_leads_to_the_process");
        kernel_test(title, move |_| one_leaks(name))
    };
    cases.map(test).into()
}

/// How fast the story goes.
struct Clock {
    divisor: u64,
    /// Between two leaked sockets.
    leak_pause: Duration,
    /// For the message.
    deadline: Duration,
}

impl Clock {
    fn chosen() -> Self {
        if env::var_os(REAL_TIME).is_some() {
            let deadline = Duration::from_mins(20);
            return Self { divisor: 1, leak_pause: Duration::from_secs(1), deadline };
        }
        let deadline = Duration::from_mins(3);
        Self { divisor: DIVISOR, leak_pause: Duration::from_millis(200), deadline }
    }

    fn of(&self, duration: Duration) -> Duration {
        duration.div_f64(f64::from(u32::try_from(self.divisor).unwrap_or(u32::MAX)))
    }

    fn rules(&self) -> Result<String> {
        let shipped = printed(&["rules"])?;
        if self.divisor == 1 {
            return Ok(shipped);
        }
        let rules = with_least_age(&shipped);
        ensure!(rules != shipped, "the rules have no age of five minutes");
        scaled(&rules, self.divisor)
    }
}

/// A running service.
struct Service {
    name: &'static str,
    port: u16,
    home: Home,
}

enum Home {
    Host(Resident),
    Container(Container),
}

impl Service {
    fn start(name: &'static str, port: u16, home: Home) -> Result<Self> {
        let mut service = Self { name, port, home };
        let resident = match &mut service.home {
            Home::Host(resident) => resident,
            Home::Container(container) => &mut container.resident,
        };
        resident.order(&Order::Name(name.to_owned()))?;
        resident.order(&Order::Serve(port))?;
        Ok(service)
    }

    fn pid(&self) -> u32 {
        match &self.home {
            Home::Host(resident) => resident.pid(),
            Home::Container(container) => container.resident.pid(),
        }
    }

    fn clients(&self, request: Request, pause: Duration) -> Result<Clients> {
        let namespace = match &self.home {
            Home::Host(_) => None,
            Home::Container(container) => Some(File::open(container.resident.namespace_file())?),
        };
        Ok(Clients::start(request, self.port, namespace, pause))
    }
}

fn start_all(unit: &Cgroup) -> Result<[Service; 5]> {
    let [shop, mail, others @ ..] = SERVICES;
    let container = Home::Container(Container::run(Maker::Docker)?);
    let in_unit = Home::Host(unit.inside(Resident::start)?);
    let host = |(name, port)| Service::start(name, port, Home::Host(Resident::start()?));
    let [first, second, third] = others.map(host);
    Ok([
        Service::start(shop.0, shop.1, container)?,
        Service::start(mail.0, mail.1, in_unit)?,
        first?,
        second?,
        third?,
    ])
}

fn one_leaks(name: &str) -> Result<()> {
    let clock = Clock::chosen();
    let unit = Cgroup::new("mail.service")?;
    let services = start_all(&unit)?;
    let container = match &services[0].home {
        Home::Container(container) => container.id()[..12].to_owned(),
        Home::Host(_) => String::new(),
    };
    let mounts = PrivateMounts::enter()?;
    // To tcpstat the namespace of the test is that of the host.
    let own = format!("/proc/{}", std::process::id());
    mounts.replace(Path::new("/proc/1"), Path::new(&own))?;
    let (webhook, mailbox) = (Webhook::listen()?, Mailbox::listen()?);
    let config = alertmanager::shipped(webhook.address(), mailbox.address())?;
    let config = scaled(&config, clock.divisor)?;
    let alertmanager = alertmanager::start(&mounts, &config)?;
    let interval = format!("--snapshot-interval={}ms", clock.of(INTERVAL).as_millis());
    // A source that is named keeps the interval: the share of a processor that snapshots may take is not divided.
    let source = if clock.divisor == 1 { "--snapshot=auto" } else { "--snapshot=iter" };
    let ports = SERVICES.map(|(_, port)| port.to_string()).join(",");
    let scopes = ["--cgroups=*.service", "--ports", &ports, &interval, source];
    let exporter = all_namespaces(&scopes).start()?;
    let scraping = scraping(&clock, &container);
    let prometheus = Prometheus::start(&scraping, &clock.rules()?)?;

    let healthy =
        services.iter().map(|service| service.clients(Request::Close, Duration::from_millis(500)));
    let healthy: Vec<_> = healthy.collect::<Result<_>>()?;
    let leaky = services.iter().find(|service| service.name == name).context("no service")?;
    let begin = Instant::now();
    let leaking = leaky.clients(Request::Leak, clock.leak_pause)?;
    let body = webhook.await_body(clock.deadline, |_| true);
    let body = body.with_context(|| format!("{}{}", prometheus.log(), alertmanager.log()))?;
    let took = begin.elapsed();
    println!("{name}: the message comes {:.0} s after the first socket", took.as_secs_f64());
    let leak = Leak {
        process: (leaky.pid(), leaky.name),
        port: leaky.port,
        container: matches!(leaky.home, Home::Container(_)).then_some(container.as_str()),
        unit: &unit.path(),
        others: services.iter().map(Service::pid).filter(|pid| *pid != leaky.pid()).collect(),
    };
    let text = leak.ensure_in_payload(&body)?;
    leak.ensure_in_mail(&mailbox.next(clock.deadline)?, &body)?;
    leak.ensure_command_names_it(&text)?;

    // Alertmanager says what has changed in a group after this time.
    let end = begin + took + clock.of(GROUP_INTERVAL) + Duration::from_secs(1);
    std::thread::sleep(end.saturating_duration_since(Instant::now()));
    let (more, mail) = (webhook.rest()?, mailbox.rest()?);
    ensure!(more.is_empty() && mail.is_empty(), "more messages: {more:#?} {mail:#?}");
    leaking.end()?;
    healthy.into_iter().try_for_each(|clients| clients.end().map(drop))?;
    drop(exporter);
    Ok(())
}

/// Scrapes tcpstat, without the namespaces of tests that run beside this one.
fn scraping(clock: &Clock, container: &str) -> String {
    let interval = clock.of(INTERVAL).as_millis();
    format!(
        "\
global: {{scrape_interval: {interval}ms, scrape_timeout: {interval}ms, evaluation_interval: {interval}ms}}
rule_files: [rules.yml]
scrape_configs:
  - job_name: tcpstat
    static_configs: [{{targets: ['127.0.0.1:10048']}}]
    metric_relabel_configs:
      - {{source_labels: [netns], regex: '|host|{container}', action: keep}}
{}",
        alertmanager::alerting()
    )
}
