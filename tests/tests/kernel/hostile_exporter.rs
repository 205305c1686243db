//! `tcpstat top --connect` against a server that is not tcpstat, or a hostile one.

use std::fs;
use std::io;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tcpstat_tests::binary::{Run, output, path_from};
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::harness::Test;
use tcpstat_tests::hostile_exporter::{Answer, Hostile, Request};
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::terminal::Terminal;
use tempfile::TempDir;

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        top_limits_its_memory_for_an_endless_event,
        top_limits_its_memory_for_an_endless_line,
        top_limits_its_memory_for_endless_comments,
        top_limits_its_memory_for_endless_events,
        top_limits_its_memory_for_an_endless_history,
        top_gives_up_a_stream_without_events,
        top_escapes_all_text_of_a_server,
        top_continues_after_impossibly_large_numbers,
        top_reports_a_negative_number_and_retries,
        top_reports_in_one_line_a_server_that_is_not_tcpstat,
        top_sends_the_password_of_a_file_refuses_one_in_the_url_and_shows_neither
    ]
}

/// Limit of the resident memory of `top`, in KiB; it needs some 12 MB.
pub(crate) const MAX_MEMORY: u64 = 48 << 10;

pub(crate) const JSON: &str = "application/json";

const STREAM: &str = "text/event-stream";

const STATUS: &str = r#"{"host":"web-1","tracer":null,"snapshot":{"ended_ms_ago":10}}"#;

const HISTORY: &str = r#"{"unix_ms":[1700000000000],"uptime_ms":[5000],
    "connections":{"ipv4":{"established":[42]}},"transitions":null}"#;

/// A valid status or history; `None` for the stream.
fn usual(path: &str, answer: &mut Answer) -> Option<io::Result<()>> {
    match path {
        "/api/v1/status" => Some(answer.whole("200 OK", JSON, STATUS)),
        "/api/v1/history" => Some(answer.whole("200 OK", JSON, HISTORY)),
        _ => None,
    }
}

pub(crate) fn stream_of(path: &str, answer: &mut Answer, text: &str) -> io::Result<()> {
    usual(path, answer).unwrap_or_else(|| {
        answer.begin(STREAM)?;
        answer.repeat(text)
    })
}

pub(crate) fn top(url: &str) -> Result<Terminal> {
    let binary = path_from("TCPSTAT_BIN")?;
    let script = format!("exec {} top --connect {url} --interval 200ms", binary.display());
    Terminal::open(&script, (100, 24))
}

/// The peak memory of the program in the terminal, in KiB.
pub(crate) fn peak_memory(terminal: &Terminal) -> Result<u64> {
    let path = format!("/proc/{}/status", terminal.shell()?);
    let status = fs::read_to_string(&path).context(path)?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// `top` shows this message, keeps the last numbers, needs little memory, and still handles keys.
fn assert_survives(server: &Hostile, message: &str) -> Result<()> {
    let terminal = top(&server.url())?;
    let screen = terminal.await_screen(message, |screen| screen.contains(message))?;
    assert!(screen.contains("42"), "the last numbers are gone: {screen}");
    let peak = peak_memory(&terminal)?;
    assert!(peak < MAX_MEMORY, "{peak} KiB");
    terminal.press("?")?;
    terminal.await_screen("the help", |screen| screen.contains("pause and continue"))?;
    Ok(())
}

const TOO_LONG: &str = "no connection: an event of more than 1048576 bytes; retrying";

fn top_limits_its_memory_for_an_endless_event(_: &Namespace) -> Result<()> {
    let line = |path: &str, answer: &mut Answer| {
        stream_of(path, answer, &format!("data: {}\n", "x".repeat(50_000)))
    };
    assert_survives(&Hostile::start(line)?, TOO_LONG)
}

fn top_limits_its_memory_for_an_endless_line(_: &Namespace) -> Result<()> {
    assert_survives(
        &Hostile::start(|path, answer| stream_of(path, answer, &"x".repeat(50_000)))?,
        TOO_LONG,
    )
}

fn top_limits_its_memory_for_endless_comments(_: &Namespace) -> Result<()> {
    assert_survives(
        &Hostile::start(|path, answer| stream_of(path, answer, &":\n".repeat(30_000)))?,
        TOO_LONG,
    )
}

fn top_limits_its_memory_for_endless_events(_: &Namespace) -> Result<()> {
    let server = Hostile::start(|path, answer| {
        let sample = HISTORY.replace(['[', ']'], "").replace('\n', "");
        stream_of(path, answer, &format!("event: sample\ndata: {sample}\n\n").repeat(100))
    })?;
    let terminal = top(&server.url())?;
    terminal.await_screen("its start", |screen| screen.contains("42"))?;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        let peak = peak_memory(&terminal)?;
        assert!(peak < MAX_MEMORY, "{peak} KiB");
        sleep(Duration::from_millis(100));
    }
    terminal.press("?")?;
    terminal.await_screen("the help", |screen| screen.contains("pause and continue"))?;
    Ok(())
}

