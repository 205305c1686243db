//! Scopes over HTTP: groups of metrics, and the API.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tcpstat_tests::exposition::Scrape;
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::resident::{Order, Resident};
use tcpstat_tests::scopes::{all_namespaces, await_right, counts_of, gauges};
use tcpstat_tests::tcp::State;

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        a_scrape_of_a_group_has_its_metrics_alone,
        a_scrape_without_a_group_has_all_others,
        an_unknown_group_is_refused_with_the_names_of_all,
        the_api_has_the_namespaces_of_the_metrics
    ]
}

const NO_SNAPSHOT: [&str; 1] = ["--snapshot-interval=1h"];

fn a_scrape_of_a_group_has_its_metrics_alone(_: &Namespace) -> Result<()> {
    let mut resident = Resident::in_new_namespace()?;
    resident.order(&Order::Connect(2))?;
    let mut exporter = all_namespaces(&NO_SNAPSHOT).start()?;
    let (name, shown) = await_right(&mut exporter, resident.pid())?;
    let response = exporter.get("/metrics?collect[]=netns")?;
    let scrape = Scrape::parse(&response.body)?;
    let others: Vec<_> =
        scrape.types.keys().filter(|name| !name.starts_with("tcpstat_netns_")).collect();
    ensure!(others.is_empty(), "{others:?}");
    let response = exporter.get("/metrics?collect[]=netns&collect[]=details")?;
    assert_eq!(gauges(&Scrape::parse(&response.body)?, &name)?, Some(shown));
    let response = exporter.get("/metrics?collect[]=connections&collect[]=scopes")?;
    let scrape = Scrape::parse(&response.body)?;
    ensure!(scrape.connections()?.len() == 20, "{:?}", scrape.connections());
    ensure!(scrape.family("tcpstat_netns_connections").is_empty(), "the group netns is there");
    ensure!(scrape.value("tcpstat_scopes", &[("kind", "netns")])? >= 2.0, "{scrape:?}");
    Ok(())
}

fn a_scrape_without_a_group_has_all_others(_: &Namespace) -> Result<()> {
    let mut exporter = all_namespaces(&NO_SNAPSHOT).start()?;
    let all = exporter.scrape_plain()?;
    let response = exporter.get("/metrics?exclude[]=netns&exclude[]=transitions")?;
    let some = Scrape::parse(&response.body)?;
    let is_excluded =
        |name: &str| name.starts_with("tcpstat_netns_") || name == "tcpstat_transitions_total";
    let names = |scrape: &Scrape| scrape.types.keys().cloned().collect::<Vec<_>>();
    let expected: Vec<_> = names(&all).into_iter().filter(|name| !is_excluded(name)).collect();
    assert_eq!(names(&some), expected);
    ensure!(expected.len() < names(&all).len(), "{expected:?}");
    Ok(())
}

fn an_unknown_group_is_refused_with_the_names_of_all(_: &Namespace) -> Result<()> {
    let mut exporter = all_namespaces(&NO_SNAPSHOT).start()?;
    for query in ["collect[]=sockets", "exclude[]=sockets", "collect[]=netns&exclude[]=port"] {
        let response = exporter.get(&format!("/metrics?{query}"))?;
        ensure!(response.status == 400, "{query}: {response:?}");
    }
    let response = exporter.get("/metrics?collect[]=sockets")?;
    for group in ["connections", "netns", "scopes", "process"] {
        ensure!(response.body.contains(group), "{group}: {response:?}");
    }
    Ok(())
}

fn the_api_has_the_namespaces_of_the_metrics(_: &Namespace) -> Result<()> {
    let mut resident = Resident::in_new_namespace()?;
    resident.order(&Order::Connect(2))?;
    resident.order(&Order::Leak(3))?;
    let mut exporter = all_namespaces(&NO_SNAPSHOT).start()?;
    let (name, _) = await_right(&mut exporter, resident.pid())?;
    let answer: Value = serde_json::from_str(&exporter.get("/api/v1/scopes")?.body)?;
    let kinds = answer["kinds"].as_array().context("kinds")?;
    ensure!(kinds.len() == 1 && kinds[0]["kind"] == "netns", "{answer:#}");
    let scopes = kinds[0]["scopes"].as_array().context("scopes")?;
    ensure!(scopes.iter().any(|scope| scope["netns"]["kind"] == "host"), "{answer:#}");
    let scope = scopes.iter().find(|scope| scope["name"] == *name).context("the namespace")?;
    ensure!(
        scope["netns"]["inode"].to_string().contains(&resident.inum()?.to_string()),
        "{scope:#}"
    );
    let shown = counts_of(resident.pid())?;
    for (state, count) in &shown {
        ensure!(scope["connections"][state.word()] == *count, "{state}: {scope:#}");
    }
    ensure!(scope["total"] == shown.values().sum::<u64>(), "{scope:#}");
    ensure!(shown[&State::CloseWait] == 3, "{shown:?}");
    Ok(())
}
