//! A reading that waits for a file to be closed.

use std::sync::mpsc::{Receiver, Sender, channel};

use tcpstat_ebpf::ListenerRecord;

use super::*;
use crate::{
    kernel::{HeldNetns, HeldSocket},
    scopes::NetnsName,
    tracker::{
        finder::{FindError, Found as FoundNamespaces, FoundNetns},
        others::Find,
        schedule::{Intervals, Schedule},
    },
};

const KEY: u64 = 7;

/// There is one other namespace.
struct One;

impl Find for One {
    fn find(&mut self) -> Result<FoundNamespaces, FindError> {
        let name = NetnsName { name: "other".to_owned(), ..NetnsName::host(KEY) };
        let others = vec![FoundNetns { key: KEY, name, processes: Vec::new() }];
        Ok(FoundNamespaces { own: NetnsName::host(1), others, hidden: 0, by_tasks: false })
    }

    fn name_of_inode(&self, inode: u64) -> NetnsName {
        NetnsName::host(inode)
    }
}

fn others() -> Others {
    let mut others = Others::new(Box::new(One), 9, Duration::from_hours(1), false);
    let intervals = Intervals { check: None, snapshot: Duration::from_hours(1) };
    others.update(None, &mut Schedule::new(intervals, Instant::now()));
    others
}

/// The listeners that a scrape shows in the other namespace.
fn shown(others: &mut Others) -> Option<usize> {
    let published = others.publish();
    published.others[0].numbers.listeners.as_ref().map(|listeners| listeners.each.len())
}

/// Each reading ends when the sender allows it, and lists one listener.
fn reader() -> (HeldReader, Sender<()>) {
    let (allow, allowed): (Sender<()>, Receiver<()>) = channel();
    let thread = ReaderThread::start("held", move |()| {
        allowed.recv().unwrap();
        let mut listed = Listed::default();
        let listener = ListenerRecord { skaddr: 1, port: 80, ..ListenerRecord::default() };
        let parts = Parts { ages: true, listeners: true };
        let netns = HeldNetns { key: KEY, inum: 1 };
        listed.add(netns, &HeldSocket::Listener(listener), parts);
        Ok(Reading { listed, cpu: Duration::ZERO })
    });
    let mut reader = HeldReader::new(None, 9, Duration::ZERO, 1, None);
    reader.reader_thread = Some(thread.unwrap());
    (reader, allow)
}

/// Calls `update` now until it has changed what is shown.
fn update(reader: &mut HeldReader, others: &mut Others) {
    reader.due = Some(Instant::now());
    while !reader.update(others) {
        std::thread::yield_now();
        reader.due = Some(Instant::now());
    }
}

#[test]
fn while_a_reading_waits_for_a_peer_nothing_old_is_shown() {
    let (mut reader, allow) = reader();
    let mut others = others();
    assert_eq!(shown(&mut others), None);
    allow.send(()).unwrap();
    update(&mut reader, &mut others);
    assert_eq!(shown(&mut others), Some(1));

    reader.due = Some(Instant::now());
    assert!(!reader.update(&mut others), "the second one begins");
    reader.due = Some(Instant::now());
    assert!(!reader.update(&mut others), "it goes on");
    assert_eq!(shown(&mut others), Some(1));
    reader.begun = reader.begun.and_then(|begun| begun.checked_sub(MAX_WAIT));
    update(&mut reader, &mut others);
    assert_eq!(shown(&mut others), None);

    // It has ended.
    allow.send(()).unwrap();
    while shown(&mut others).is_none() {
        update(&mut reader, &mut others);
    }
    assert_eq!(shown(&mut others), Some(1));
}
