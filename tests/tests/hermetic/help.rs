//! Help, manual pages and other printed documents, and how they are printed.

use std::fs;
use std::io::pipe;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use tcpstat_tests::binary::{fixture, output, path_from, tcpstat};
use tcpstat_tests::harness::Test;
use tcpstat_tests::hermetic_tests;
use tcpstat_tests::skip::require_program;

pub(crate) fn tests() -> Vec<Test> {
    hermetic_tests![
        every_flag_has_an_environment_variable_or_a_reason,
        every_flag_is_in_the_manual_page_of_its_command,
        every_command_has_examples_and_the_help_explains_the_exit_status,
        the_unit_drops_all_but_two_capabilities,
        systemd_rates_the_exposure_of_the_unit_at_two_or_less,
        systemd_accepts_the_unit,
        a_closed_pipe_ends_a_command_without_an_error,
        a_full_disk_is_an_error_of_one_line,
        colours_are_used_on_terminals_unless_no_color_is_set
    ]
}

/// Flags without an environment variable, and why.
const WITHOUT_VARIABLE: [(&str, &str); 6] = [
    ("--help", "asks for something else than the command"),
    ("--version", "asks for something else than the command"),
    ("--json", "a script that asks for it must get it, and one that does not must not"),
    ("--directory", "is given once, by a package's build"),
    ("--fleet", "chooses the file to print"),
    ("--template", "chooses the file to print"),
];

/// Commands that answer a question: their flags are the question, which no unit or shell asks for all of them. Those of
/// this host and of the log have variables.
const QUESTIONS: [&str; 2] = ["who", "events"];

/// Every command with its help, first the help without a command.
pub(crate) fn helps() -> Result<Vec<(String, String)>> {
    let help = |command: &str| -> Result<(String, String)> {
        let run = tcpstat(command.split_whitespace().chain(["--help"]))?;
        ensure!(run.status == Some(0) && run.stderr.is_empty(), "{command}: {run:?}");
        Ok((command.to_owned(), run.stdout))
    };
    let mut all = vec![help("")?];
    for command in commands(&all[0].1) {
        all.push(help(&command)?);
        for kind in commands(&all[all.len() - 1].1) {
            all.push(help(&format!("{command} {kind}"))?);
        }
    }
    Ok(all)
}

/// The commands that a help lists, without `help` itself.
fn commands(help: &str) -> Vec<String> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    listed
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|command| !command.is_empty() && *command != "help")
        .map(str::to_owned)
        .collect()
}

/// The flags that a help lists, each with its text.
pub(crate) fn flags(help: &str) -> Vec<(String, String)> {
    let mut flags: Vec<(String, String)> = Vec::new();
    for line in help.lines().take_while(|line| *line != "Examples:") {
        let long = line.split_whitespace().find(|word| word.starts_with("--"));
        if let (true, Some(long)) = (line.trim_start().starts_with('-'), long) {
            // A part in brackets is optional.
            let name = long.split('[').next().unwrap_or(long);
            flags.push((name.to_owned(), line.to_owned()));
        } else if let Some((_, text)) = flags.last_mut() {
            *text += line;
        }
    }
    flags
}

fn every_flag_has_an_environment_variable_or_a_reason() -> Result<()> {
    for (command, help) in helps()? {
        let flags = flags(&help);
        assert!(flags.iter().any(|(flag, _)| flag == "--log.level"), "{command}: {flags:?}");
        for (flag, text) in flags {
            let is_asked = QUESTIONS.contains(&command.as_str())
                && !["--path.", "--log."].iter().any(|prefix| flag.starts_with(prefix));
            if is_asked || WITHOUT_VARIABLE.iter().any(|(without, _)| *without == flag) {
                continue;
            }
            let name = flag.trim_start_matches("--").to_uppercase().replace(['.', '-'], "_");
            let variable = format!("[env: TCPSTAT_{name}]");
            assert!(text.contains(&variable), "{command} {flag}: no {variable} in {text}");
        }
    }
    Ok(())
}

fn every_flag_is_in_the_manual_page_of_its_command() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let run = tcpstat(["man".as_ref(), "--directory".as_ref(), folder.path().as_os_str()])?;
    ensure!(run.status == Some(0), "{run:?}");
    let helps = helps()?;
    ensure!(helps.len() > 10, "{helps:?}");
    for (command, help) in &helps {
        let name = format!("tcpstat {command}");
        let page = folder.path().join(format!("{}.1", name.trim_end().replace(' ', "-")));
        let page = fs::read_to_string(&page).with_context(|| page.display().to_string())?;
        let page = page.replace("\\-", "-");
        let flags = flags(help);
        ensure!(!flags.is_empty(), "{command}: no flag in {help}");
        for (flag, _) in flags {
            assert!(page.contains(&flag), "{command}: {flag} is not in {page}");
        }
        for listed in commands(help) {
            let reference = format!("{listed}(1)");
            assert!(page.contains(&reference), "{command}: {reference} is not in {page}");
        }
    }
    assert_eq!(fs::read_dir(folder.path())?.count(), helps.len());
    let whole = fs::read_to_string(folder.path().join("tcpstat.1"))?;
    assert_eq!(tcpstat(["man"])?.stdout, whole);
    for section in ["LISTENING", "COUNTING", "EXAMPLES", "EXIT STATUS"] {
        let heads = |line: &str| {
            line.strip_prefix(".SH ").is_some_and(|name| name.trim_matches('"') == section)
        };
        assert!(whole.lines().any(heads), "{section}: {whole}");
    }

    let nowhere = folder.path().join("none");
    let run = tcpstat(["man".as_ref(), "--directory".as_ref(), nowhere.as_os_str()])?;
    assert_eq!(run.status, Some(1));
    let start = format!("tcpstat: --directory: writing {}", nowhere.display());
    assert!(run.stderr.starts_with(&start) && run.stderr.lines().count() == 1, "{}", run.stderr);
    Ok(())
}

