//! The API beside the metrics: both show the same numbers.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tcpstat_tests::ages::Ages;
use tcpstat_tests::causes::{Causes, Closed};
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::exporter::{Exporter, FREQUENT_SNAPSHOTS};
use tcpstat_tests::exposition::Scrape;
use tcpstat_tests::harness::Test;
use tcpstat_tests::held::{Addressing, Held};
use tcpstat_tests::kernel_tests;
use tcpstat_tests::listeners::{Stuck, drops, half_open, scraped};
use tcpstat_tests::loopback::{Churn, Pairs};
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::proc_view;
use tcpstat_tests::states;
use tcpstat_tests::tcp::{Family, State};
use tcpstat_tests::wire::Wire;

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        the_history_ends_with_the_numbers_of_the_metrics,
        the_status_names_program_and_hooks_and_reports_agreement,
        the_status_has_the_causes_ages_and_listeners_of_the_metrics,
        the_status_has_no_more_than_the_ten_fullest_listeners,
        the_status_has_the_fullest_destination_and_its_address_only_if_that_is_asked_for
    ]
}

fn the_history_ends_with_the_numbers_of_the_metrics(_: &Namespace) -> Result<()> {
    let mut exporter = Exporter::start(&["--snapshot-interval=1h"])?;
    for family in Family::ALL {
        Churn { threads: 1, connections: 100, family, resets: true }.run()?;
    }
    proc_view::await_quiet(DEADLINE)?;
    wait_until("history that ends as the metrics say", DEADLINE, || {
        let history = json(&mut exporter, "/api/v1/history")?;
        let difference = difference(&history, &exporter.scrape()?)?;
        Ok(difference.map_or(Progress::Done(()), Progress::NotYet))
    })
}

/// The first series of the metrics that differs from the newest sample.
fn difference(history: &Value, scrape: &Scrape) -> Result<Option<String>> {
    let last = |column: &Value| column.as_array()?.last()?.as_f64();
    for name in ["tcpstat_connections", "tcpstat_transitions_total"] {
        let series = scrape.family(name);
        assert!(series.len() >= 22, "{name}");
        for sample in series {
            let label = |label: &str| {
                sample.labels.get(label).with_context(|| format!("{name} without {label}"))
            };
            let family = label("family")?;
            let newest = if name == "tcpstat_connections" {
                last(&history["connections"][family][label("state")?])
            } else {
                let transitions = &history["transitions"][family];
                // The history omits transitions that have not occurred.
                last(&transitions[label("from")?][label("to")?]).or(Some(0.0))
            };
            if newest != Some(sample.value) {
                return Ok(Some(format!("{newest:?} instead of {sample:?}")));
            }
        }
    }
    Ok(None)
}

fn the_status_names_program_and_hooks_and_reports_agreement(_: &Namespace) -> Result<()> {
    let mut exporter = Exporter::start(&["--tracer=btf,tracepoint"])?;
    let hooks = exporter.hooks()?;
    let status = wait_until("agreement with the kernel", DEADLINE, || {
        let status = json(&mut exporter, "/api/v1/status")?;
        let agreed = status["tracer"]["agreed_ms_ago"].is_u64();
        Ok(if agreed { Progress::Done(status) } else { Progress::NotYet(status.to_string()) })
    })?;
    let tracer = &status["tracer"];
    assert_eq!(tracer["program"], "tp_btf");
    assert_eq!(tracer["consistent"], true);
    assert_eq!(tracer["drift"], Value::Array(Vec::new()));
    let groups = tracer["hooks"].as_array().context("no list of hooks")?;
    let groups: Vec<_> = groups.iter().filter_map(Value::as_str).collect();
    assert_eq!(if groups.is_empty() { "none".to_owned() } else { groups.join(",") }, hooks);
    Ok(())
}

/// A connect is refused, the peer resets a socket in CLOSE_WAIT, another one stays there, and two queues fill.
fn the_status_has_the_causes_ages_and_listeners_of_the_metrics(
    namespace: &Namespace,
) -> Result<()> {
    let wire = Wire::open(namespace)?;
    let mut exporter = Exporter::start(&FREQUENT_SNAPSHOTS)?;
    let full = Stuck::start(Ipv4Addr::LOCALHOST.into(), 1, 2)?;
    let half = Stuck::start(Ipv6Addr::UNSPECIFIED.into(), 5, 3)?;
    let ended: [Held; 2] =
        [states::close_wait(&wire, Addressing::Ipv6)?, states::syn_sent(&wire, Addressing::Ipv4)?];
    for mut held in ended {
        held.remote()?.rst()?;
        held.await_row("end of the socket", |row| row.is_none())?;
    }
    let _leak = states::close_wait(&wire, Addressing::Ipv4)?;
    let status = wait_until("status with the numbers of the metrics", DEADLINE, || {
        let status = json(&mut exporter, "/api/v1/status")?;
        let scrape = exporter.scrape()?;
        let (shown, expected) = (of_status(&status)?, of_metrics(&scrape)?);
        // Readings from before the last socket agree, too.
        let all_read = Ages::of(&scrape)?.oldest > 0.0
            && status["listeners"]["fullest"][0]["fullest_ratio"] == 1.0;
        Ok(if shown == expected && all_read {
            Progress::Done(status)
        } else {
            Progress::NotYet(format!("{shown:?}, not {expected:?}"))
        })
    })?;
    assert_eq!(status["closed"]["ipv4"]["syn_sent"]["refused"], 1);
    assert_eq!(status["closed"]["ipv6"]["close_wait"]["reset"], 1);
    let oldest = status["close_wait_ages"]["oldest_ms"].as_u64().context("no age")?;
    let later = Ages::read(&mut exporter)?.oldest;
    // The metric has more digits.
    let at_most = Duration::from_secs_f64(later) + Duration::from_millis(1);
    assert!(oldest > 0 && Duration::from_millis(oldest) <= at_most, "{oldest} ms, {later} s");
    let fullest = status["listeners"]["fullest"].as_array().context("no listeners")?;
    let place = |listener: &Value| (listener["address"].clone(), listener["port"].clone());
    let expected = [(full.address, 1.0), (half.address, 0.5)];
    for (listener, (address, ratio)) in fullest.iter().zip(expected) {
        assert_eq!(place(listener), (json!(address.ip()), json!(address.port())));
        assert_eq!(listener["fullest_ratio"], ratio);
    }
    Ok(())
}

