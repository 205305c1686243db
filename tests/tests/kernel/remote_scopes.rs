//! The scopes of a running exporter in `tcpstat top --connect`, and those of a hostile server.

use anyhow::Result;
use tcpstat_tests::harness::Test;
use tcpstat_tests::hostile_exporter::Hostile;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::Namespace;

use crate::hostile_exporter::{JSON, MAX_MEMORY, peak_memory, stream_of, top};

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        top_limits_its_memory_for_endless_scopes,
        top_shows_the_scopes_of_an_exporter_and_escapes_their_names
    ]
}

/// What `top` requests while it shows scopes.
const SCOPES: &str = "/api/v1/scopes?history=false";

/// A scope that takes few bytes.
const SCOPE: &str = r#"{"name":"a","connections":{"a":1}},"#;

/// Almost the maximum size of an answer.
const MAX_BYTES: usize = (4 << 20) - 1_000;

/// An answer with these scopes, each followed by a comma.
fn kind(scopes: &str) -> String {
    let scopes = scopes.trim_end_matches(',');
    format!(r#"{{"kinds":[{{"kind":"netns","scopes":[{scopes}]}}]}}"#)
}

/// An answer that never ends, one of more scopes than there can be, and a valid one.
fn top_limits_its_memory_for_endless_scopes(_: &Namespace) -> Result<()> {
    let endless = Hostile::start(|path, answer| match path {
        SCOPES => {
            answer.begin(JSON)?;
            answer.send(r#"{"kinds":[{"kind":"netns","scopes":["#)?;
            answer.repeat(SCOPE.repeat(1_000))
        }
        path => stream_of(path, answer, ":\n"),
    })?;
    let many_scopes = Hostile::start(|path, answer| match path {
        SCOPES => answer.whole("200 OK", JSON, &kind(&SCOPE.repeat(MAX_BYTES / SCOPE.len()))),
        path => stream_of(path, answer, ":\n"),
    })?;
    // As many as an exporter can have of each kind, and as long as they can be.
    let large = Hostile::start(|path, answer| match path {
        SCOPES => {
            let name = "x".repeat(MAX_BYTES / 4_096 - 60);
            let scope = format!(r#"{{"name":"{name}","connections":{{"established":7}}}},"#);
            answer.whole("200 OK", JSON, &kind(&scope.repeat(4_096)))
        }
        path => stream_of(path, answer, ":\n"),
    })?;
    for (server, text) in [
        (endless, "larger than request limit"),
        (many_scopes, "a list of more than"),
        (large, "of 4096 scopes"),
    ] {
        let terminal = top(&server.url())?;
        terminal.await_screen("its start", |screen| screen.contains("42"))?;
        terminal.press("v")?;
        terminal.await_screen(text, |screen| screen.contains(text))?;
        let peak = peak_memory(&terminal)?;
        assert!(peak < MAX_MEMORY, "{text}: {peak} KiB");
        terminal.press("v")?;
        terminal.await_screen("the states", |screen| screen.contains("syn_sent "))?;
    }
    Ok(())
}

fn top_shows_the_scopes_of_an_exporter_and_escapes_their_names(_: &Namespace) -> Result<()> {
    let exporter = Hostile::start(|path, answer| match path {
        SCOPES => {
            let name = r"\u001b]0;x\u0007web";
            let scope =
                format!(r#"{{"name":"{name}","connections":{{"close_wait":1200}},"total":1234}}"#);
            answer.whole("200 OK", JSON, &kind(&scope))
        }
        path => stream_of(path, answer, ":\n"),
    })?;
    let terminal = top(&exporter.url())?;
    terminal.await_screen("its start", |screen| screen.contains("42"))?;
    terminal.press("v")?;
    let screen = terminal.await_screen("the scope", |screen| screen.contains("1,200"))?;
    assert!(screen.contains(r"\u{1b}]0;x\u{7}web") && screen.contains("1,234"), "{screen}");
    drop(terminal);

    let without_scopes = Hostile::start(|path, answer| match path {
        SCOPES => answer.whole("404 Not Found", "text/plain", "not found\n"),
        path => stream_of(path, answer, ":\n"),
    })?;
    let terminal = top(&without_scopes.url())?;
    terminal.await_screen("its start", |screen| screen.contains("42"))?;
    terminal.press("v")?;
    terminal.await_screen("the reason", |screen| screen.contains("the exporter has no"))?;
    Ok(())
}
