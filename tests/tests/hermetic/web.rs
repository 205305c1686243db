//! What is served beside the metrics, and how serving ends.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tcpstat_tests::binary::fixture;
use tcpstat_tests::deadline::{DEADLINE, Look, wait_until};
use tcpstat_tests::exporter::Options;
use tcpstat_tests::harness::{Test, hermetic_test};
use tcpstat_tests::scraper::Scraper;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        hermetic_test("health_and_readiness_answer", health_and_readiness_answer),
        hermetic_test("the_landing_page_leads_to_the_metrics", the_landing_page_leads),
        hermetic_test("elsewhere_is_404_and_other_methods_are_405", elsewhere_is_404),
        hermetic_test("several_addresses_are_served", several_addresses_are_served),
        hermetic_test("sigterm_and_sigint_end_it_well", signals_end_it_well),
    ]
}

/// An exporter over a fixture, on a free port of the machine's loopback.
pub(crate) fn anywhere(case: &str) -> Result<Options> {
    let mut procfs = std::ffi::OsString::from("--path.procfs=");
    procfs.push(fixture(format!("proc/{case}"))?);
    Ok(Options::default().listen(SocketAddr::from(([127, 0, 0, 1], 0))).args([procfs]))
}

fn health_and_readiness_answer() -> Result<()> {
    let mut exporter = anywhere("debian-6.1")?.start()?;
    for path in ["/-/healthy", "/-/ready"] {
        assert_eq!(exporter.get(path)?.status, 200, "{path}");
    }
    Ok(())
}

fn the_landing_page_leads() -> Result<()> {
    let mut exporter = anywhere("debian-6.1")?.args(["--web.telemetry-path=/numbers"]).start()?;
    let page = exporter.get("/")?;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.body.contains("<a href=\"/numbers\">"), "{}", page.body);
    assert_eq!(exporter.get("/numbers")?.status, 200);
    Ok(())
}

fn elsewhere_is_404() -> Result<()> {
    let mut exporter = anywhere("debian-6.1")?.start()?;
    for path in ["/metric", "/metrics/", "/-/reload", "/favicon.ico"] {
        assert_eq!(exporter.get(path)?.status, 404, "{path}");
    }
    for path in ["/", "/metrics", "/-/ready"] {
        assert_eq!(exporter.scraper().request("POST", path, &[])?.status, 405, "{path}");
    }
    Ok(())
}

fn several_addresses_are_served() -> Result<()> {
    let exporter = anywhere("debian-6.1")?.args(["--web.listen-address=127.0.0.2:0"]).start()?;
    let log = exporter.log();
    let address = log.split("http://").find(|part| part.starts_with("127.0.0.2:"));
    let address = address.and_then(|part| part.split_whitespace().next()).context(log.clone())?;
    assert_eq!(Scraper::connect(address.parse()?)?.get("/-/healthy")?.status, 200);
    Ok(())
}

fn signals_end_it_well() -> Result<()> {
    assert_eq!(anywhere("debian-6.1")?.start()?.stop()?.code(), Some(0));

    let exporter = anywhere("debian-6.1")?.start()?;
    kill(Pid::from_raw(exporter.pid().try_into()?), Signal::SIGINT)?;
    wait_until("word of the end", DEADLINE, || {
        let log = exporter.log();
        Ok(if log.contains("SIGINT") { Look::Done(()) } else { Look::NotYet(log) })
    })?;
    // It is gone already, or goes; either way well.
    assert_eq!(exporter.stop()?.code(), Some(0));
    Ok(())
}