/// Closed sockets, their ages, and the listeners with queue, limit, half-open connections, and drops.
type Details = (Closed, [u64; 3], BTreeMap<(String, String), [u64; 4]>);

fn of_status(status: &Value) -> Result<Details> {
    let mut closed = Closed::new();
    for family in Family::ALL {
        let states = status["closed"][family.word()].as_object().context("no causes")?;
        for (from, causes) in states {
            let from = State::from_word(from).context("an unknown state")?;
            for (cause, count) in causes.as_object().context("no causes")? {
                let count = count.as_u64().context("no count")?;
                closed.insert((family, from, cause.clone()), count);
            }
        }
    }
    let older = |word: &str| status["close_wait_ages"]["older_than"][word].as_u64();
    let mut listeners = BTreeMap::new();
    for listener in status["listeners"]["fullest"].as_array().context("no listeners")? {
        let address = listener["address"].as_str().context("no address")?.to_owned();
        let numbers = ["queue_length", "queue_limit", "half_open", "drops"]
            .map(|field| listener[field].as_u64().unwrap_or(u64::MAX));
        listeners.insert((address, listener["port"].to_string()), numbers);
    }
    let ages = [older("1m"), older("5m"), older("1h")].map(|count| count.unwrap_or(u64::MAX));
    Ok((closed, ages, listeners))
}

fn of_metrics(scrape: &Scrape) -> Result<Details> {
    let (half_open, drops) = (half_open(scrape)?, drops(scrape)?);
    let listeners = scraped(scrape)?.into_iter().filter(|((address, _), _)| address != "other");
    let listeners = listeners.map(|(endpoint, listener)| {
        let numbers = [listener.length, listener.limit, half_open[&endpoint], drops[&endpoint]];
        (endpoint, numbers)
    });
    let listeners = listeners.collect();
    Ok((Causes::of(scrape)?.closed, Ages::of(scrape)?.older_than, listeners))
}

fn the_status_has_the_fullest_destination_and_its_address_only_if_that_is_asked_for(
    _: &Namespace,
) -> Result<()> {
    let pairs = Pairs::connect(3, Family::Ipv4)?;
    let remote = pairs.streams()[0].0.peer_addr()?;
    for is_asked_for in [false, true] {
        let flag = is_asked_for.then_some("--ephemeral.destination");
        let args: Vec<_> = FREQUENT_SNAPSHOTS.into_iter().chain(flag).collect();
        let mut exporter = Exporter::start(&args)?;
        let ports = json(&mut exporter, "/api/v1/status")?["ephemeral_ports"].take();
        let count = exporter.scrape()?.count("tcpstat_ephemeral_ports", &[])?;
        let (address, port) = if is_asked_for {
            (json!(remote.ip()), json!(remote.port()))
        } else {
            (Value::Null, Value::Null)
        };
        let expected = json!({ "count": count, "fullest_destination": {
            "sockets": 3, "local_address": address, "remote_address": address, "remote_port": port
        } });
        assert_eq!(ports, expected);
    }
    Ok(())
}

fn the_status_has_no_more_than_the_ten_fullest_listeners(_: &Namespace) -> Result<()> {
    let mut exporter = Exporter::start(&FREQUENT_SNAPSHOTS)?;
    let start = |waiting| Stuck::start(Ipv4Addr::LOCALHOST.into(), 20, waiting);
    let stuck = (0..15).map(start).collect::<Result<Vec<_>>>()?;
    // The exporter listens, too.
    let count = stuck.len() + 1;
    let listeners = wait_until("all listeners", DEADLINE, || {
        let status = json(&mut exporter, "/api/v1/status")?;
        let listeners = &status["listeners"];
        let is_full = listeners["fullest"][0]["queue_length"] == 14;
        Ok(if listeners["count"] == count && is_full {
            Progress::Done(listeners.clone())
        } else {
            Progress::NotYet(listeners.to_string())
        })
    })?;
    let lengths = listeners["fullest"].as_array().context("no list")?.iter();
    let lengths: Vec<_> =
        lengths.filter_map(|listener| listener["queue_length"].as_u64()).collect();
    assert_eq!(lengths, [14, 13, 12, 11, 10, 9, 8, 7, 6, 5]);
    Ok(())
}

fn json(exporter: &mut Exporter, path: &str) -> Result<Value> {
    let response = exporter.get(path)?;
    assert_eq!(response.status, 200, "{path}: {}", response.body);
    Ok(serde_json::from_str(&response.body)?)
}
