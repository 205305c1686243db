//! Completions, in the shells that they are for.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tcpstat_tests::binary::{output, tcpstat};
use tcpstat_tests::harness::Test;
use tcpstat_tests::hermetic_tests;
use tcpstat_tests::skip::require_program;
use tcpstat_tests::terminal::Terminal;
use tempfile::TempDir;

use crate::help::{flags, helps};

pub(crate) fn tests() -> Vec<Test> {
    hermetic_tests![
        bash_completes_flags_commands_and_values,
        fish_completes_flags_commands_and_values,
        zsh_completes_flags_commands_and_values,
        other_shells_are_refused
    ]
}

/// What is typed, some words that are offered then, and some that are not.
const CASES: [(&str, &[&str], &[&str]); 10] = [
    ("serve --web.", &["--web.listen-address", "--web.telemetry-path"], &["--tracer"]),
    ("--web.", &["--web.listen-address", "--web.telemetry-path"], &["--tracer"]),
    ("", &["serve", "top", "show", "check", "print", "completions", "man"], &["unit"]),
    ("serve --tracer ", &["auto", "btf", "tracepoint", "off"], &["serve"]),
    ("serve --tracer off --snapshot", &["--snapshot", "--snapshot-interval"], &["serve"]),
    ("print ", &["unit", "dashboard", "rules", "alertmanager", "runbook"], &["serve"]),
    ("print dashboard --", &["--fleet"], &["--runbook-url"]),
    ("print alertmanager --", &["--template"], &["--fleet"]),
    ("print rules --r", &["--runbook-url"], &["unit"]),
    ("completions ", &["bash", "fish", "zsh"], &["elvish", "powershell"]),
];

/// The script for a shell, as a file of that name.
fn script(folder: &TempDir, shell: &str, name: &str) -> Result<PathBuf> {
    let run = tcpstat(["completions", shell])?;
    ensure!(run.status == Some(0) && run.stderr.is_empty(), "{run:?}");
    let path = folder.path().join(name);
    fs::write(&path, run.stdout)?;
    Ok(path)
}

/// Compares the words that `offered` returns with [`CASES`], and with all flags of all commands.
fn completes(offered: impl Fn(&str) -> Result<Vec<String>>) -> Result<()> {
    for (typed, wanted, unwanted) in CASES {
        let offered = offered(typed)?;
        for word in wanted {
            assert!(offered.iter().any(|is| is == word), "{typed:?}: no {word} in {offered:?}");
        }
        for word in unwanted {
            assert!(!offered.iter().any(|is| is == word), "{typed:?}: {word} in {offered:?}");
        }
    }
    for (command, help) in helps()? {
        let offered = offered(format!("{command} --").trim_start())?;
        for (flag, _) in flags(&help) {
            assert!(offered.contains(&flag), "{command}: no {flag} in {offered:?}");
        }
    }
    Ok(())
}

fn bash_completes_flags_commands_and_values() -> Result<()> {
    require_program("bash")?;
    let folder = tempfile::tempdir()?;
    let script = script(&folder, "bash", "tcpstat")?;
    // As readline does it: the words, of which bash completes the last one.
    let ask = "source \"$1\"; read -ra COMP_WORDS <<< \"tcpstat $2\"
        [[ \"tcpstat $2\" == *' ' ]] && COMP_WORDS+=('')
        COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 )) COMP_LINE=\"tcpstat $2\" COMP_POINT=${#COMP_LINE}
        how=$(complete -p tcpstat); name=${how##*-F }; name=${name%% *}
        $name tcpstat \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD-1]}\"
        printf '%s\\n' \"${COMPREPLY[@]}\"";
    completes(|typed| {
        let mut bash = Command::new("bash");
        bash.args(["--norc", "-c", ask, "bash"]).arg(&script).arg(typed);
        let run = output(&mut bash)?;
        ensure!(run.status == Some(0) && run.stderr.is_empty(), "{typed}: {run:?}");
        Ok(run.stdout.lines().map(str::to_owned).collect())
    })
}

fn fish_completes_flags_commands_and_values() -> Result<()> {
    require_program("fish")?;
    let folder = tempfile::tempdir()?;
    let script = script(&folder, "fish", "tcpstat.fish")?;
    completes(|typed| {
        let mut fish = Command::new("fish");
        fish.env("HOME", folder.path()).env("XDG_CONFIG_HOME", folder.path());
        fish.args(["--private", "-c", "source $argv[1]; complete -C \"tcpstat $argv[2]\""]);
        let run = output(fish.arg(&script).arg(typed))?;
        ensure!(run.status == Some(0) && run.stderr.is_empty(), "{typed}: {run:?}");
        let words = run.stdout.lines().filter_map(|line| line.split('\t').next());
        Ok(words.map(str::to_owned).collect())
    })
}

/// Through zsh's line editor, in a terminal: there is no other way.
fn zsh_completes_flags_commands_and_values() -> Result<()> {
    require_program("zsh")?;
    let folder = tempfile::tempdir()?;
    script(&folder, "zsh", "_tcpstat")?;
    let start = format!(
        "cd {folder}; echo 'PS1=\"> \" fpath=({folder} $fpath); autoload -U compinit; \
         compinit -u -d {folder}/dump; setopt no_list_beep no_auto_menu list_rows_first; \
         zstyle \":completion:*\" list-prompt \"\"; LISTMAX=1000' > .zshrc; \
         exec env ZDOTDIR={folder} zsh -d -i",
        folder = Path::new(folder.path()).display()
    );
    let terminal = Terminal::open(&start, (200, 60))?;
    terminal.await_screen("a prompt", |screen| screen.trim() == ">")?;
    for (typed, wanted, unwanted) in CASES {
        terminal.press("C-u")?;
        terminal.press("C-l")?;
        terminal.await_screen("an empty screen", |screen| screen.trim() == ">")?;
        terminal.paste(&format!("tcpstat {typed}"), false)?;
        terminal.press("Tab")?;
        terminal.press("Tab")?;
        // zsh completes a single word in the line, and lists several below it.
        let screen = terminal.await_screen(typed, |screen| {
            // A flag that takes a value may come with its equals sign.
            let is =
                |word: &str| screen.split_whitespace().any(|is| is.trim_end_matches('=') == word);
            wanted.iter().all(|word| is(word))
        })?;
        let below = screen.split_once('\n').context("no list")?.1;
        for word in unwanted {
            assert!(!below.lines().any(|line| line.starts_with(word)), "{typed:?}: {screen}");
        }
    }
    Ok(())
}

fn other_shells_are_refused() -> Result<()> {
    for shell in ["elvish", "powershell", "nushell", ""] {
        let run = tcpstat(["completions", shell])?;
        assert_eq!(run.status, Some(2), "{run:?}");
        assert!(run.stderr.contains("bash, fish, zsh"), "{run:?}");
    }
    Ok(())
}
