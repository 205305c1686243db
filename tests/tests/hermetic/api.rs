//! The API: its answers, its errors, and how its streams begin and end.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tcpstat_tests::binary::{fixture, path_from};
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::events::{Event, EventStream};
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::harness::Test;
use tcpstat_tests::hermetic_tests;

use crate::web::anywhere;

const STREAM: &str = "/api/v1/stream";

/// Limit of open streams.
const STREAMS: usize = 64;

/// Limit of open streams of one client.
const STREAMS_OF_CLIENT: usize = 8;

pub(crate) fn tests() -> Vec<Test> {
    hermetic_tests![
        the_status_reports_snapshots_only,
        the_history_has_the_numbers_of_the_snapshot,
        the_history_returns_only_samples_after_since,
        without_scopes_the_list_of_their_kinds_is_empty,
        a_stream_sends_a_sample_and_the_status_each_second,
        a_stream_ends_with_the_exporter,
        one_client_cannot_take_all_streams,
        an_invalid_query_is_400_with_one_line,
        the_api_serves_its_documentation
    ]
}

/// An exporter that has taken its first sample, and its history.
fn recorded(case: &str) -> Result<(Exporter, Value)> {
    let mut exporter = anywhere(case)?.start()?;
    let history = wait_until("first sample", DEADLINE, || {
        let history = json(&mut exporter, "/api/v1/history")?;
        let samples = history["unix_ms"].as_array().context("no times")?.len();
        Ok(if samples > 0 { Progress::Done(history) } else { Progress::NotYet("none".to_owned()) })
    })?;
    Ok((exporter, history))
}

fn json(exporter: &mut Exporter, path: &str) -> Result<Value> {
    let response = exporter.get(path)?;
    ensure!(response.status == 200, "{path}: {} {}", response.status, response.body);
    assert_eq!(response.header("content-type"), Some("application/json"), "{path}");
    assert_eq!(response.header("cache-control"), Some("no-store"), "{path}");
    Ok(serde_json::from_str(&response.body)?)
}

fn the_status_reports_snapshots_only() -> Result<()> {
    let mut exporter = anywhere("broken-rows")?.start()?;
    let status = json(&mut exporter, "/api/v1/status")?;
    assert_eq!(status["ready"], true);
    assert_eq!(status["tracer"], Value::Null);
    let of_tracer = ["closed", "close_wait_ages", "listeners"];
    assert!(of_tracer.iter().all(|field| status.get(field).is_none()), "{status}");
    assert_eq!(status["snapshot"]["source"], "procfs");
    assert_eq!(status["snapshot"]["interval_ms"], 15_000.0);
    let errors = exporter.scrape()?.value("tcpstat_snapshot_errors_total", &[])?;
    assert!(errors > 0.0);
    assert_eq!(status["snapshot_errors"].as_f64(), Some(errors));
    let uptime = |field: &str| status[field].as_u64().with_context(|| field.to_owned());
    assert!(uptime("started_uptime_ms")? <= uptime("uptime_ms")?);
    Ok(())
}

fn the_history_has_the_numbers_of_the_snapshot() -> Result<()> {
    let (_exporter, history) = recorded("debian-7.2")?;
    let expected = std::fs::read_to_string(fixture("proc/debian-7.2/expected.json")?)?;
    let expected: Value = serde_json::from_str(&expected)?;
    for family in ["ipv4", "ipv6"] {
        let states = history["connections"][family].as_object().context("no family")?;
        assert_eq!(states.len(), 11);
        for (state, samples) in states {
            assert_eq!(samples[0], expected[family][state], "{family} {state}");
        }
    }
    assert_eq!(history["transitions"], Value::Null);
    Ok(())
}

fn the_history_returns_only_samples_after_since() -> Result<()> {
    let (mut exporter, history) = recorded("empty")?;
    let first = history["uptime_ms"][0].as_u64().context("no uptime")?;
    let path = format!("/api/v1/history?since={first}");
    let later = wait_until("second sample", DEADLINE, || {
        let later = json(&mut exporter, &path)?;
        Ok(match later["uptime_ms"][0].as_u64() {
            Some(uptime) => Progress::Done(uptime),
            None => Progress::NotYet("none".to_owned()),
        })
    })?;
    assert!(later > first);
    let none = json(&mut exporter, "/api/v1/history?since=18446744073709551615")?;
    assert_eq!(none["unix_ms"], json!([]));
    Ok(())
}

fn without_scopes_the_list_of_their_kinds_is_empty() -> Result<()> {
    let (mut exporter, _) = recorded("debian-6.1")?;
    let scopes = json(&mut exporter, "/api/v1/scopes")?;
    assert_eq!(scopes["kinds"], json!([]));
    let times = ["unix_ms", "uptime_ms"].map(|clock| scopes["history"][clock].as_array());
    assert!(times.iter().all(|times| times.is_some_and(|times| times.len() <= 60)), "{scopes}");
    let now = json(&mut exporter, "/api/v1/scopes?history=false")?;
    assert_eq!(now["history"], Value::Null);
    assert!(now["uptime_ms"].as_u64() >= scopes["uptime_ms"].as_u64());
    Ok(())
}

