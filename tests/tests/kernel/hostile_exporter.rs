//! `tcpstat top --connect` against a server that is no tcpstat, or a bad one.

use std::fs;
use std::io;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tcpstat_tests::binary::{Run, output, path_from};
use tcpstat_tests::deadline::DEADLINE;
use tcpstat_tests::harness::{Test, kernel_test};
use tcpstat_tests::hostile_exporter::{Answer, Hostile};
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::terminal::Terminal;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        kernel_test("top_takes_little_memory_from_an_event_without_end", endless_event),
        kernel_test("top_takes_little_memory_from_a_line_without_end", endless_line),
        kernel_test("top_takes_little_memory_from_comments_without_end", endless_comments),
        kernel_test("top_takes_little_memory_from_events_without_pause", endless_events),
        kernel_test("top_takes_little_memory_from_a_history_without_end", endless_history),
        kernel_test("top_gives_up_a_stream_that_drips", dripping_stream),
        kernel_test("top_shows_no_text_of_a_server_raw", escapes),
        kernel_test("top_goes_on_after_numbers_that_no_host_has", huge_numbers),
        kernel_test("top_reports_a_negative_number_and_tries_again", negative_number),
        kernel_test("top_reports_in_one_line_a_server_that_is_not_tcpstat", refused),
        kernel_test("top_uses_a_password_in_the_url_and_does_not_show_it", password),
    ]
}

/// Resident memory that `top` may take, in KiB; it takes some 12 MB.
const MOST_MEMORY: u64 = 48 << 10;

const JSON: &str = "application/json";

const STREAM: &str = "text/event-stream";

const STATUS: &str = r#"{"host":"web-1","tracer":null,"snapshot":{"ended_ms_ago":10}}"#;

const HISTORY: &str = r#"{"unix_ms":[1700000000000],"uptime_ms":[5000],
    "connections":{"ipv4":{"established":[42]}},"transitions":null}"#;

/// Status and history as they should be; `None` for the stream.
fn usual(path: &str, answer: &mut Answer) -> Option<io::Result<()>> {
    match path {
        "/api/v1/status" => Some(answer.whole("200 OK", JSON, STATUS)),
        "/api/v1/history" => Some(answer.whole("200 OK", JSON, HISTORY)),
        _ => None,
    }
}

fn stream_of(path: &str, answer: &mut Answer, text: &str) -> io::Result<()> {
    usual(path, answer).unwrap_or_else(|| {
        answer.begin(STREAM)?;
        answer.for_ever(text)
    })
}

fn top(url: &str) -> Result<Terminal> {
    let binary = path_from("TCPSTAT_BIN")?;
    let script = format!("exec {} top --connect {url} --interval 200ms", binary.display());
    Terminal::open(&script, (100, 24))
}

/// The most memory that the terminal's program has had, in KiB.
fn peak_memory(terminal: &Terminal) -> Result<u64> {
    let path = format!("/proc/{}/status", terminal.shell()?);
    let status = fs::read_to_string(&path).context(path)?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// `top` says `told` of the server, keeps what it knew, is small, and still takes keys.
fn holds_out(server: &Hostile, told: &str) -> Result<()> {
    let terminal = top(&server.url())?;
    let screen = terminal.await_screen(told, |screen| screen.contains(told))?;
    assert!(screen.contains("42"), "what came before stays: {screen}");
    let peak = peak_memory(&terminal)?;
    assert!(peak < MOST_MEMORY, "{peak} KiB");
    terminal.press("?")?;
    terminal.await_screen("the help", |screen| screen.contains("pause and continue"))?;
    Ok(())
}

const TOO_LONG: &str = "no connection: an event of more than 1048576 bytes; retrying";

fn endless_event(_: &Namespace) -> Result<()> {
    let line = |path: &str, answer: &mut Answer| {
        stream_of(path, answer, &format!("data: {}\n", "x".repeat(50_000)))
    };
    holds_out(&Hostile::start(line)?, TOO_LONG)
}

fn endless_line(_: &Namespace) -> Result<()> {
    holds_out(
        &Hostile::start(|path, answer| stream_of(path, answer, &"x".repeat(50_000)))?,
        TOO_LONG,
    )
}

fn endless_comments(_: &Namespace) -> Result<()> {
    holds_out(
        &Hostile::start(|path, answer| stream_of(path, answer, &":\n".repeat(30_000)))?,
        TOO_LONG,
    )
}

fn endless_events(_: &Namespace) -> Result<()> {
    let server = Hostile::start(|path, answer| {
        let sample = HISTORY.replace(['[', ']'], "").replace('\n', "");
        stream_of(path, answer, &format!("event: sample\ndata: {sample}\n\n").repeat(100))
    })?;
    let terminal = top(&server.url())?;
    terminal.await_screen("its start", |screen| screen.contains("42"))?;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        let peak = peak_memory(&terminal)?;
        assert!(peak < MOST_MEMORY, "{peak} KiB");
        sleep(Duration::from_millis(100));
    }
    terminal.press("?")?;
    terminal.await_screen("the help", |screen| screen.contains("pause and continue"))?;
    Ok(())
}

