//! Valid and invalid arguments and variables: valid ones work, invalid ones cause a short error.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tcpstat_tests::binary::{Run, fixture, output, path_from, tcpstat};
use tcpstat_tests::harness::Test;
use tcpstat_tests::hermetic_tests;

use crate::help::{flags, helps};
use crate::web::anywhere;

pub(crate) fn tests() -> Vec<Test> {
    hermetic_tests![
        no_argument_causes_a_panic_or_is_printed_unescaped,
        no_variable_causes_a_panic_or_is_printed_unescaped,
        an_empty_variable_counts_as_unset,
        a_switch_accepts_every_word_for_yes_and_no,
        an_error_names_the_variable_that_the_value_came_from,
        variables_of_other_commands_are_ignored,
        a_state_that_does_not_exist_is_refused_with_those_that_do,
        the_metrics_of_cadvisor_need_all_network_namespaces,
        a_maximum_of_dwells_without_a_state_is_wrong_usage,
        a_choice_of_namespaces_that_makes_no_sense_is_refused_with_a_remedy,
        a_path_that_is_no_procfs_is_refused_before_the_port_opens,
        a_misspelt_variable_is_named_once_with_the_nearest_one,
        no_error_and_no_help_shows_a_password
    ]
}

/// Limit of an error in bytes, with space for a quoted value.
const MAX_ERROR: usize = 2_000;

fn invalid_values() -> Vec<OsString> {
    let text =
        ["", " ", ",", "\u{1b}[2J", "\u{1b}]0;title\u{7}", "\u{9b}2J", "a\nb", "é", "\u{202e}x"];
    let mut all: Vec<OsString> = text.into_iter().map(OsString::from).collect();
    all.push("x".repeat(100_000).into());
    all.push("/x".repeat(50_000).into());
    all.push(OsString::from_vec(b"\xff\xfe".to_vec()));
    all
}

/// Commands with a flag that takes a value, and the variable of that flag.
fn flags_with_values() -> Result<Vec<(String, String, Option<String>)>> {
    let mut all = Vec::new();
    for (command, help) in helps()? {
        for (flag, text) in flags(&help) {
            let variable = text.split_once("[env: ").and_then(|(_, rest)| rest.split(']').next());
            if text.contains('<') {
                all.push((command.clone(), flag, variable.map(str::to_owned)));
            }
        }
    }
    ensure!(all.len() > 20, "{all:?}");
    Ok(all)
}

/// There is nothing to serve or show, so the command ends by itself, or at the latest by SIGKILL.
fn run(command: &str, flag: &str) -> Result<Command> {
    let mut run = Command::new("timeout");
    run.args(["--signal=KILL", "10"]).arg(path_from("TCPSTAT_BIN")?);
    run.args(command.split_whitespace());
    if command == "completions" {
        run.arg("bash");
    }
    if command == "print" {
        run.arg("unit");
    }
    if ["", "serve", "show", "check", "events"].contains(&command) && flag != "--path.procfs" {
        run.arg("--path.procfs=/nonexistent");
    }
    Ok(run)
}

fn assert_handled(run: &Run, what: &str) {
    assert!(matches!(run.status, Some(0..=2)), "{what}: {run:?}");
    let raw = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
    assert!(!run.stderr.contains(raw), "{what}: {run:?}");
    assert!(run.stderr.len() < MAX_ERROR, "{what}: {} bytes", run.stderr.len());
    assert!(!run.stderr.contains("panicked"), "{what}: {run:?}");
    if run.status == Some(2) {
        assert!(run.stderr.starts_with("error: "), "{what}: {run:?}");
    }
}

fn no_argument_causes_a_panic_or_is_printed_unescaped() -> Result<()> {
    for (command, flag, _) in flags_with_values()? {
        for value in invalid_values() {
            let mut argument = OsString::from(format!("{flag}="));
            argument.push(&value);
            let run = output(run(&command, &flag)?.arg(&argument))?;
            assert_handled(&run, &format!("{command} {flag} {:.20}", value.display().to_string()));
        }
    }
    // In place of a flag, a command, or another argument.
    for command in ["", "serve", "print", "completions", "help"] {
        for start in ["", "--", "-"] {
            for value in invalid_values() {
                let mut argument = OsString::from(start);
                argument.push(&value);
                if command.is_empty() && (argument.is_empty() || argument == "--") {
                    continue;
                }
                let run = output(run(command, "")?.arg(&argument))?;
                assert_handled(&run, &format!("{command} {:.20}", argument.display().to_string()));
            }
        }
    }
    Ok(())
}

