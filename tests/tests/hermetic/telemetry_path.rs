//! `--web.telemetry-path`: the path of the metrics.

use anyhow::{Context, Result, ensure};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use tcpstat_tests::binary::tcpstat;
use tcpstat_tests::harness::Test;
use tcpstat_tests::hermetic_tests;

use crate::web::anywhere;

pub(crate) fn tests() -> Vec<Test> {
    hermetic_tests![
        every_accepted_path_for_the_metrics_is_served,
        a_path_that_no_client_can_request_is_refused_with_a_remedy
    ]
}

/// Paths of all valid characters, and of sequences with a meaning for routers or clients.
fn path() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[A-Za-z0-9]",
        4 => "[-._~!$&'()*+,;=:@]",
        2 => "%[0-9A-Fa-f]{2}",
    ];
    let segment = prop::collection::vec(piece, 1..8).prop_map(|pieces| pieces.concat());
    let special = prop_oneof![
        Just(":x"),
        Just("*x"),
        Just(":"),
        Just("*"),
        Just("*:"),
        Just("%7Bx%7D"),
        Just("%2F"),
        Just("%00"),
        Just("..."),
        Just("api"),
        Just("assets"),
        Just("-")
    ];
    let segment = prop_oneof![2 => segment, 1 => special.prop_map(str::to_owned)];
    (prop::collection::vec(segment, 1..5), any::<bool>()).prop_map(|(segments, slash)| {
        format!("/{}{}", segments.join("/"), if slash { "/" } else { "" })
    })
}

fn every_accepted_path_for_the_metrics_is_served() -> Result<()> {
    let answers = |path: &str| -> Result<()> {
        let argument = format!("--web.telemetry-path={path}");
        let mut exporter =
            anywhere("debian-6.1")?.args([argument, "--tracer=off".into()]).start()?;
        let answer = exporter.get(path)?;
        ensure!(answer.status == 200, "{path}: {answer:?}");
        ensure!(answer.body.contains("tcpstat_connections{"), "{path}: {}", answer.body);
        let page = exporter.get("/")?;
        ensure!(page.status == 200, "{path}: {page:?}");
        Ok(())
    };
    for path in ["/:x", "/*x", "/a/:b/*c", "/%20", "/assets", "/m/", "/&'()*+,;=:@!$~"] {
        answers(path)?;
    }
    let mut runner =
        TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() });
    runner.run(&path(), |path| {
        let refused = tcpstat([
            "serve",
            "--path.procfs=/nonexistent",
            "--web.listen-address=127.0.0.1:0",
            &format!("--web.telemetry-path={path}"),
        ])
        .map_err(|error| TestCaseError::fail(format!("{error:?}")))?;
        // Only few are refused: `.`, `..` and reserved paths.
        prop_assume!(refused.status != Some(2));
        answers(&path).map_err(|error| TestCaseError::fail(format!("{error:?}")))
    })?;
    Ok(())
}

fn a_path_that_no_client_can_request_is_refused_with_a_remedy() -> Result<()> {
    for (path, remedy) in [
        ("/a b", "%20"),
        ("/é", "%C3%A9"),
        ("/{x}", "%7B"),
        ("/a?b", "%3F"),
        ("/a#b", "%23"),
        ("/a\nb", "%0A"),
        ("/%", "%25"),
        ("/a//b", "//"),
        ("/a/../b", ".."),
        ("/./a", "."),
    ] {
        let run = tcpstat(["serve", &format!("--web.telemetry-path={path}")])?;
        assert_eq!(run.status, Some(2), "{path:?}: {run:?}");
        let line = run.stderr.lines().next().context("no error")?;
        assert!(line.contains("--web.telemetry-path") && line.contains(remedy), "{path:?}: {line}");
    }
    Ok(())
}