fn every_command_has_examples_and_the_help_explains_the_exit_status() -> Result<()> {
    let helps = helps()?;
    for (command, help) in &helps {
        let examples = help.split_once("\nExamples:\n").with_context(|| command.clone())?.1;
        assert!(
            examples.lines().any(|line| line.contains(&format!("tcpstat {command}"))),
            "{help}"
        );
    }
    let status = helps[0].1.split_once("\nExit status:\n").context("no exit status")?.1;
    for number in ["0", "1", "2"] {
        assert!(status.lines().any(|line| line.trim_start().starts_with(number)), "{status}");
    }
    Ok(())
}

fn the_unit_drops_all_but_two_capabilities() -> Result<()> {
    let unit = tcpstat(["print", "unit"])?.stdout;
    for line in [
        "DynamicUser=yes",
        "AmbientCapabilities=CAP_BPF CAP_PERFMON",
        "CapabilityBoundingSet=CAP_BPF CAP_PERFMON",
        "ExecStart=/usr/bin/tcpstat serve",
        // With these tcpstat sets its own filter, and gives up capabilities.
        "SystemCallFilter=bpf perf_event_open sched_setattr capset seccomp",
    ] {
        assert!(unit.lines().any(|is| is == line), "{line}: {unit}");
    }
    Ok(())
}

fn systemd_accepts_the_unit() -> Result<()> {
    require_program("systemd-analyze")?;
    let unit = tcpstat(["print", "unit"])?.stdout;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("tcpstat.service");
    // It checks that the program exists.
    let binary = path_from("TCPSTAT_BIN")?.display().to_string();
    fs::write(&path, unit.replace("/usr/bin/tcpstat", &binary))?;
    let run = output(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path))?;
    ensure!(run.status == Some(0) && run.stderr.is_empty(), "{run:?}");
    Ok(())
}

/// systemd rates a unit from 0.0, for all of its locks, to 10.0.
fn systemd_rates_the_exposure_of_the_unit_at_two_or_less() -> Result<()> {
    require_program("systemd-analyze")?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("tcpstat.service");
    fs::write(&path, tcpstat(["print", "unit"])?.stdout)?;
    let rate = ["security", "--offline=true", "--threshold=20", "--no-pager"];
    let run = output(Command::new("systemd-analyze").args(rate).arg(&path))?;
    ensure!(run.stdout.contains("Overall exposure level"), "{run:?}");
    ensure!(run.status == Some(0), "{run:?}");
    Ok(())
}

/// Commands that print without a kernel.
fn printing() -> Result<Vec<Vec<String>>> {
    let procfs = format!("--path.procfs={}", fixture("proc/debian-7.2")?.display());
    let args: [&[&str]; 5] =
        [&["show", &procfs], &["print", "unit"], &["completions", "zsh"], &["man"], &["--help"]];
    Ok(args.iter().map(|args| args.iter().map(ToString::to_string).collect()).collect())
}

fn a_closed_pipe_ends_a_command_without_an_error() -> Result<()> {
    for args in printing()? {
        let (reader, writer) = pipe()?;
        drop(reader);
        let output = Command::new(path_from("TCPSTAT_BIN")?)
            .args(&args)
            .stdout(writer)
            .stderr(Stdio::piped())
            .output()?;
        assert_eq!(String::from_utf8(output.stderr)?, "", "{args:?}");
        assert!(output.status.success(), "{args:?}: {}", output.status);
    }
    Ok(())
}

fn a_full_disk_is_an_error_of_one_line() -> Result<()> {
    for args in printing()?.into_iter().filter(|args| args[0] != "--help") {
        let full = fs::OpenOptions::new().write(true).open("/dev/full")?;
        let mut command = Command::new(path_from("TCPSTAT_BIN")?);
        let output = command.args(&args).stdout(full).stderr(Stdio::piped()).output()?;
        let line = "tcpstat: writing to standard output: No space left on device (os error 28)\n";
        assert_eq!(String::from_utf8(output.stderr)?, line, "{args:?}");
        assert_eq!(output.status.code(), Some(1), "{args:?}");
    }
    Ok(())
}

/// Help, an error, and a line of the log, each on a terminal that `script` makes.
fn colours_are_used_on_terminals_unless_no_color_is_set() -> Result<()> {
    require_program("script")?;
    let binary = path_from("TCPSTAT_BIN")?.display().to_string();
    let broken = fixture("proc/broken-rows")?.display().to_string();
    for args in ["--help", "--nonsense", &format!("show --path.procfs={broken}")] {
        let on_terminal = |no_color: Option<&str>| -> Result<bool> {
            let mut script = Command::new("script");
            script.args(["-qec", &format!("{binary} {args}; true"), "/dev/null"]);
            script.env("TERM", "xterm").env_remove("NO_COLOR").env_remove("CLICOLOR");
            script.envs(no_color.map(|value| ("NO_COLOR", value)));
            let run = output(&mut script)?;
            ensure!(run.stdout.len() > 100, "{args}: {run:?}");
            Ok(run.stdout.contains('\u{1b}'))
        };
        assert!(on_terminal(None)?, "{args}");
        assert!(!on_terminal(Some("1"))?, "{args}");
        let run = tcpstat(args.split(' '))?;
        assert!(!run.stdout.contains('\u{1b}') && !run.stderr.contains('\u{1b}'), "{run:?}");
    }
    Ok(())
}