fn no_variable_causes_a_panic_or_is_printed_unescaped() -> Result<()> {
    let all = flags_with_values()?.into_iter();
    let all: Vec<_> =
        all.filter_map(|(command, flag, variable)| Some((command, flag, variable?))).collect();
    ensure!(all.len() > 20, "{all:?}");
    for (command, flag, variable) in all {
        // Another test sets empty variables: with the flag's default the exporter would run.
        for value in invalid_values().into_iter().filter(|value| !value.is_empty()) {
            let run = output(run(&command, &flag)?.env(&variable, &value))?;
            let what = format!("{variable}={:.20} {command}", value.display().to_string());
            if run.status == Some(2) {
                assert!(run.stderr.contains(&variable), "{what}: {run:?}");
                assert!(!run.stderr.contains(&format!("{flag} ")), "{what}: {run:?}");
            }
            assert_handled(&run, &what);
        }
    }
    Ok(())
}

fn an_empty_variable_counts_as_unset() -> Result<()> {
    let variables = flags_with_values()?.into_iter().filter_map(|(_, _, variable)| variable);
    let empty: Vec<_> = variables.map(|variable| (variable, "")).collect();
    ensure!(empty.len() > 20, "{empty:?}");
    let options = empty
        .into_iter()
        .fold(anywhere("debian-7.2")?, |options, (variable, value)| options.env(variable, value));
    let mut exporter = options.start()?;
    assert!(exporter.get("/metrics")?.body.contains("node_tcp_connection_states{"));
    Ok(())
}

fn a_switch_accepts_every_word_for_yes_and_no() -> Result<()> {
    let served = |value: &str| -> Result<bool> {
        let options = anywhere("debian-7.2")?.env("TCPSTAT_NO_COMPAT_NODE_EXPORTER", value);
        Ok(options.start()?.get("/metrics")?.body.contains("node_tcp_connection_states{"))
    };
    for (yes, no) in [("1", "0"), ("true", "FALSE"), ("YES", "no"), ("On", "off")] {
        assert!(!served(yes)?, "{yes}");
        assert!(served(no)?, "{no}");
    }
    for value in ["2", "y", "enabled", "yes please", "true,false"] {
        let mut command = Command::new(path_from("TCPSTAT_BIN")?);
        let run = output(command.arg("serve").env("TCPSTAT_NO_COMPAT_NODE_EXPORTER", value))?;
        let error = format!(
            "error: invalid value '{value}' for 'TCPSTAT_NO_COMPAT_NODE_EXPORTER': \
             write 1 or 0, true or false, yes or no, on or off"
        );
        assert_eq!((run.status, run.stderr.lines().next()), (Some(2), Some(error.as_str())));
    }
    let procfs = format!("--path.procfs={}", fixture("proc/debian-7.2")?.display());
    for (flag, json) in [("--json", true), ("--json=yes", true), ("--json=off", false)] {
        let run = tcpstat(["show", &procfs, flag])?;
        assert_eq!(run.stdout.starts_with('{'), json, "{flag}: {run:?}");
    }
    Ok(())
}

fn a_state_that_does_not_exist_is_refused_with_those_that_do() -> Result<()> {
    let run = tcpstat(["who", "closewait"])?;
    assert_eq!(run.status, Some(2), "{run:?}");
    for part in ["invalid value 'closewait'", "[STATE]", "close_wait", "listen", "time_wait"] {
        assert!(run.stderr.contains(part), "{part}: {run:?}");
    }
    let procfs = format!("--path.procfs={}", fixture("proc/debian-7.2")?.display());
    let run = tcpstat(["who", "close_wait", &procfs])?;
    assert_eq!(run.status, Some(1), "{run:?}");
    assert!(run.stderr.contains("is not the mount point of a procfs"), "{run:?}");
    Ok(())
}

fn the_metrics_of_cadvisor_need_all_network_namespaces() -> Result<()> {
    let procfs = format!("--path.procfs={}", fixture("proc/debian-7.2")?.display());
    let run = tcpstat(["serve", "--compat.cadvisor", &procfs])?;
    assert_eq!(run.status, Some(2), "{run:?}");
    for part in ["error: --compat.cadvisor", "--netns all", "TCPSTAT_COMPAT_CADVISOR"] {
        assert!(run.stderr.contains(part), "{part}: {run:?}");
    }
    Ok(())
}

fn a_maximum_of_dwells_without_a_state_is_wrong_usage() -> Result<()> {
    let words = ": nothing is measured without --dwell: add --dwell with the states to measure";
    let run = tcpstat(["serve", "--dwell-max=1000"])?;
    assert_eq!(run.status, Some(2), "{run:?}");
    assert!(run.stderr.starts_with(&format!("error: --dwell-max{words}")), "{run:?}");
    let mut command = Command::new(path_from("TCPSTAT_BIN")?);
    let run = output(command.env("TCPSTAT_DWELL_MAX", "1000"))?;
    assert_eq!(run.status, Some(2), "{run:?}");
    assert!(run.stderr.starts_with(&format!("error: TCPSTAT_DWELL_MAX{words}")), "{run:?}");
    Ok(())
}

