//! The tcpstat binary, running as an exporter.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::binary::{BINARY_VARIABLE, LOG_FORMAT, path_from, remove_variables_of_tests};
use crate::deadline::{DEADLINE, Progress, wait_until};
use crate::exposition::Scrape;
use crate::process_log::Log;
use crate::scraper::{Response, Scraper};
use crate::unprivileged::{as_nobody, words};

/// The default address: every namespace has its own loopback.
const ADDRESS: &str = "127.0.0.1:10048";

/// Asks for every series, also those of counters that have not counted anything.
pub const ALL_SERIES: &str = "/metrics?collect[]=all";

/// Flags for ten snapshots a second. The source is named, because the interval of a source that tcpstat
/// chooses is stretched to a hundred times the duration of a snapshot: to seconds on a slow machine.
pub const FREQUENT_SNAPSHOTS: [&str; 2] = ["--snapshot=procfs", "--snapshot-interval=100ms"];

/// How to start an exporter.
#[derive(Clone, Debug)]
pub struct Options {
    binary: Option<PathBuf>,
    listen_address: SocketAddr,
    args: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    within: Vec<OsString>,
}

impl Default for Options {
    fn default() -> Self {
        let listen_address = ADDRESS.parse().expect("a socket address");
        Self {
            binary: None,
            listen_address,
            args: Vec::new(),
            variables: Vec::new(),
            within: Vec::new(),
        }
    }
}

impl Options {
    /// The binary to run instead of the one `TCPSTAT_BIN` names.
    #[must_use]
    pub fn binary(mut self, binary: impl Into<PathBuf>) -> Self {
        self.binary = Some(binary.into());
        self
    }

    /// The address to listen on instead of `127.0.0.1:10048`. Port 0 is for tests outside a
    /// private namespace; the real one is taken from the log.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen_address = address;
        self
    }

    /// More arguments after `serve`.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// An environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Runs through this command, which runs its arguments. SIGTERM may reach only that command.
    #[must_use]
    pub fn within<A: Into<OsString>>(mut self, command: impl IntoIterator<Item = A>) -> Self {
        self.within.extend(command.into_iter().map(Into::into));
        self
    }

    /// Runs as nobody with these capabilities, and without a way to gain others. That user must be able to read
    /// the binary.
    #[must_use]
    pub fn as_nobody(self, capabilities: &str) -> Self {
        self.within(words(&as_nobody(capabilities)))
    }

    /// Starts it in the network namespace of the calling thread and waits until it is ready.
    ///
    /// # Errors
    /// Fails, with its log, when it is not ready within [`DEADLINE`], and when there is no binary.
    pub fn start(self) -> Result<Exporter> {
        // A connection during the seed may appear as half-open.
        let mut exporter = self.spawn_until(is_ready)?;
        exporter.wait_ready()?;
        Ok(exporter)
    }

    /// Starts it and waits only until it listens. The connection to it is the first and only one.
    ///
    /// # Errors
    /// As [`Options::start`].
    pub fn spawn(self) -> Result<Exporter> {
        self.spawn_until(|_| true)
    }

    /// Starts it and waits until its log says that it is ready, without a request: for an exporter that serves
    /// HTTPS, or asks for a password.
    ///
    /// # Errors
    /// As [`Options::start`].
    pub fn start_locked(self) -> Result<Exporter> {
        self.spawn_until(is_ready)
    }

    fn spawn_until(self, enough: fn(&str) -> bool) -> Result<Exporter> {
        let mut command = self.command()?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("start {command:?}"))?;
        let stderr = child.stderr.take().context("no standard error")?;
        let (log, reader) = Log::read(child.id(), stderr)?;
        let mut process = Process { child, log, reader: Some(reader) };
        let (address, scraper) = process.connect(self.listen_address, enough)?;
        Ok(Exporter { process, address, scraper })
    }

    fn command(&self) -> Result<Command> {
        let binary = match &self.binary {
            Some(binary) => binary.clone().into_os_string(),
            None => path_from(BINARY_VARIABLE)?.into_os_string(),
        };
        let mut command = if let [program, rest @ ..] = self.within.as_slice() {
            let mut within = Command::new(program);
            within.args(rest).arg(binary);
            within
        } else {
            Command::new(binary)
        };
        remove_variables_of_tests(&mut command);
        command
            .arg("serve")
            .arg(format!("--web.listen-address={}", self.listen_address))
            .args(&self.args)
            .env(LOG_FORMAT.0, LOG_FORMAT.1)
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }
}

/// A running exporter. Dropping it kills it.
#[derive(Debug)]
pub struct Exporter {
    process: Process,
    address: SocketAddr,
    scraper: Scraper,
}

impl Exporter {
    /// Starts `tcpstat serve` with `args`, otherwise as [`Options::default`] says.
    ///
    /// # Errors
    /// As [`Options::start`].
    pub fn start(args: &[&str]) -> Result<Self> {
        Options::default().args(args).start()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.child.id()
    }

    /// The one connection to it.
    pub fn scraper(&mut self) -> &mut Scraper {
        &mut self.scraper
    }

    /// Replaces that connection: the exporter closes one that is idle for minutes.
    ///
    /// # Errors
    /// As [`Scraper::connect`].
    pub fn reconnect(&mut self) -> Result<()> {
        self.scraper = Scraper::connect(self.address())?;
        Ok(())
    }

