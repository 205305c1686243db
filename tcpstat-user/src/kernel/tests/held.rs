//! What processes hold in another network namespace of the running kernel.

use std::{
    collections::HashSet,
    io,
    net::{TcpListener, TcpStream},
    os::fd::AsRawFd,
    process::Command,
    sync::mpsc::{Sender, channel},
    thread::{self, JoinHandle},
};

use aya::util::KernelVersion;

use super::{
    super::{HeldIterator, HeldNetns, HeldSocket},
    can_run,
};
use crate::procfs::Procfs;

/// No other listener has this backlog.
const BACKLOG: u32 = 117;

/// What `make` makes in a network namespace without a process. This process holds it.
pub(super) fn elsewhere<T: Send + 'static>(make: impl FnOnce() -> T + Send + 'static) -> T {
    let make = || {
        // SAFETY: it takes a number, and changes only the calling thread.
        let entered = unsafe { libc::unshare(libc::CLONE_NEWNET) };
        assert_eq!(entered, 0, "{}", io::Error::last_os_error());
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
        assert!(up.unwrap().success());
        make()
    };
    thread::spawn(make).join().unwrap()
}

fn listener() -> TcpListener {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    // SAFETY: it takes two numbers.
    let listens = unsafe { libc::listen(listener.as_raw_fd(), BACKLOG.cast_signed()) };
    assert_eq!(listens, 0, "{}", io::Error::last_os_error());
    listener
}

/// How often the listener with this port is listed. A process that another test starts has all descriptors of this one
/// for a moment, so the fewest of some readings count.
fn listed(iterator: &mut HeldIterator, listener: &TcpListener) -> usize {
    let port = listener.local_addr().unwrap().port();
    let mut read = || {
        let (mut times, mut sockets) = (0, HashSet::new());
        let each = |netns: HeldNetns, socket| match socket {
            HeldSocket::Listener(it) if (it.port, it.queue_limit) == (port, BACKLOG) => {
                times += 1;
                sockets.insert((netns.key, netns.inum, it.skaddr, it.cookie));
                assert!(netns.key != 0 && netns.inum != 0 && it.cookie != 0);
            }
            _ => {}
        };
        iterator.each_socket(each).unwrap();
        assert!(sockets.len() <= 1, "{sockets:?}");
        times
    };
    (0..5).map(|_| read()).min().unwrap()
}

/// Whether the kernel runs programs that find the sockets of files.
pub(super) fn lists_files() -> bool {
    KernelVersion::current().unwrap() >= KernelVersion::new(5, 12, 0)
}

/// `None` where the kernel cannot run it.
fn loaded() -> Option<HeldIterator> {
    let inum = Procfs::new(Procfs::DEFAULT_ROOT).netns_inum().unwrap();
    let loaded = HeldIterator::load(inum);
    if !lists_files() {
        assert!(loaded.is_err());
        return None;
    }
    Some(loaded.unwrap())
}

/// Threads that wait until this is dropped.
struct Waiting(Vec<(Sender<()>, JoinHandle<()>)>);

impl Waiting {
    fn start(threads: usize) -> Self {
        let start = || {
            let (stop, stopped) = channel();
            (stop, thread::spawn(move || assert!(stopped.recv().is_err())))
        };
        Self((0..threads).map(|_| start()).collect())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        for (stop, thread) in self.0.drain(..) {
            drop(stop);
            thread.join().unwrap();
        }
    }
}

#[test]
fn a_socket_of_another_namespace_comes_once_for_each_descriptor_with_any_number_of_threads() {
    let Some(_turn) = can_run() else { return };
    let Some(mut iterator) = loaded() else { return };
    let (held, own) = (elsewhere(listener), listener());
    let again = held.try_clone().unwrap();
    let _waiting = Waiting::start(8);
    assert_eq!(listed(&mut iterator, &held), 2);
    drop(again);
    assert_eq!(listed(&mut iterator, &held), 1);
    assert_eq!(listed(&mut iterator, &own), 0);
}

#[test]
fn sockets_in_other_states_show_their_namespace_in_each_reading_and_not_once_for_each_descriptor() {
    let Some(_turn) = can_run() else { return };
    let Some(mut iterator) = loaded() else { return };
    let (listener, client, _accepted) = elsewhere(|| {
        let listener = listener();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        (listener, client, accepted)
    });
    let again: Vec<_> = (0..100).map(|_| client.try_clone().unwrap()).collect();
    let port = listener.local_addr().unwrap().port();
    for _ in 0..2 {
        let (mut key, mut others) = (None, Vec::new());
        let each = |netns, socket| match socket {
            HeldSocket::Listener(it) if (it.port, it.queue_limit) == (port, BACKLOG) => {
                key = Some(netns);
            }
            HeldSocket::InOtherState => others.push(netns),
            _ => {}
        };
        iterator.each_socket(each).unwrap();
        let times = others.iter().filter(|&&netns| Some(netns) == key).count();
        assert!((1..again.len()).contains(&times), "{times}");
    }
}
