//! Which arguments the command line accepts, and how it refuses the others.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use anyhow::{Result, ensure};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tcpstat_tests::binary::{output, path_from, tcpstat};
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::harness::Test;
use tcpstat_tests::hermetic_tests;
use tcpstat_tests::skip::require_program;

use crate::web::anywhere;

pub(crate) fn tests() -> Vec<Test> {
    hermetic_tests![
        an_invalid_flag_is_named_and_prevents_the_start,
        an_error_has_the_usage_of_the_command_that_it_is_about,
        environment_variables_set_flags,
        an_address_in_use_is_named,
        top_without_a_terminal_is_an_error,
        top_without_an_exporter_is_an_error,
        version_prints_the_version,
        standard_output_that_does_not_block_gets_everything
    ]
}

fn an_invalid_flag_is_named_and_prevents_the_start() -> Result<()> {
    let cases: [(&[&str], &str); 30] = [
        (&["serve", "--snapshot-interval=often"], "--snapshot-interval"),
        (&["--snapshot-interval=often"], "--snapshot-interval"),
        (&["serve", "--snapshot-interval=1ms"], "at least 100ms"),
        (&["serve", "--snapshot-interval=1year"], "at most 1day"),
        (&["serve", "--web.listen-address=10048"], "HOST:PORT"),
        (&["serve", "--web.telemetry-path=metrics"], "must begin with /"),
        (&["serve", "--web.telemetry-path=/-/ready"], "are reserved"),
        (
            &["serve", "--listeners-max", "-1"],
            "'-1' for '--listeners-max <NUMBER>': write a number from 0 to 4096",
        ),
        (&["serve", "--scopes-max", "-1"], "write a number from 1 to 4096"),
        (&["serve", "--tracer=kprobe"], "auto, btf, tracepoint, off"),
        (&["serve", "--tracer=btf,off"], "--tracer: `off` cannot be combined with a program"),
        (&["top", "--connect=web-1:10048"], "http://web-1:10048"),
        (&["top", "--interval=1ms"], "at least 100ms"),
        (&["print", "rules", "--runbook-url=runbooks/tcp"], "https://runbooks.example/tcpstat"),
        (&["print", "rules", "--runbook-url=https://a/b#c"], "without a #"),
        (&["print", "rules", "--runbook-url=https://a/'\nb: c"], "without a #"),
        (&["serve", "--snapshot-interval", "-5s"], "'-5s' for '--snapshot-interval <TIME>'"),
        (&["top", "--interval", "-5s"], "write a time such as 15s"),
        (&["who", "--pid", "x"], "write a number from 1 to 4294967295"),
        (&["who", "--watch", "x"], "write a time such as 15s"),
        (&["who", "--older-than", "x"], "write a time such as 15s"),
        (&["who", "--watch", "0"], "at least 1s"),
        (&["who", "--watch", "2days"], "at most 1day"),
        (&["events", "--duration", "-1"], "at most 365days"),
        (
            &["events", "--state=TIME_WAIT"],
            "the kernel reports no transition into or out of time_wait",
        ),
        (&["events", "--transition=established:listen"], "established:close_wait"),
        (&["completions"], "bash|fish|zsh"),
        (&["print"], "unit"),
        (&["print", "unti"], "one of unit, dashboard, rules, alertmanager, runbook"),
        (&["count"], "count"),
    ];
    for (args, remedy) in cases {
        let run = tcpstat(args)?;
        assert_eq!(run.status, Some(2), "{args:?}: {run:?}");
        let is_error = run.stderr.starts_with("error: ") || args == ["print"];
        assert!(is_error, "{args:?}: {}", run.stderr);
        assert!(run.stderr.contains(remedy), "{args:?}: {}", run.stderr);
    }
    Ok(())
}

fn an_error_has_the_usage_of_the_command_that_it_is_about() -> Result<()> {
    let cases: [(&[&str], &str); 10] = [
        (&["--dwell-max=5"], "tcpstat"),
        (&["serve", "--dwell-max=5"], "tcpstat serve"),
        (&["serve", "--compat.cadvisor"], "tcpstat serve"),
        (&["serve", "--path.pods=/x"], "tcpstat serve"),
        (&["serve", "--cgroups=*", "--snapshot=procfs"], "tcpstat serve"),
        (&["serve", "--ports=1-20", "--scopes-max=9"], "tcpstat serve"),
        (&["top", "--cgroups=*", "--snapshot=procfs"], "tcpstat top"),
        (&["top", "--connect.user=x"], "tcpstat top"),
        (&["who", "listen", "--older-than=5m"], "tcpstat who"),
        (&["print", "unti"], "tcpstat print"),
    ];
    let begin = |command: &str| format!("\nUsage: {command} [");
    for (args, command) in cases {
        let run = tcpstat(args)?;
        assert_eq!(run.status, Some(2), "{args:?}: {run:?}");
        let usage = [begin(command), begin(command).replace('[', "<")];
        assert!(usage.iter().any(|usage| run.stderr.contains(usage)), "{args:?}: {}", run.stderr);
    }
    // Of a variable too.
    for value in [OsStr::new("x"), OsStr::from_bytes(b"\xff")] {
        let mut command = Command::new(path_from("TCPSTAT_BIN")?);
        let run = output(command.arg("top").env("TCPSTAT_CONNECT_USER", value))?;
        assert_eq!(run.status, Some(2), "{run:?}");
        assert!(run.stderr.starts_with("error: TCPSTAT_CONNECT_USER: "), "{}", run.stderr);
        assert!(run.stderr.contains(&begin("tcpstat top")), "{}", run.stderr);
    }
    let mut command = Command::new(path_from("TCPSTAT_BIN")?);
    let run = output(command.args(["top", "--interval"]).arg(OsStr::from_bytes(b"\xff")))?;
    assert!(run.stderr.contains(&begin("tcpstat top")), "{}", run.stderr);
    Ok(())
}

