//! `tcpstat events --json`: every transition, live.

use std::cell::RefCell;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::binary::path_from;
use crate::deadline::{DEADLINE, Progress, wait_until};
use crate::event_record::{End, Record, Transition, summaries};
use crate::netns::current_inum;
use crate::process_log::Log;

/// What the command says on its standard error as soon as no transition escapes it.
const ATTACHED: &str = "showing transitions";

/// A running `tcpstat events --json`. Dropping it kills it.
#[derive(Debug)]
pub struct Stream {
    child: Child,
    /// Until somebody reads it.
    unread: Option<ChildStdout>,
    lines: Arc<Mutex<Vec<String>>>,
    /// The lines that have been parsed.
    parsed: RefCell<Vec<Record>>,
    log: Log,
    readers: Vec<JoinHandle<()>>,
}

impl Stream {
    /// Starts it in the network namespace of the calling thread, and waits until it is attached.
    ///
    /// # Errors
    /// Fails, with its log, when that takes longer than [`DEADLINE`].
    pub fn start(args: &[&str]) -> Result<Self> {
        let mut stream = Self::start_unread(args)?;
        stream.read()?;
        Ok(stream)
    }

    /// As [`Stream::start`], without a reader at its standard output.
    ///
    /// # Errors
    /// As [`Stream::start`].
    pub fn start_unread(args: &[&str]) -> Result<Self> {
        Self::run(Command::new(path_from("TCPSTAT_BIN")?), args)
    }

    /// As [`Stream::start_unread`], by a command that runs the binary with its arguments.
    ///
    /// # Errors
    /// As [`Stream::start`].
    pub fn run(mut command: Command, args: &[&str]) -> Result<Self> {
        command.args(["events", "--json"]).args(args).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let stderr = child.stderr.take().context("no standard error")?;
        let (log, reader) = Log::read(child.id(), stderr)?;
        let unread = child.stdout.take();
        let mut stream = Self {
            child,
            unread,
            lines: Arc::default(),
            parsed: RefCell::default(),
            log,
            readers: vec![reader],
        };
        stream.await_attached()?;
        Ok(stream)
    }

    /// Begins to read.
    ///
    /// # Errors
    /// Fails if it is being read.
    pub fn read(&mut self) -> Result<()> {
        let output = self.unread.take().context("it is being read")?;
        self.readers.push(collect(output, &self.lines));
        Ok(())
    }

    /// Closes the reading end.
    pub fn close(&mut self) {
        self.unread = None;
    }

    /// The lines so far.
    ///
    /// # Errors
    /// Fails if a line has another form.
    pub fn records(&self) -> Result<Vec<Record>> {
        self.pick(|record| Some(record.clone()))
    }

    /// The transitions so far that `wanted` accepts.
    ///
    /// # Errors
    /// As [`Stream::records`].
    pub fn transitions(&self, wanted: impl Fn(&Transition) -> bool) -> Result<Vec<Transition>> {
        self.pick(|record| match record {
            Record::Transition(transition) if wanted(transition) => Some((**transition).clone()),
            _ => None,
        })
    }

    /// How many transitions are lost so far.
    ///
    /// # Errors
    /// As [`Stream::records`].
    pub fn lost(&self) -> Result<u64> {
        let lost = self.pick(|record| match record {
            Record::Lost(lost) => Some(lost.events),
            _ => None,
        });
        Ok(lost?.into_iter().sum())
    }

    /// Waits until it has reported so many transitions, shown or lost.
    ///
    /// # Errors
    /// Fails with the number after [`DEADLINE`].
    pub fn await_reported(&self, number: u64) -> Result<()> {
        wait_until("number of reported transitions", DEADLINE, || {
            let shown =
                self.pick(|record| matches!(record, Record::Transition(_)).then_some(()))?;
            let (shown, lost) = (shown.len() as u64, self.lost()?);
            let is_enough = shown + lost >= number;
            Ok(if is_enough {
                Progress::Done(())
            } else {
                Progress::NotYet(format!("{shown} shown, {lost} lost, of {number}"))
            })
        })
    }

