//! A process of known id that holds sockets in a network namespace, as a test orders it to.
//!
//! It is the test's own program in another role, so that it also runs in a container and in a guest. It ends
//! when the test does: its orders come from a pipe.

use std::any::Any;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write, stdin, stdout};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use std::{env, process, thread};

use anyhow::{Context, Result, anyhow, ensure};
use nix::sched::{CloneFlags, setns};
use serde::{Deserialize, Serialize};
use socket2::SockRef;

use crate::calls::{Call, Sockets};
use crate::deadline::{DEADLINE, Progress, wait_until};
use crate::loopback::{Churn, Pairs, connected_pair};
use crate::netns::Namespace;
use crate::service;
use crate::tcp::Family;

/// Set in the environment of such a process.
pub(crate) const VARIABLE: &str = "TCPSTAT_RESIDENT";

/// What a resident can do. What it makes, it holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Order {
    /// Enters a new network namespace.
    NewNamespace,
    /// Enters the network namespace of a file, such as `/run/netns/blue`.
    Enter(PathBuf),
    /// Sets a `net.*` sysctl of the new namespace.
    Sysctl(String, u32),
    /// Makes that many connections between sockets of its own: two ESTABLISHED each, and a listener.
    Connect(usize),
    /// Makes that many sockets in CLOSE_WAIT; their peers are in FIN_WAIT2, without a descriptor.
    Leak(usize),
    /// Sets the loopback interface of the new namespace down, and leaves one socket in FIN_WAIT1 without a
    /// descriptor. Its FIN and its data are never received.
    Orphan,
    /// Makes and closes connections in that many threads of each family, for a time.
    Churn(usize, Duration),
    /// Makes a system call on its one listener or its one connection.
    Call(Call),
    /// Takes this name, which the kernel cuts to 15 bytes.
    Name(String),
    /// Serves on that port of 127.0.0.1, as [`service`] does, to its end.
    Serve(u16),
    /// Closes all that it holds, except what [`Order::Call`] and [`Order::Serve`] made. Connections are reset.
    Close,
}

/// A running resident. Dropping it ends it, with what it holds.
#[derive(Debug)]
pub struct Resident {
    process: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    pid: u32,
}

impl Resident {
    /// Starts one in the network namespace of the calling thread.
    ///
    /// # Errors
    /// Fails when it cannot be started.
    pub fn start() -> Result<Self> {
        Self::run(Command::new(env::current_exe()?).env(VARIABLE, "1"))
    }

    /// Starts one in a network namespace of its own, with `lo` up.
    ///
    /// # Errors
    /// As [`Resident::start`], and without `CAP_SYS_ADMIN`.
    pub fn in_new_namespace() -> Result<Self> {
        let mut resident = Self::start()?;
        resident.order(&Order::NewNamespace)?;
        Ok(resident)
    }

    /// Starts one in the network namespace of this open file.
    ///
    /// # Errors
    /// As [`Resident::in_new_namespace`].
    pub fn inside(namespace: &File) -> Result<Self> {
        let mut resident = Self::start()?;
        let path = format!("/proc/{}/fd/{}", process::id(), namespace.as_raw_fd());
        resident.order(&Order::Enter(path.into()))?;
        Ok(resident)
    }

    /// Runs a command that becomes a resident or runs one. The id is that of the command.
    pub(crate) fn run(command: &mut Command) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().with_context(|| format!("start {command:?}"))?;
        let orders = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().context("no standard output")?);
        let pid = process.id();
        let mut resident = Self { process, orders, answers, pid };
        // It has started when it answers.
        resident.order(&Order::Close)?;
        Ok(resident)
    }

    /// For a command that runs it as another process, whose id is this.
    pub(crate) fn set_pid(&mut self, pid: u32) {
        self.pid = pid;
    }

    /// Its process id in the PID namespace of the test.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The file of its network namespace. It can be opened as long as the process is there; once open, it keeps
    /// the namespace alive.
    #[must_use]
    pub fn namespace_file(&self) -> PathBuf {
        Path::new("/proc").join(self.pid.to_string()).join("ns/net")
    }

    /// The inode number of its network namespace.
    ///
    /// # Errors
    /// Fails when it has ended.
    pub fn inum(&self) -> Result<u64> {
        let file = self.namespace_file();
        Ok(fs::metadata(&file).with_context(|| file.display().to_string())?.ino())
    }

    /// Lets it make a system call, and waits until the call is done.
    ///
    /// # Errors
    /// Fails with what prevented it.
    pub fn call(&mut self, call: Call) -> Result<()> {
        self.order(&Order::Call(call))
    }

    /// Gives it an order, and waits until it is done.
    ///
    /// # Errors
    /// Fails with what prevented it.
    pub fn order(&mut self, order: &Order) -> Result<()> {
        self.begin(order)?;
        self.finish().with_context(|| format!("{order:?}"))
    }

    /// Gives it an order.
    ///
    /// # Errors
    /// Fails when it has ended.
    pub fn begin(&mut self, order: &Order) -> Result<()> {
        let mut line = serde_json::to_string(order)?;
        line.push('\n');
        let orders = self.orders.as_mut().context("it is ending")?;
        orders.write_all(line.as_bytes()).context("a resident that has ended")
    }

    /// Waits until the order that has begun is done.
    ///
    /// # Errors
    /// Fails with what prevented it.
    pub fn finish(&mut self) -> Result<()> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        ensure!(!line.is_empty(), "the resident has ended");
        let obstacle: Option<String> = serde_json::from_str(&line).with_context(|| line.clone())?;
        obstacle.map_or(Ok(()), |obstacle| Err(anyhow!("the resident: {obstacle}")))
    }

    /// Ends it, and waits for its end.
    ///
    /// # Errors
    /// Fails when it does not end within [`DEADLINE`].
    pub fn end(mut self) -> Result<()> {
        self.await_end()
    }

    pub(crate) fn await_end(&mut self) -> Result<()> {
        self.orders = None;
        wait_until("end of a resident", DEADLINE, || {
            let ended = self.process.try_wait()?;
            Ok(ended.map_or(Progress::NotYet("it runs".to_owned()), |_| Progress::Done(())))
        })
    }
}