fn a_stream_sends_a_sample_and_the_status_each_second() -> Result<()> {
    let exporter = anywhere("debian-6.1")?.start()?;
    let mut stream = EventStream::open(exporter.address(), STREAM)?;
    assert_eq!(stream.status, 200);
    let mut next = || stream.next_event()?.context("it has ended");
    let events: [Event; 4] = [next()?, next()?, next()?, next()?];
    let names = events.each_ref().map(|event| event.name.as_str());
    assert_eq!(names, ["sample", "status", "sample", "status"]);
    let uptime = |event: &Event| event.data["uptime_ms"].as_u64().context("no uptime");
    assert!(uptime(&events[0])? < uptime(&events[2])?);
    assert!(events[0].data["connections"]["ipv4"]["listen"].as_u64() > Some(0));
    assert_eq!(events[1].data["version"], env!("CARGO_PKG_VERSION"));
    Ok(())
}

fn a_stream_ends_with_the_exporter() -> Result<()> {
    let exporter = anywhere("debian-6.1")?.start()?;
    let mut streams = [
        EventStream::open(exporter.address(), STREAM)?,
        EventStream::open(exporter.address(), STREAM)?,
    ];
    for stream in &mut streams {
        stream.next_event()?.context("it has ended")?;
    }
    assert_eq!(exporter.stop()?.code(), Some(0));
    for mut stream in streams {
        while stream.next_event()?.is_some() {}
    }
    Ok(())
}

fn one_client_cannot_take_all_streams() -> Result<()> {
    let exporter = anywhere("empty")?.start()?;
    let open = |client: usize| {
        let client = u8::try_from(client)?;
        EventStream::open_from([127, 0, 9, client].into(), exporter.address(), STREAM)
    };
    let clients = STREAMS / STREAMS_OF_CLIENT;
    let mut streams = Vec::new();
    for client in 1..=clients {
        for _ in 0..STREAMS_OF_CLIENT {
            streams.push(open(client)?);
        }
        let refused = open(client)?;
        assert_eq!(refused.status, 503);
        let line = refused.rest()?;
        assert!(
            line.contains("8 streams to this address are open") && line.contains("close one"),
            "{line}"
        );
        assert_eq!(line.lines().count(), 1, "{line}");
    }
    assert!(streams.iter().all(|stream| stream.status == 200));
    // Another client gets a stream: exactly one stream of the others is closed.
    let other = open(clients + 1)?;
    assert_eq!(other.status, 200);
    // Events that were sent earlier can still be read, but end soon.
    for _ in 0..3 {
        streams.retain_mut(|stream| matches!(stream.next_event(), Ok(Some(_))));
    }
    assert_eq!(streams.len(), STREAMS - 1);
    // A client that disconnects makes room.
    drop(streams);
    wait_until("stream", DEADLINE, || {
        let status = open(1)?.status;
        Ok(if status == 200 { Progress::Done(()) } else { Progress::NotYet(status.to_string()) })
    })
}

fn an_invalid_query_is_400_with_one_line() -> Result<()> {
    let mut exporter = anywhere("empty")?.start()?;
    for (path, named) in [
        ("/api/v1/history?since=yesterday", "since"),
        ("/api/v1/history?since=-1", "since"),
        ("/api/v1/history?until=1", "unknown parameter until; /api/v1/history takes only: since;"),
        (
            "/api/v1/status?verbose",
            "unknown parameter verbose; /api/v1/status takes none; see /api",
        ),
        ("/api/v1/stream?since=1", "since"),
        ("/api/v1/scopes?since=1", "since"),
        ("/api/v1/scopes?history=2", "history"),
    ] {
        let response = exporter.get(path)?;
        assert_eq!(response.status, 400, "{path}");
        assert!(response.body.contains(named), "{path}: {}", response.body);
        assert_eq!(response.body.lines().count(), 1, "{path}: {}", response.body);
    }
    Ok(())
}

fn the_api_serves_its_documentation() -> Result<()> {
    let mut exporter = anywhere("empty")?.start()?;
    let document = exporter.get("/api")?;
    assert_eq!(document.header("content-type"), Some("text/plain; charset=utf-8"));
    let source = path_from("TCPSTAT_FIXTURES")?.join("../tcpstat-user/docs/api.md");
    assert_eq!(document.body, std::fs::read_to_string(source)?);
    let routes: Vec<_> =
        document.body.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(routes, ["/api/v1/status", "/api/v1/history", "/api/v1/scopes", "/api/v1/stream"]);
    for route in routes {
        let response = exporter.scraper().request("HEAD", route, &[])?;
        assert_eq!(response.status, 200, "{route}");
        assert_eq!(exporter.scraper().request("POST", route, &[])?.status, 405, "{route}");
    }
    Ok(())
}
