//! Runs commands. A [`Step`] may take long: it prints a line before and after, ticks in between, keeps
//! all output in a log, and shows the log's end on failure. [`probe`] is for quick questions.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use std::{env, thread};

use anyhow::{Context, Result, bail};
use fs_err::{self as fs, File};

/// How often a step that runs shows that it does: redrawn on a terminal, else a line.
const TICK_TERMINAL: Duration = Duration::from_millis(250);
const TICK_LINES: Duration = Duration::from_secs(10);

/// How long to wait for more output after the end: a process left behind may hold the pipe open.
const LINGER: Duration = Duration::from_secs(1);

/// A command that may take long.
pub(crate) struct Step<'a> {
    /// What the lines on the console call it.
    pub(crate) title: &'a str,
    /// Where all output goes.
    pub(crate) log: PathBuf,
    /// The lines of output that are shown on the console as well.
    pub(crate) shown: fn(&str) -> bool,
    /// How many of the last other lines are shown on failure, not counting what tells of success.
    pub(crate) tail: usize,
}

impl<'a> Step<'a> {
    /// A step that shows nothing of its output unless it fails.
    pub(crate) fn new(title: &'a str, log: PathBuf) -> Self {
        Self { title, log, shown: |_| false, tail: 30 }
    }

    /// Runs `command` to its end; an error unless it succeeds.
    pub(crate) fn run(&self, command: &mut Command) -> Result<()> {
        fs::create_dir_all(self.log.parent().unwrap_or(&self.log))?;
        let mut log = File::create(&self.log)?;
        println!("{} ...", self.title);
        let mut ticker = Ticker::new(self.title);
        let (mut child, lines) = spawn(command)?;
        let (mut status, mut last, mut tail) = (None, String::new(), VecDeque::new());
        loop {
            match lines.recv_timeout(if status.is_some() { LINGER } else { TICK_TERMINAL }) {
                Ok(line) => {
                    writeln!(log, "{line}")?;
                    if (self.shown)(&line) {
                        ticker.clear();
                        println!("{line}");
                    } else if !is_routine(&line) {
                        tail.push_back(line.clone());
                    }
                    if tail.len() > self.tail {
                        tail.pop_front();
                    }
                    last = line;
                }
                Err(RecvTimeoutError::Timeout) if status.is_none() => status = child.try_wait()?,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
            ticker.tick(&last);
        }
        ticker.clear();
        let status = match status {
            Some(status) => status,
            None => child.wait()?,
        };
        if status.success() {
            println!("{}: done in {:.1} s", self.title, ticker.started.elapsed().as_secs_f64());
            return Ok(());
        }
        for line in tail {
            println!("    {line}");
        }
        bail!("{} failed ({status}); all of its output: {}", self.title, self.log.display())
    }
}

/// The standard output of a quick command, if it can be run and succeeds.
pub(crate) fn probe(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The first file of that name on PATH that may be executed, by its absolute path.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let dirs = env::split_paths(&path).filter(|dir| dir.is_absolute());
    dirs.map(|dir| dir.join(name)).find(|file| is_executable(file))
}

/// Whether `file` is a regular file with an execute bit.
pub(crate) fn is_executable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Whether a line tells nothing, or only that something went its way.
fn is_routine(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty()
        || ["Compiling ", "Checking ", "Downloaded "].iter().any(|verb| line.starts_with(verb))
        || (line.starts_with("running ") && (line.ends_with(" tests") || line.ends_with(" test")))
        || (line.starts_with("test ") && line.ends_with(" ok"))
}

/// Starts `command`, and reads both of its outputs line by line.
fn spawn(command: &mut Command) -> Result<(Child, Receiver<String>)> {
    let program = command.get_program().to_string_lossy().into_owned();
    let (reader, writer) = io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let child = command.spawn().with_context(|| format!("cannot run {program}"))?;
    // The command keeps the pipe's writing end; without this the pipe would never end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let lines = BufReader::new(reader).split(b'\n').map_while(Result::ok);
        let mut texts = lines.map(|line| String::from_utf8_lossy(&line).trim_end().to_owned());
        texts.try_for_each(|line| sender.send(line))
    });
    Ok((child, receiver))
}

/// Shows that a step is alive.
struct Ticker<'a> {
    title: &'a str,
    started: Instant,
    last: Instant,
    terminal: bool,
}

impl<'a> Ticker<'a> {
    fn new(title: &'a str) -> Self {
        let now = Instant::now();
        Self { title, started: now, last: now, terminal: io::stdout().is_terminal() }
    }

    fn tick(&mut self, detail: &str) {
        let every = if self.terminal { TICK_TERMINAL } else { TICK_LINES };
        if self.last.elapsed() < every {
            return;
        }
        self.last = Instant::now();
        let detail: String = detail.trim().chars().take(60).collect();
        let line = format!("    {}: {} s: {detail}", self.title, self.started.elapsed().as_secs());
        if self.terminal {
            print!("\r\x1b[K{line}");
            // A console that cannot be written to is no reason to stop the step.
            let _ = io::stdout().flush();
        } else {
            println!("{line}");
        }
    }

    fn clear(&self) {
        if self.terminal {
            print!("\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of a script, and the log of it.
    fn run(program: &str, script: &str) -> (Result<()>, String) {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("new/step.log");
        let result =
            Step::new("a step", log.clone()).run(Command::new(program).args(["-c", script]));
        (result, fs::read_to_string(log).unwrap())
    }

    #[test]
    fn both_outputs_reach_the_log() {
        let (result, log) = run("sh", "echo out; echo err >&2");
        result.unwrap();
        assert_eq!(log, "out\nerr\n");
    }

    #[test]
    fn failure_names_title_status_and_log_or_the_program_that_is_not_there() {
        let error = run("sh", "exit 3").0.unwrap_err().to_string();
        assert!(error.contains("a step failed (exit status: 3)"), "{error}");
        assert!(error.contains("/new/step.log"), "{error}");
        let error = run("no-such-program-here", "").0.unwrap_err();
        assert!(format!("{error:#}").contains("cannot run no-such-program-here"));
    }

    #[test]
    fn a_process_left_behind_does_not_hold_the_step() {
        let started = Instant::now();
        run("sh", "sleep 20 & echo done").0.unwrap();
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn success_does_not_push_failure_out_of_the_tail() {
        for (line, expected) in [
            ("   Compiling tokio v1.0.0", true),
            ("test ledger::seed ... ok", true),
            ("", true),
            ("running 132 tests", true),
            ("running 1 test", true),
            ("test ledger::seed ... FAILED", false),
            ("error: could not compile", false),
        ] {
            assert_eq!(is_routine(line), expected, "{line}");
        }
    }
}