fn top_limits_its_memory_for_an_endless_history(_: &Namespace) -> Result<()> {
    let server = Hostile::start(|path, answer| match path {
        "/api/v1/history" => {
            answer.begin(JSON)?;
            answer.send(r#"{"unix_ms":["#)?;
            answer.repeat("1,".repeat(30_000))
        }
        path => usual(path, answer).unwrap_or(Ok(())),
    })?;
    let terminal = top(&server.url())?;
    terminal.await_screen("error", |screen| screen.contains("larger than request limit"))?;
    let peak = peak_memory(&terminal)?;
    assert!(peak < MAX_MEMORY, "{peak} KiB");
    Ok(())
}

fn top_gives_up_a_stream_without_events(_: &Namespace) -> Result<()> {
    let server = Hostile::start(|path, answer| {
        usual(path, answer).unwrap_or_else(|| {
            answer.begin(STREAM)?;
            loop {
                answer.send(":")?;
                sleep(Duration::from_millis(100));
            }
        })
    })?;
    let terminal = top(&server.url())?;
    terminal.await_screen("message about silence", |screen| screen.contains("no data for"))?;
    wait_until("second stream", 2 * DEADLINE, || {
        let requests = server.requests();
        let streams = requests.iter().filter(|request| request.path.ends_with("stream")).count();
        Ok(if streams > 1 { Progress::Done(()) } else { Progress::NotYet(format!("{requests:?}")) })
    })
}

/// A title, a cleared screen, a colour by C1, a line end, another direction.
const EVIL: &str = r"\u001b]0;owned\u0007\u001b[2J\u009b31m\r\n\u202etxet\u007f";

fn top_escapes_all_text_of_a_server(_: &Namespace) -> Result<()> {
    let server = Hostile::start(|path, answer| {
        let status = format!(
            r#"{{"host":"{EVIL}","snapshot":{{"ended_ms_ago":10}},"tracer":{{"program":"{EVIL}",
            "hooks":["{EVIL}","{EVIL}"],"consistent":true,"agreed_ms_ago":5,"events_missed":7}}}}"#
        );
        let history = HISTORY.replace("\"ipv4\":", &format!("\"{EVIL}\":{{}},\"ipv4\":"));
        match path {
            "/api/v1/status" => answer.whole("200 OK", JSON, &status),
            "/api/v1/history" => answer.whole("200 OK", JSON, &history),
            _ => {
                answer.begin(STREAM)?;
                sleep(Duration::from_secs(1));
                // An error that quotes it.
                answer.send(format!("event: sample\ndata: {{\"unix_ms\":\"{EVIL}\"}}\n\n"))
            }
        }
    })?;
    let terminal = top(&server.url())?;
    let title = terminal.format("#{pane_title}")?;
    terminal.await_screen("it written out", |screen| {
        screen.contains(r"\u{1b}]0;owned\u{7}") && screen.contains("established")
    })?;
    let screen = terminal.await_screen("the error", |screen| screen.contains("no connection"))?;
    assert!(screen.contains("invalid type") && screen.contains("established"), "{screen}");
    assert_eq!(terminal.format("#{pane_title}")?, title);
    let lines: Vec<_> = screen.trim_end().lines().collect();
    assert_eq!(lines.len(), 24, "lines have moved: {screen}");
    Ok(())
}

fn top_continues_after_impossibly_large_numbers(_: &Namespace) -> Result<()> {
    let server = Hostile::start(|path, answer| {
        let huge = u64::MAX;
        let status = format!(
            r#"{{"host":"web-1","snapshot":{{"ended_ms_ago":{huge}}},"tracer":{{"program":"tp_btf",
            "hooks":[],"consistent":false,"agreed_ms_ago":{huge},"events_missed":{huge}}}}}"#
        );
        let history = format!(
            r#"{{"unix_ms":[0,{huge}],"uptime_ms":[0,{huge}],
            "connections":{{"ipv4":{{"established":[0,{huge}]}},"ipv6":{{"established":[{huge},{huge}]}}}},
            "transitions":{{"ipv4":{{"established":{{"close_wait":[0,{huge}]}}}}}}}}"#
        );
        match path {
            "/api/v1/status" => answer.whole("200 OK", JSON, &status),
            "/api/v1/history" => answer.whole("200 OK", JSON, &history),
            _ => {
                answer.begin(STREAM)?;
                sleep(Duration::from_secs(20));
                Ok(())
            }
        }
    })?;
    let terminal = top(&server.url())?;
    // Such a count is shown as the largest possible one of each family.
    terminal.await_screen("them", |screen| {
        screen.contains("events missed") && screen.contains("8589934590 sockets")
    })?;
    terminal.press("?")?;
    terminal.await_screen("the help", |screen| screen.contains("pause and continue"))?;
    Ok(())
}