fn endless_history(_: &Namespace) -> Result<()> {
    let server = Hostile::start(|path, answer| match path {
        "/api/v1/history" => {
            answer.begin(JSON)?;
            answer.send(r#"{"unix_ms":["#)?;
            answer.for_ever("1,".repeat(30_000))
        }
        path => usual(path, answer).unwrap_or(Ok(())),
    })?;
    let terminal = top(&server.url())?;
    terminal.await_screen("word of it", |screen| screen.contains("larger than request limit"))?;
    let peak = peak_memory(&terminal)?;
    assert!(peak < MOST_MEMORY, "{peak} KiB");
    Ok(())
}

fn dripping_stream(_: &Namespace) -> Result<()> {
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
    terminal.await_screen("word of silence", |screen| screen.contains("no data for"))?;
    let given_up =
        || server.asked().iter().filter(|asked| asked.path.ends_with("stream")).count() > 1;
    let begun = Instant::now();
    while !given_up() {
        assert!(begun.elapsed() < 2 * DEADLINE, "{:?}", server.asked());
        sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// A title, a cleared screen, a colour by C1, a line end, another direction.
const EVIL: &str = r"\u001b]0;owned\u0007\u001b[2J\u009b31m\r\n\u202etxet\u007f";

fn escapes(_: &Namespace) -> Result<()> {
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
    let title = terminal.tell("#{pane_title}")?;
    terminal.await_screen("it written out", |screen| {
        screen.contains(r"\u{1b}]0;owned\u{7}") && screen.contains("established")
    })?;
    let screen = terminal.await_screen("the error", |screen| screen.contains("no connection"))?;
    assert!(screen.contains("invalid type") && screen.contains("established"), "{screen}");
    assert_eq!(terminal.tell("#{pane_title}")?, title);
    let lines: Vec<_> = screen.trim_end().lines().collect();
    assert_eq!(lines.len(), 24, "nothing has moved: {screen}");
    Ok(())
}

fn huge_numbers(_: &Namespace) -> Result<()> {
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
    // A count that no host has is the largest that there is, of each family.
    terminal.await_screen("them", |screen| {
        screen.contains("events missed") && screen.contains("8589934590 sockets")
    })?;
    terminal.press("?")?;
    terminal.await_screen("the help", |screen| screen.contains("pause and continue"))?;
    Ok(())
}

fn negative_number(_: &Namespace) -> Result<()> {
    let server = Hostile::start(|path, answer| {
        usual(path, answer).unwrap_or_else(|| {
            answer.begin(STREAM)?;
            answer.send("event: sample\ndata: {\"unix_ms\":-5}\n\n")?;
            sleep(Duration::from_secs(5));
            Ok(())
        })
    })?;
    holds_out(&server, "invalid value: integer `-5`, expected u64")
}

/// `top --connect` as it is run where the server is refused: it ends.
fn run(url: &str) -> Result<Run> {
    let binary = path_from("TCPSTAT_BIN")?.display().to_string();
    let asked = format!("{binary} top --connect {url}");
    output(Command::new("script").args(["-qec", &asked, "/dev/null"]).env("TERM", "xterm"))
}

fn refused(_: &Namespace) -> Result<()> {
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
                answer.for_ever("X-Header: x\r\n".repeat(1_000))
            },
            "header",
        ),
        (
            |_, answer| {
                answer.begin(JSON)?;
                answer.for_ever(" ".repeat(50_000))
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
    for (place, (answer, reason)) in cases.into_iter().enumerate() {
        let server = Hostile::start(answer)?;
        let run = run(&server.url())?;
        assert_eq!(run.status, Some(1), "{place} {reason}: {run:?}");
        let start = format!("tcpstat: --connect {}: ", server.url());
        let line = run.stdout.strip_prefix(&start).with_context(|| format!("{place}: {run:?}"))?;
        assert!(line.contains(reason), "{place} {reason}: {line}");
        let line = line.trim_end_matches(['\r', '\n']);
        assert!(!line.contains(char::is_control) && line.len() < 1_100, "{place}: {line:?}");
        assert!(!line.contains("/other"), "{place}: {line}");
        assert!(server.asked().iter().all(|asked| asked.path != "/other"), "{place}");
    }
    // Told once.
    let run = run("http://127.0.0.1:1")?;
    assert_eq!(run.stdout.matches("Connection refused").count(), 1, "{run:?}");
    Ok(())
}

fn password(_: &Namespace) -> Result<()> {
    let server = Hostile::start(|path, answer| {
        usual(path, answer).unwrap_or_else(|| answer.whole("404 Not Found", "text/plain", "none\n"))
    })?;
    let url = format!("http://me:sesame@127.0.0.1:{}", server.port());
    let terminal = top(&url)?;
    let screen = terminal.await_screen("its start", |screen| screen.contains("no connection"))?;
    assert!(!screen.contains("sesame"), "{screen}");
    assert!(screen.contains(&format!("***@127.0.0.1:{}", server.port())), "{screen}");
    let sent = server.asked().iter().all(|asked| {
        // me:sesame
        asked.fields.iter().any(|field| field.ends_with("Basic bWU6c2VzYW1l"))
    });
    assert!(sent, "{:?}", server.asked());
    let run = run("http://me:sesame@127.0.0.1:1")?;
    assert!(run.stdout.contains("***@127.0.0.1:1: ") && !run.stdout.contains("sesame"), "{run:?}");
    Ok(())
}