    fn pick<T>(&self, pick: impl Fn(&Record) -> Option<T>) -> Result<Vec<T>> {
        let mut parsed = self.parsed.borrow_mut();
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let new = lines[parsed.len()..].to_vec();
        drop(lines);
        for line in new {
            parsed.push(serde_json::from_str(&line).with_context(|| line.clone())?);
        }
        Ok(parsed.iter().filter_map(pick).collect())
    }

    /// What it has logged before this call.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the transitions of the network namespace of the calling thread are such as `enough` accepts, or
    /// something is lost, and returns them.
    ///
    /// # Errors
    /// Fails with the transitions after [`DEADLINE`].
    pub fn await_own(
        &self,
        what: &str,
        enough: impl Fn(&[Transition]) -> bool,
    ) -> Result<Vec<Transition>> {
        let inum = current_inum()?;
        wait_until(what, DEADLINE, || {
            let shown = self.transitions(|one| one.netns.inode == Some(inum))?;
            if enough(&shown) || self.lost()? > 0 {
                return Ok(Progress::Done(shown));
            }
            Ok(Progress::NotYet(format!("{}\n{}", summaries(&shown), self.log())))
        })
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// Fails when it has been waited for.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(self.child.id().try_into()?), signal)?)
    }

    /// Waits until it ends. What it has written is complete then.
    ///
    /// # Errors
    /// Fails, with its log, after [`DEADLINE`].
    pub fn wait_end(&mut self) -> Result<ExitStatus> {
        let ended = wait_until("end of the stream", DEADLINE, || {
            let ended = self.child.try_wait()?;
            Ok(ended.map_or_else(|| Progress::NotYet(self.log()), Progress::Done))
        })?;
        for reader in self.readers.drain(..) {
            reader.join().map_err(|_| anyhow!("a reader panicked"))?;
        }
        Ok(ended)
    }

    /// Ends it by SIGTERM, and returns everything that it has shown, with the last line apart.
    ///
    /// # Errors
    /// Fails if it does not end with status 0 and a last line that agrees with the others.
    pub fn stop(&mut self) -> Result<(Vec<Record>, End)> {
        self.signal(Signal::SIGTERM)?;
        self.ended()
    }

    /// As [`Stream::stop`], for one that ends by itself.
    ///
    /// # Errors
    /// As [`Stream::stop`].
    pub fn ended(&mut self) -> Result<(Vec<Record>, End)> {
        let status = self.wait_end()?;
        ensure!(status.success(), "{status}: {}", self.log());
        let mut records = self.records()?;
        let last = records.pop();
        let Some(Record::End(end)) = last else { bail!("the last line: {last:?}") };
        let (mut events, mut lost) = (0, 0);
        for record in &records {
            match record {
                Record::Transition(_) => events += 1,
                Record::Lost(more) => lost += more.events,
                Record::End(end) => bail!("two last lines: {end:?}"),
            }
        }
        ensure!((events, lost) == (end.events, end.lost), "{events} shown, {lost} lost: {end:?}");
        Ok((records, end))
    }

    fn await_attached(&mut self) -> Result<()> {
        wait_until("attached stream", DEADLINE, || {
            let log = self.log();
            if log.contains(ATTACHED) {
                return Ok(Progress::Done(()));
            }
            ensure!(self.child.try_wait()?.is_none(), "it has ended: {}", self.log());
            Ok(Progress::NotYet(log))
        })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Both fail only for a process that has ended and been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads lines on a thread of its own.
fn collect(output: ChildStdout, into: &Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    let into = Arc::clone(into);
    thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
            let text = String::from_utf8_lossy(&line).into_owned();
            into.lock().unwrap_or_else(PoisonError::into_inner).push(text);
            line.clear();
        }
    })
}