fn environment_variables_set_flags() -> Result<()> {
    let mut exporter = anywhere("debian-7.2")?
        .env("TCPSTAT_WEB_TELEMETRY_PATH", "/numbers")
        .env("TCPSTAT_NO_COMPAT_NODE_EXPORTER", "true")
        .start()?;
    assert_eq!(exporter.get("/metrics")?.status, 404);
    let body = exporter.get("/numbers")?.body;
    assert!(body.contains("tcpstat_connections{"));
    assert!(!body.contains("node_tcp_connection_states"));
    Ok(())
}

fn an_address_in_use_is_named() -> Result<()> {
    let exporter = anywhere("empty")?.start()?;
    let address = exporter.address().to_string();
    let run = tcpstat(["serve", "--tracer=off", "--web.listen-address", &address])?;
    assert_eq!(run.status, Some(1));
    // musl writes "Address in use", glibc "Address already in use".
    let line = format!(
        "tcpstat: --web.listen-address {address}: Address in use (os error 98): \
         a socket listens on {address}: stop the process that listens there, or choose another port\n"
    );
    assert_eq!(run.stderr.replace("already in use", "in use"), line);
    drop(exporter);
    let flag = format!("--web.listen-address={address}");
    let run = tcpstat(["serve", "--tracer=off", &flag, &flag])?;
    assert_eq!(run.status, Some(2));
    let line = format!("error: {flag}: it is given twice: leave one out").replace('=', " ");
    assert_eq!(run.stderr.lines().next(), Some(&*line));
    Ok(())
}

fn top_without_a_terminal_is_an_error() -> Result<()> {
    let line = "tcpstat: top needs a terminal on standard output, and its type in TERM; \
                `tcpstat show` prints the numbers once";
    require_program("script")?;
    let run = tcpstat(["top"])?;
    assert_eq!((run.status, run.stdout.as_str()), (Some(1), ""));
    assert_eq!(run.stderr.trim_end(), line);

    let top = format!("{} top", path_from("TCPSTAT_BIN")?.display());
    let mut script = Command::new("script");
    let run = output(script.args(["-qec", &top, "/dev/null"]).env("TERM", "dumb"))?;
    assert_eq!((run.status, run.stdout.trim_end()), (Some(1), line));
    Ok(())
}

fn top_without_an_exporter_is_an_error() -> Result<()> {
    require_program("script")?;
    let binary = path_from("TCPSTAT_BIN")?;
    let exporter = anywhere("empty")?.start()?;
    let [nobody, other] =
        ["http://127.0.0.1:1".to_owned(), format!("http://{}/other", exporter.address())];
    for (url, reason) in
        [(&nobody, "Connection refused"), (&other, "/api/v1/status: 404: not found")]
    {
        let top = format!("{} top --connect {url}", binary.display());
        let mut script = Command::new("script");
        let run = output(script.args(["-qec", &top, "/dev/null"]).env("TERM", "xterm"))?;
        assert_eq!(run.status, Some(1), "{run:?}");
        let start = format!("tcpstat: --connect {url}: ");
        assert!(run.stdout.starts_with(&start) && run.stdout.contains(reason), "{run:?}");
        assert_eq!(run.stdout.lines().count(), 1, "{run:?}");
    }
    Ok(())
}

fn version_prints_the_version() -> Result<()> {
    let version = tcpstat(["--version"])?.stdout;
    assert_eq!(version, format!("tcpstat {}\n", env!("CARGO_PKG_VERSION")));
    Ok(())
}

/// Another process that shares the pipe has made it so.
fn standard_output_that_does_not_block_gets_everything() -> Result<()> {
    let whole = tcpstat(["print", "dashboard"])?.stdout;
    let (mut reader, writer) = io::pipe()?;
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    let other = writer.try_clone()?;
    let mut command = Command::new(path_from("TCPSTAT_BIN")?);
    let mut child = command.args(["print", "dashboard"]).stdout(writer).spawn()?;
    // The command has the other copy.
    drop(command);
    wait_until("a full pipe", DEADLINE, || {
        let writable =
            poll(&mut [PollFd::new(other.as_fd(), PollFlags::POLLOUT)], PollTimeout::ZERO)?;
        Ok(if writable == 0 { Progress::Done(()) } else { Progress::NotYet("writable".to_owned()) })
    })?;
    drop(other);
    let mut text = String::new();
    reader.read_to_string(&mut text)?;
    ensure!(child.wait()?.success() && text == whole, "{} of {} bytes", text.len(), whole.len());
    Ok(())
}