impl Drop for Resident {
    fn drop(&mut self) {
        if self.await_end().is_err() {
            // Both fail only for a process that has ended.
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}

/// Whether this process is to be a resident: its `main` then returns what [`obey`] does.
#[must_use]
pub fn is_asked_for() -> bool {
    env::var_os(VARIABLE).is_some()
}

/// Follows the orders of the standard input to its end.
///
/// # Panics
/// Panics if the standard output is closed.
pub fn obey() -> ExitCode {
    let mut held = Held::default();
    for line in stdin().lock().lines() {
        let done = line.map_err(Into::into).and_then(|line| {
            let order = serde_json::from_str(&line).with_context(|| line.clone())?;
            held.follow(order)
        });
        let obstacle = done.err().map(|error| format!("{error:#}"));
        let answer = serde_json::to_string(&obstacle).expect("a text is JSON");
        println!("{answer}");
        if stdout().flush().is_err() {
            break;
        }
    }
    ExitCode::SUCCESS
}

/// What a resident holds; the sockets are dropped before the namespace.
#[derive(Default)]
struct Held {
    sockets: Vec<Box<dyn Any>>,
    calls: Sockets,
    namespace: Option<Namespace>,
}

impl Held {
    fn follow(&mut self, order: Order) -> Result<()> {
        match order {
            Order::NewNamespace => self.namespace = Some(Namespace::enter()?),
            Order::Enter(path) => {
                let file = File::open(&path).with_context(|| path.display().to_string())?;
                setns(file, CloneFlags::CLONE_NEWNET).context("setns")?;
            }
            Order::Sysctl(name, value) => self.namespace()?.set_sysctl(&name, value)?,
            Order::Connect(pairs) => self.hold(Pairs::connect(pairs, Family::Ipv4)?),
            Order::Leak(sockets) => {
                self.hold(Pairs::connect(sockets, Family::Ipv4)?.close_clients()?);
            }
            Order::Orphan => self.leave_orphan()?,
            Order::Churn(threads, length) => churn(threads, length)?,
            Order::Call(call) => self.calls.make(call)?,
            Order::Name(name) => fs::write("/proc/self/comm", name).context("/proc/self/comm")?,
            Order::Serve(port) => service::serve(port)?,
            Order::Close => self.sockets.clear(),
        }
        Ok(())
    }

    fn hold(&mut self, sockets: impl Any) {
        self.sockets.push(Box::new(sockets));
    }

    fn namespace(&self) -> Result<&Namespace> {
        self.namespace.as_ref().context("it has made no namespace")
    }

    fn leave_orphan(&mut self) -> Result<()> {
        let (mut client, accepted) = connected_pair(Family::Ipv4)?;
        self.namespace()?.ip(&["link set lo down"])?;
        SockRef::from(&accepted).set_linger(Some(Duration::ZERO))?;
        client.write_all(b"lost").context("write to the orphan")?;
        Ok(())
    }
}

fn churn(threads: usize, length: Duration) -> Result<()> {
    let end = Instant::now() + length;
    let run = |family| {
        let churn = Churn { threads, connections: usize::MAX, family, resets: true };
        thread::spawn(move || churn.run_until(end))
    };
    for family in Family::ALL.map(run) {
        family.join().map_err(|_| anyhow!("churn panicked"))??;
    }
    Ok(())
}