    /// `GET path` over that connection.
    ///
    /// # Errors
    /// As [`Scraper::get`].
    pub fn get(&mut self, path: &str) -> Result<Response> {
        self.scraper.get(path)
    }

    /// Scrapes every series over that connection. A test of what a plain scrape has takes [`Exporter::scrape_plain`].
    ///
    /// # Errors
    /// As [`Scraper::scrape`].
    pub fn scrape(&mut self) -> Result<Scrape> {
        self.scraper.scrape_path(ALL_SERIES)
    }

    /// Scrapes it as Prometheus does, over that connection.
    ///
    /// # Errors
    /// As [`Scraper::scrape`].
    pub fn scrape_plain(&mut self) -> Result<Scrape> {
        self.scraper.scrape()
    }

    /// The label `hooks` of `tcpstat_tracer_info`: `none`, or the groups that are attached.
    ///
    /// # Errors
    /// Fails if there is no such label.
    pub fn hooks(&mut self) -> Result<String> {
        let scrape = self.scrape()?;
        let info = scrape.family("tcpstat_tracer_info");
        let hooks = info.first().and_then(|sample| sample.labels.get("hooks"));
        hooks.cloned().context("no label hooks")
    }

    /// What it has logged before this call.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log.text()
    }

    /// Waits until `/-/ready` answers 200.
    ///
    /// # Errors
    /// Fails, with its log, when it does not within [`DEADLINE`].
    pub fn wait_ready(&mut self) -> Result<()> {
        let ready = wait_until("200 from /-/ready", DEADLINE, || {
            let response = self.scraper.get("/-/ready")?;
            Ok(match response.status {
                200 => Progress::Done(()),
                status => Progress::NotYet(format!("{status} {}", response.body)),
            })
        });
        ready.with_context(|| self.process.log.to_string())
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// Fails when it has been waited for.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.pid().try_into()?), signal).with_context(|| signal.to_string())
    }

    /// Waits until its log contains `words`.
    ///
    /// # Errors
    /// Fails, with its log, if that takes longer than [`DEADLINE`].
    pub fn wait_log(&self, words: &str) -> Result<()> {
        wait_until(words, DEADLINE, || {
            let log = self.log();
            Ok(if log.contains(words) { Progress::Done(()) } else { Progress::NotYet(log) })
        })
    }

    /// Waits until it ends, and returns how. Its log is complete then.
    ///
    /// # Errors
    /// Fails, with its log, when it has not ended within [`DEADLINE`].
    pub fn wait_end(&mut self) -> Result<ExitStatus> {
        let ended = wait_until("end of the process", DEADLINE, || {
            Ok(match self.process.child.try_wait()? {
                Some(status) => Progress::Done(status),
                None => Progress::NotYet("it is running".to_owned()),
            })
        });
        let ended = ended.with_context(|| self.process.log.to_string())?;
        self.process.join_reader();
        Ok(ended)
    }

    /// Sends SIGTERM and returns how it ended.
    ///
    /// # Errors
    /// Fails, with its log, when it has not ended within [`DEADLINE`].
    pub fn stop(mut self) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.wait_end()
    }
}

#[derive(Debug)]
struct Process {
    child: Child,
    log: Log,
    reader: Option<JoinHandle<()>>,
}

impl Process {
    fn connect(
        &mut self,
        wanted: SocketAddr,
        enough: fn(&str) -> bool,
    ) -> Result<(SocketAddr, Scraper)> {
        let connected = wait_until("exporter that listens", DEADLINE, || {
            if let Some(status) = self.child.try_wait()? {
                self.join_reader();
                bail!("it ended: {status}");
            }
            // The address comes from the log: a refused attempt would make sockets that the tracer counts.
            let log = self.log.text();
            let Some(address) = listen_address(&log) else {
                return Ok(Progress::NotYet(format!("its log does not name {wanted}")));
            };
            if !enough(&log) {
                return Ok(Progress::NotYet("it is not ready".to_owned()));
            }
            Ok(Progress::Done((address, Scraper::connect(address)?)))
        });
        connected.with_context(|| self.log.to_string())
    }

    fn join_reader(&mut self) {
        if let Some(Err(_)) = self.reader.take().map(JoinHandle::join) {
            eprintln!("the thread that reads the exporter's log panicked");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only for a process that has ended and been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.join_reader();
        let text = self.log.text();
        // Every test shows that the filter of system calls allows what tcpstat does.
        assert!(thread::panicking() || !text.contains("refused the system call"), "{text}");
    }
}

/// Whether a log has the line `ready`.
fn is_ready(log: &str) -> bool {
    log.lines().any(|line| line.contains(" ready") || line.contains(" msg=ready"))
}

/// The address in the first `http://ADDRESS` or `https://ADDRESS` of a log.
fn listen_address(log: &str) -> Option<SocketAddr> {
    let (_, rest) = log.split_once("listening on http")?;
    let (_, rest) = rest.split_once("://")?;
    let end = rest.find(|next: char| !(next.is_ascii_hexdigit() || "[]:.".contains(next)));
    rest[..end?].parse().ok()
}