fn top_reports_a_negative_number_and_retries(_: &Namespace) -> Result<()> {
    let server = Hostile::start(|path, answer| {
        usual(path, answer).unwrap_or_else(|| {
            answer.begin(STREAM)?;
            answer.send("event: sample\ndata: {\"unix_ms\":-5}\n\n")?;
            sleep(Duration::from_secs(5));
            Ok(())
        })
    })?;
    assert_survives(&server, "invalid value: integer `-5`, expected u64")
}

/// Runs `top --connect` to its end, in a terminal that `script` makes.
fn run(url: &str) -> Result<Run> {
    let binary = path_from("TCPSTAT_BIN")?.display().to_string();
    let top = format!("{binary} top --connect {url}");
    output(Command::new("script").args(["-qec", &top, "/dev/null"]).env("TERM", "xterm"))
}

fn top_reports_in_one_line_a_server_that_is_not_tcpstat(_: &Namespace) -> Result<()> {
    type Answered = fn(&str, &mut Answer) -> io::Result<()>;
    let cases: [(Answered, &str); 8] = [
        (
            |_, answer| answer.whole("200 OK", "text/html", "<html>\u{1b}[2J</html>"),
            "not a tcpstat exporter",
        ),
        (
            |_, answer| answer.whole("200 OK", JSON, &format!("{{\"x\":{}", "[".repeat(400_000))),
            "EOF while parsing a list",
        ),
        (
            |_, answer| answer.whole("500 Broken", "text/plain", "\u{1b}[2J\u{9b}31mbroken\nx"),
            "500",
        ),
        (
            |path, answer| match path {
                "/api/v1/status" => answer
                    .send("HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n"),
                _ => answer.whole("200 OK", JSON, STATUS),
            },
            "/api/v1/status: 302",
        ),
        (
            |_, answer| {
                answer.send("HTTP/1.1 200 OK\r\n")?;
                answer.repeat("X-Header: x\r\n".repeat(1_000))
            },
            "header",
        ),
        (
            |_, answer| {
                answer.begin(JSON)?;
                answer.repeat(" ".repeat(50_000))
            },
            "larger than request limit",
        ),
        (
            |_, answer| {
                answer.begin(JSON)?;
                loop {
                    answer.send(" ")?;
                    sleep(Duration::from_millis(100));
                }
            },
            "timeout",
        ),
        (|_, answer| answer.send("SSH-2.0-OpenSSH_9.2\u{1b}[2J\r\n"), "http"),
    ];
    for (case, (answer, reason)) in cases.into_iter().enumerate() {
        let server = Hostile::start(answer)?;
        let run = run(&server.url())?;
        assert_eq!(run.status, Some(1), "{case} {reason}: {run:?}");
        let start = format!("tcpstat: --connect {}: ", server.url());
        let line = run.stdout.strip_prefix(&start).with_context(|| format!("{case}: {run:?}"))?;
        assert!(line.contains(reason), "{case} {reason}: {line}");
        let line = line.trim_end_matches(['\r', '\n']);
        assert!(!line.contains(char::is_control) && line.len() < 1_100, "{case}: {line:?}");
        assert!(!line.contains("/other"), "{case}: {line}");
        let requests = server.requests();
        assert!(!requests.is_empty(), "{case}: no request");
        assert!(requests.iter().all(|request| request.path != "/other"), "{case}");
    }
    // The reason is printed once.
    let run = run("http://127.0.0.1:1")?;
    assert_eq!(run.stdout.matches("Connection refused").count(), 1, "{run:?}");
    Ok(())
}

fn top_sends_the_password_of_a_file_refuses_one_in_the_url_and_shows_neither(
    _: &Namespace,
) -> Result<()> {
    let server = Hostile::start(|path, answer| {
        usual(path, answer).unwrap_or_else(|| answer.whole("404 Not Found", "text/plain", "none\n"))
    })?;
    let folder = TempDir::new()?;
    let file = folder.path().join("password");
    fs::write(&file, "sesame\n")?;
    let user = format!("--connect.user me --connect.password-file {}", file.display());
    let terminal = top(&format!("{} {user}", server.url()))?;
    let screen = terminal.await_screen("its start", |screen| screen.contains("no connection"))?;
    assert!(!screen.contains("sesame"), "{screen}");
    assert!(screen.contains(&server.url()), "{screen}");
    let requests = server.requests();
    // me:sesame
    let sends_it = |request: &Request| {
        request.fields.iter().any(|field| field.ends_with("Basic bWU6c2VzYW1l"))
    };
    assert!(!requests.is_empty() && requests.iter().all(sends_it), "{requests:?}");
    let run = run("http://me:sesame@127.0.0.1:1")?;
    assert_eq!(run.status, Some(2), "{run:?}");
    assert!(run.stdout.contains("***@127.0.0.1:1") && !run.stdout.contains("sesame"), "{run:?}");
    Ok(())
}
