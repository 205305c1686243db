//! Sockets and a process in another network namespace.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream, UdpSocket},
    os::fd::AsRawFd,
    process::{Child, Command},
    sync::mpsc::{Receiver, Sender, channel},
    thread::JoinHandle,
};

use super::{NetnsKey, processes, scopes::rows_with_cgroups};
use crate::{
    snapshot::Row,
    states::{Family, State},
    transitions::Transitions,
};

/// A thread in a network namespace of its own, which makes connections there.
pub(super) struct Elsewhere {
    work: Option<Sender<Work>>,
    done: Receiver<io::Result<()>>,
    listed: Receiver<Vec<Row>>,
    thread: Option<JoinHandle<()>>,
    /// What a socket in it says (`SO_NETNS_COOKIE`); `None` before Linux 5.14.
    pub(super) cookie: Option<NetnsKey>,
    /// A process in it.
    pub(super) process: Child,
}

enum Work {
    /// Numbers of threads and of connections of each.
    Threads(u32, u32),
    /// A port and a number of connections.
    Port(u16, u32),
    /// A port: lists the sockets of a connection to it.
    List(u16),
}

impl Elsewhere {
    pub(super) fn new() -> Self {
        let (work, given) = channel();
        let (report, done) = channel();
        let (entered, inside) = channel();
        let (rows, listed) = channel();
        let thread = std::thread::spawn(move || {
            entered.send(enter()).unwrap();
            for work in given {
                let done = match work {
                    Work::Threads(threads, count) => connect_in_threads(threads, count),
                    Work::Port(port, count) => connect(port, count),
                    Work::List(port) => list(port).map(|found| rows.send(found).unwrap()),
                };
                report.send(done).unwrap();
            }
        });
        let (cookie, process) = inside.recv().unwrap().unwrap();
        Self { work: Some(work), done, listed, thread: Some(thread), cookie, process }
    }

    /// Makes so many connections, one after the other, which the client closes first; see [`expected`].
    pub(super) fn connect(&self, count: u32) {
        self.begin(1, count);
        self.finish();
    }

    /// Begins to do the same in several threads at once.
    pub(super) fn begin(&self, threads: u32, count: u32) {
        self.work.as_ref().unwrap().send(Work::Threads(threads, count)).unwrap();
    }

    /// As [`Elsewhere::connect`], to a listener on this port.
    pub(super) fn connect_to(&self, port: u16, count: u32) {
        self.work.as_ref().unwrap().send(Work::Port(port, count)).unwrap();
        self.finish();
    }

    /// The sockets while one connection to this port is established, with cgroups.
    pub(super) fn rows_while_connected(&self, port: u16) -> Vec<Row> {
        self.work.as_ref().unwrap().send(Work::List(port)).unwrap();
        self.finish();
        self.listed.recv().unwrap()
    }

    /// The inode number of the namespace.
    pub(super) fn inum(&self) -> u32 {
        processes()[&self.process.id()].netns_inum
    }

    pub(super) fn finish(&self) {
        self.done.recv().unwrap().unwrap();
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        drop(self.work.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Enters a new network namespace with the calling thread, and starts a process in it.
fn enter() -> io::Result<(Option<NetnsKey>, Child)> {
    // SAFETY: it takes a number, and changes only the calling thread.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        return Err(io::Error::last_os_error());
    }
    assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status()?.success());
    let process = Command::new("sleep").arg("1000").spawn()?;
    Ok((netns_cookie(&UdpSocket::bind("127.0.0.1:0")?), process))
}

pub(super) fn netns_cookie(socket: &impl AsRawFd) -> Option<NetnsKey> {
    const SO_NETNS_COOKIE: i32 = 71;
    let (mut cookie, mut length): (u64, libc::socklen_t) = (0, 8);
    // SAFETY: the kernel writes at most `length` bytes to `cookie`, which has as many.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    (result == 0).then_some(cookie)
}

fn connect_in_threads(threads: u32, count: u32) -> io::Result<()> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(|| connect(0, count))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap())
    })
}

fn list(port: u16) -> io::Result<Vec<Row>> {
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    let accepted = listener.accept()?;
    let rows = rows_with_cgroups();
    drop((client, accepted));
    Ok(rows)
}

/// To a port; 0 for any.
fn connect(port: u16, count: u32) -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    for _ in 0..count {
        let mut client = TcpStream::connect(listener.local_addr()?)?;
        let (mut server, _) = listener.accept()?;
        client.write_all(b"x")?;
        client.shutdown(Shutdown::Write)?;
        // Until here the FIN has arrived; then this end is in CLOSE_WAIT, the other one in FIN_WAIT2.
        server.read_to_end(&mut Vec::new())?;
        drop(server);
        client.read_to_end(&mut Vec::new())?;
    }
    Ok(())
}

/// What the tracer counts for so many connections to each of `listeners` listeners.
pub(super) fn expected(listeners: u64, connections: u64) -> Transitions {
    let mut transitions = Transitions::default();
    let mut add = |old, new, times| transitions.add(Family::Ipv4, old, new, times);
    add(State::Close, State::Listen, listeners);
    add(State::Listen, State::Close, listeners);
    for (old, new) in [
        (State::Close, State::SynSent),
        (State::SynSent, State::Established),
        (State::Listen, State::SynRecv),
        (State::SynRecv, State::Established),
        (State::Established, State::FinWait1),
        (State::FinWait1, State::FinWait2),
        (State::FinWait2, State::Close),
        (State::Established, State::CloseWait),
        (State::CloseWait, State::LastAck),
        (State::LastAck, State::Close),
    ] {
        add(old, new, connections);
    }
    transitions
}

/// Leaves the calling thread CAP_PERFMON and CAP_BPF.
pub(super) fn drop_other_capabilities() {
    const VERSION_3: u32 = 0x2008_0522;
    // Capabilities 38 and 39 are in the second half: effective, permitted, inheritable of each half.
    let (header, sets) = ([VERSION_3, 0], [0_u32, 0, 0, 0xc0, 0xc0, 0]);
    // SAFETY: both arrays are as the call expects them; it changes only the calling thread.
    let result = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    // SAFETY: as in `enter`.
    let unshared = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    assert_ne!(unshared, 0, "CAP_SYS_ADMIN is still there");
}