fn an_error_names_the_variable_that_the_value_came_from() -> Result<()> {
    let cases = [
        ("serve", "TCPSTAT_SNAPSHOT_INTERVAL", "often", "TIME"),
        ("", "TCPSTAT_SNAPSHOT_INTERVAL", "often", "TIME"),
        ("serve", "TCPSTAT_TRACER", "btf,kprobe", "PROGRAM"),
        ("serve", "TCPSTAT_TRACER", "btf,off", "PROGRAM"),
        ("serve", "TCPSTAT_WEB_LISTEN_ADDRESS", ":1,10048", "ADDRESS"),
        ("serve", "TCPSTAT_WEB_TELEMETRY_PATH", "/{x}", "PATH"),
        ("serve", "TCPSTAT_TEXTFILE", "/tmp/x.txt", "PATH"),
        ("show", "TCPSTAT_LOG_LEVEL", "loud", "LEVEL"),
        ("print rules", "TCPSTAT_LOG_LEVEL", "loud", "LEVEL"),
        ("top", "TCPSTAT_CONNECT", "web-1", "URL"),
    ];
    for (command, variable, value, kind) in cases {
        let mut run = Command::new(path_from("TCPSTAT_BIN")?);
        let run = output(run.args(command.split_whitespace()).env(variable, value))?;
        assert_eq!(run.status, Some(2), "{variable}={value} {command}: {run:?}");
        let line = run.stderr.lines().next().context("no error")?;
        assert!(line.contains(variable) && !line.contains("--"), "{line}");
        // An error about the flag's value names the flag, although the variable is set too.
        let flag = variable.trim_start_matches("TCPSTAT_").to_lowercase();
        let flag = match flag.as_str() {
            "snapshot_interval" => "--snapshot-interval",
            "web_listen_address" => "--web.listen-address",
            "web_telemetry_path" => "--web.telemetry-path",
            "log_level" => "--log.level",
            other => &format!("--{other}"),
        };
        let mut run = Command::new(path_from("TCPSTAT_BIN")?);
        run.args(command.split_whitespace()).arg(format!("{flag}={value}"));
        let run = output(run.env(variable, value))?;
        let line = run.stderr.lines().next().context("no error")?;
        assert!(line.contains(flag) && !line.contains(variable), "{kind}: {line}");
    }
    // The same for an error after the start.
    let mut run = Command::new(path_from("TCPSTAT_BIN")?);
    let run = output(run.args(["serve"]).env("TCPSTAT_TEXTFILE", "/nonexistent/x.prom"))?;
    assert!(run.stderr.starts_with("tcpstat: TCPSTAT_TEXTFILE: "), "{run:?}");
    Ok(())
}

fn variables_of_other_commands_are_ignored() -> Result<()> {
    let procfs = format!("--path.procfs={}", fixture("proc/debian-7.2")?.display());
    let commands: [&[&str]; 5] =
        [&["show", &procfs], &["print", "unit"], &["completions", "zsh"], &["man"], &["--version"]];
    for args in commands {
        let mut command = Command::new(path_from("TCPSTAT_BIN")?);
        command.args(args).envs([
            ("TCPSTAT_SNAPSHOT_INTERVAL", OsStr::new("nonsense")),
            ("TCPSTAT_NO_COMPAT_NODE_EXPORTER", OsStr::new("nonsense")),
            ("TCPSTAT_WEB_TELEMETRY_PATH", OsStr::from_bytes(b"\xff")),
            ("TCPSTAT_CONNECT", OsStr::new("nonsense")),
        ]);
        let run = output(&mut command)?;
        assert!(run.status == Some(0) && run.stderr.is_empty(), "{args:?}: {run:?}");
    }
    Ok(())
}

fn no_error_and_no_help_shows_a_password() -> Result<()> {
    let urls = ["https://me:sesame@web-1", "me:sesame@web-1:1", "http://me:sesame@web-1:1 /x"];
    for url in urls {
        for by_variable in [false, true] {
            let mut command = Command::new(path_from("TCPSTAT_BIN")?);
            command.arg("top");
            if by_variable {
                command.env("TCPSTAT_CONNECT", url);
            } else {
                command.arg(format!("--connect={url}"));
            }
            let run = output(&mut command)?;
            assert_eq!(run.status, Some(2), "{run:?}");
            assert!(run.stderr.contains("***@web-1"), "{run:?}");
            assert!(!run.stderr.contains("sesame"), "{run:?}");
        }
        let mut command = Command::new(path_from("TCPSTAT_BIN")?);
        let help = output(command.args(["top", "--help"]).env("TCPSTAT_CONNECT", url))?;
        assert!(help.stdout.contains("TCPSTAT_CONNECT") && !help.stdout.contains("sesame"));
    }
    Ok(())
}

