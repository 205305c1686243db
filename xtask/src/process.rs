//! Runs commands. A [`Step`] may take minutes: it prints a line before and after and shows that it is alive,
//! keeps all output in a log, and shows the log's end on failure. [`probe`] is for quick questions.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use std::{env, thread};

use anyhow::{Context, Result, bail};
use fs_err::{self as fs, File};

/// How often a running step shows its time and its last line: redrawn on a terminal, else a line.
const TICK_TERMINAL: Duration = Duration::from_millis(250);
const TICK_LINES: Duration = Duration::from_secs(10);

/// How long to wait for more output after the end: a process left behind may hold the pipe open.
const LINGER: Duration = Duration::from_secs(1);

/// A command that may take minutes.
pub(crate) struct Step<'a> {
    /// What the lines on the console call it.
    pub(crate) title: &'a str,
    /// Where all output goes.
    pub(crate) log: PathBuf,
    /// The lines of output that are shown on the console as well.
    pub(crate) shown: fn(&str) -> bool,
    /// How many of the last other lines are shown on failure, without those that report success.
    pub(crate) tail: usize,
}

impl<'a> Step<'a> {
    /// A step that shows nothing of its output unless it fails.
    pub(crate) fn new(title: &'a str, log: PathBuf) -> Self {
        Self { title, log, shown: |_| false, tail: 30 }
    }

    /// Runs `command` to its end; an error unless it succeeds.
    pub(crate) fn run(&self, command: &mut Command) -> Result<()> {
        let title = self.title;
        fs::create_dir_all(self.log.parent().unwrap_or(&self.log))?;
        let mut log = File::create(&self.log)?;
        println!("{title} ...");
        let terminal = io::stdout().is_terminal();
        let clear = || print!("{}", if terminal { "\r\x1b[K" } else { "" });
        let tick = if terminal { TICK_TERMINAL } else { TICK_LINES };
        let (started, mut ticked) = (Instant::now(), Instant::now());
        let (mut child, lines) = spawn(command)?;
        let (mut status, mut last, mut tail) = (None, String::new(), VecDeque::new());
        loop {
            match lines.recv_timeout(if status.is_some() { LINGER } else { TICK_TERMINAL }) {
                Ok(line) => {
                    writeln!(log, "{line}")?;
                    if (self.shown)(&line) {
                        clear();
                        println!("{line}");
                    } else if !is_routine(&line) {
                        tail.push_back(line.clone());
                        tail.drain(..tail.len().saturating_sub(self.tail));
                    }
                    last = line;
                }
                Err(RecvTimeoutError::Timeout) if status.is_none() => status = child.try_wait()?,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
            if ticked.elapsed() >= tick {
                ticked = Instant::now();
                let detail: String = last.trim().chars().take(60).collect();
                clear();
                print!("    {title}: {} s: {detail}", started.elapsed().as_secs());
                print!("{}", if terminal { "" } else { "\n" });
                // A console that cannot be written to is no reason to stop the step.
                let _ = io::stdout().flush();
            }
        }
        clear();
        let status = match status {
            Some(status) => status,
            None => child.wait()?,
        };
        if status.success() {
            println!("{title}: done in {:.1} s", started.elapsed().as_secs_f64());
            return Ok(());
        }
        for line in tail {
            println!("    {line}");
        }
        bail!("{title} failed ({status}); all of its output: {}", self.log.display())
    }
}

/// The standard output of a quick command, if it can be run and succeeds.
pub(crate) fn probe(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The first file of that name on PATH, by its absolute path.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let dirs = env::split_paths(&path).filter(|dir| dir.is_absolute());
    dirs.map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// `command`, run only while nothing else wants a processor.
pub(crate) fn idle(command: &Command) -> Command {
    let mut idle = Command::new("chrt");
    idle.args(["--idle", "0"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => idle.env(name, value),
            None => idle.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        idle.current_dir(folder);
    }
    idle
}

/// Whether a line only reports progress or success.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// How a script ends, and its log.
    fn run(program: &str, script: &str) -> (Result<()>, String) {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("new/step.log");
        let step = Step::new("a step", log.clone());
        let result = step.run(Command::new(program).args(["-c", script]));
        (result, fs::read_to_string(log).unwrap())
    }

    #[test]
    fn a_failure_names_title_status_and_log_which_has_both_outputs() {
        let (result, log) = run("sh", "echo out; echo err >&2; exit 3");
        let error = result.unwrap_err().to_string();
        assert!(error.contains("a step failed (exit status: 3)"), "{error}");
        assert!(error.contains("/new/step.log"), "{error}");
        assert_eq!(log, "out\nerr\n");
        let error = run("no-such-program-here", "").0.unwrap_err();
        assert!(format!("{error:#}").contains("cannot run no-such-program-here"));
    }

    #[test]
    fn a_process_left_behind_does_not_hold_the_step() {
        let started = Instant::now();
        run("sh", "sleep 20 & echo done").0.unwrap();
        assert!(started.elapsed() < Duration::from_secs(10));
    }
}
