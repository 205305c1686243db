//! A process of known id and name that holds exactly the sockets that a test gives it.
//!
//! It is the test's own program in another role. It receives each socket by SCM_RIGHTS, whatever network namespace the
//! socket is of, and ends when the test does.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, IoSlice, IoSliceMut, Read, Write, stdin, stdout};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};
use rustix::cmsg_space;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use crate::deadline::{DEADLINE, Progress, wait_until};

/// Set in the environment of such a process: its name, without NUL.
const NAME: &str = "TCPSTAT_HOLDER";

/// Set in the environment of a child that only has what it inherited.
const CHILD: &str = "TCPSTAT_HOLDER_CHILD";

/// The kernel keeps so many bytes of a process name: `TASK_COMM_LEN`, without the NUL.
pub const LONGEST_NAME: usize = 15;

/// What a holder can do, as one byte.
const TAKE: u8 = b't';
const DUPLICATE: u8 = b'd';
const FORK: u8 = b'f';
const CLOSE: u8 = b'c';

/// A running holder. Dropping it ends it, with its children and with what they hold.
#[derive(Debug)]
pub struct Holder {
    process: Child,
    link: UnixStream,
}

impl Holder {
    /// Starts one without sockets in the network namespace of the calling thread. Its name is cut to
    /// [`LONGEST_NAME`] bytes.
    ///
    /// # Errors
    /// Fails when it cannot be started.
    pub fn start(name: impl AsRef<[u8]>) -> Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        let (link, other_end) = UnixStream::pair()?;
        link.set_read_timeout(Some(DEADLINE))?;
        command.env(NAME, OsStr::from_bytes(name.as_ref())).stdin(OwnedFd::from(other_end));
        let process = command.spawn().with_context(|| format!("start {command:?}"))?;
        let mut holder = Self { process, link };
        // It has its name when it answers.
        holder.order(CLOSE)?;
        Ok(holder)
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Gives it sockets to hold. The caller's own descriptors stay open.
    ///
    /// # Errors
    /// Fails when it has ended.
    pub fn take<S: AsFd>(&mut self, sockets: impl IntoIterator<Item = S>) -> Result<()> {
        for socket in sockets {
            let descriptors = [socket.as_fd()];
            let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            ensure!(ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)), "no space");
            sendmsg(&self.link, &[IoSlice::new(&[TAKE])], &mut ancillary, SendFlags::empty())?;
            self.answer()?;
        }
        Ok(())
    }

    /// Makes it hold each socket by one more descriptor: dup(2).
    ///
    /// # Errors
    /// Fails when it has ended.
    pub fn duplicate(&mut self) -> Result<()> {
        self.order(DUPLICATE).map(drop)
    }

    /// Makes it start a child with the same name, which inherits every socket that it holds, and returns the child's
    /// process id.
    ///
    /// # Errors
    /// Fails when it has ended.
    pub fn fork(&mut self) -> Result<u32> {
        self.order(FORK)
    }

    /// Makes it close its sockets. Its children keep theirs.
    ///
    /// # Errors
    /// Fails when it has ended.
    pub fn close(&mut self) -> Result<()> {
        self.order(CLOSE).map(drop)
    }

    fn order(&mut self, order: u8) -> Result<u32> {
        self.link.write_all(&[order]).context("a holder that has ended")?;
        self.answer()
    }

    fn answer(&mut self) -> Result<u32> {
        let mut answer = [0; 4];
        self.link.read_exact(&mut answer).context("a holder that has ended")?;
        Ok(u32::from_le_bytes(answer))
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // Its standard input ends; that fails only for a process that has ended.
        let _ = self.link.shutdown(std::net::Shutdown::Both);
        let ended = wait_until("end of a holder", DEADLINE, || {
            let ended = self.process.try_wait()?;
            Ok(ended.map_or(Progress::NotYet("it runs".to_owned()), |_| Progress::Done(())))
        });
        if ended.is_err() {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}

/// Whether this process is to be a holder: its `main` then returns what [`obey`] does.
#[must_use]
pub fn is_asked_for() -> bool {
    env::var_os(NAME).is_some()
}

/// Follows the orders of the standard input to its end.
#[must_use]
pub fn obey() -> ExitCode {
    let done = if env::var_os(CHILD).is_some() { wait_as_child() } else { hold() };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("holder: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn hold() -> Result<()> {
    set_name()?;
    let link = UnixStream::from(stdin().as_fd().try_clone_to_owned()?);
    let (mut held, mut children) = (Vec::new(), Vec::new());
    while let Some((order, socket)) = receive(&link)? {
        let mut answer = 0;
        match order {
            TAKE => held.push(socket.context("no socket")?),
            DUPLICATE => {
                let copies = held.iter().map(OwnedFd::try_clone).collect::<Result<Vec<_>, _>>();
                held.extend(copies?);
            }
            FORK => {
                let child = fork(&held)?;
                answer = child.id();
                children.push(child);
            }
            CLOSE => held.clear(),
            other => bail!("order {other}"),
        }
        (&link).write_all(&answer.to_le_bytes())?;
    }
    for mut child in children {
        drop(child.stdin.take());
        child.wait()?;
    }
    Ok(())
}

/// The next order, and the socket that comes with it; `None` at the end.
fn receive(link: &UnixStream) -> Result<Option<(u8, Option<OwnedFd>)>> {
    let (mut byte, mut socket) = ([0], None);
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let into = &mut [IoSliceMut::new(&mut byte)];
    let received = recvmsg(link, into, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(mut sockets) = message {
            socket = sockets.next();
        }
    }
    Ok((received.bytes != 0).then_some((byte[0], socket)))
}

/// Starts a child that inherits these descriptors.
fn fork(held: &[OwnedFd]) -> Result<Child> {
    let set_all = |flags| held.iter().try_for_each(|socket| fcntl_setfd(socket, flags));
    set_all(FdFlags::empty())?;
    let mut command = Command::new(env::current_exe()?);
    let child = command.env(CHILD, "1").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    set_all(FdFlags::CLOEXEC)?;
    let mut child = child.context("start a child")?;
    let mut line = String::new();
    let output = child.stdout.take().context("no standard output")?;
    BufReader::new(output).read_line(&mut line)?;
    ensure!(line == "ready\n", "the child: {line:?}");
    Ok(child)
}

fn wait_as_child() -> Result<()> {
    set_name()?;
    println!("ready");
    stdout().flush()?;
    stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn set_name() -> Result<()> {
    let name = env::var_os(NAME).context(NAME)?;
    fs::write("/proc/self/comm", name.as_bytes()).context("/proc/self/comm")
}