fn a_choice_of_namespaces_that_makes_no_sense_is_refused_with_a_remedy() -> Result<()> {
    let mount = "use the mount point";
    for (args, status, parts) in [
        (&["--netns=blue"][..], 2, ["'blue'", "--netns", "a path such as /run/netns/NAME"]),
        (&["--netns=/none/blue"], 1, ["--netns /none/blue: ", "No such file", "`ip netns list`"]),
        (&["--netns=all", "--path.procfs=/proc/self"], 1, ["--netns all: ", "/proc/self", mount]),
        (&["--netns=/x", "--path.procfs=/proc/self"], 1, ["--netns /x: ", "/proc/self", mount]),
        (
            &["--netns=all", "--path.pods=/etc/passwd"],
            1,
            ["--path.pods /etc/passwd: ", "not a directory", "NAMESPACE_NAME_UID"],
        ),
        (
            &["--ports=1-20", "--scopes-max=9"],
            2,
            ["--ports: 20 ports", "at most 9", "raise --scopes-max"],
        ),
        (&["--path.pods=/x"], 2, ["--path.pods: ", "--netns all only", "leave it out"]),
        (
            &["--cgroups=*", "--snapshot=procfs"],
            2,
            ["--cgroups: ", "/proc does not show cgroups", "leave out --snapshot procfs"],
        ),
        (&["--scopes-max=0"], 2, ["'0'", "--scopes-max", "from 1 to 4096"]),
        (&["--scopes-max=4097"], 2, ["'4097'", "--scopes-max", "from 1 to 4096"]),
    ] {
        let run = tcpstat([&["serve", "--web.listen-address=127.0.0.1:0"], args].concat())?;
        assert_eq!(run.status, Some(status), "{args:?}: {run:?}");
        // Before the first line of the log.
        ensure!(status != 1 || run.stderr.lines().count() == 1, "{args:?}: {run:?}");
        let line = run.stderr.lines().next().unwrap_or_default();
        for part in parts {
            ensure!(line.contains(part), "{args:?}: {part}: {run:?}");
        }
    }
    Ok(())
}

fn a_path_that_is_no_procfs_is_refused_before_the_port_opens() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("file");
    fs::write(&file, "")?;
    let (folder, file) = (folder.path().display().to_string(), file.display().to_string());
    for (path, cause) in [
        ("/nonexistent", "it does not exist"),
        (folder.as_str(), "net/tcp does not exist, so this is not a procfs"),
        (file.as_str(), "net/tcp does not exist, so this is not a procfs"),
        ("/proc/4999999", "/proc has no process with this number"),
    ] {
        for command in ["serve", "show", "top", "events", "who"] {
            let procfs = format!("--path.procfs={path}");
            let address = "--web.listen-address=127.0.0.1:0".to_owned();
            let address = (command == "serve").then_some(address);
            let run = tcpstat([command.to_owned(), procfs].into_iter().chain(address))?;
            assert_eq!(run.status, Some(1), "{command} {path}: {run:?}");
            ensure!(run.stderr.lines().count() == 1, "{command} {path}: {run:?}");
            let start = format!("tcpstat: --path.procfs {path}: ");
            for part in [start.as_str(), cause, "use the mount point of a procfs, such as /proc"] {
                ensure!(run.stderr.contains(part), "{command} {part}: {run:?}");
            }
        }
    }
    let report = tcpstat(["check", "--path.procfs=/nonexistent"])?;
    ensure!(
        report.stdout.contains("serve would not start: --path.procfs is not a procfs"),
        "{report:?}"
    );
    Ok(())
}

fn a_misspelt_variable_is_named_once_with_the_nearest_one() -> Result<()> {
    let mut exporter = anywhere("debian-7.2")?
        .env("TCPSTAT_LISTENER_MAX", "5")
        .env("TCPSTAT_PORT", "tcp://10.0.0.1:10048")
        .env("TCPSTAT_CONNECT", "http://web-1:10048")
        .start()?;
    exporter.get("/metrics")?;
    let log = exporter.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("has no effect")).collect();
    let line = "TCPSTAT_LISTENER_MAX has no effect: no flag has this variable: did you mean TCPSTAT_LISTENERS_MAX?";
    ensure!(lines.len() == 1 && lines[0].contains(line) && lines[0].contains("WARN"), "{log}");
    Ok(())
}
