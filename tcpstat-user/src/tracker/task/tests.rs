//! The turns of namespaces that are folders with the files of a procfs.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::*;
use crate::{
    procfs::Procfs,
    tracker::{NetnsChoice, SourceChoice},
};

const INTERVAL: Duration = Duration::from_hours(1);

/// A procfs that lists so many listeners.
fn listeners(number: usize) -> TempDir {
    let procfs = tempfile::tempdir().unwrap();
    fs::create_dir(procfs.path().join("net")).unwrap();
    set_listeners(procfs.path(), number);
    procfs
}

fn set_listeners(procfs: &Path, number: usize) {
    let header = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt\n";
    let row = |row: usize| {
        let (port, inode) = (8000 + row, 100 + row);
        format!(
            "{row:4}: 0100007F:{port:04X} 00000000:0000 0A 00000000:00000000 00:00000000 00000000 \
             0        0 {inode} 1 ffff8880 100 0 0 10 0\n"
        )
    };
    let table: String = std::iter::once(header.to_owned()).chain((0..number).map(row)).collect();
    fs::write(procfs.join("net/tcp"), table).unwrap();
}

fn sources(procfs: &TempDir) -> Sources {
    Sources::new(Procfs::new(procfs.path()), SourceChoice::Procfs, INTERVAL, false)
}

/// A task without a tracer, after the seed of its own namespace.
fn seeded(procfs: &TempDir) -> Task {
    let tracker = Tracker {
        procfs: Procfs::new(procfs.path()),
        tracer: None,
        programs: Vec::new(),
        source: SourceChoice::Procfs,
        snapshot_interval: INTERVAL,
        netns: NetnsChoice::Own,
        pods: PathBuf::new(),
        scopes_max: 256,
    };
    let mut task = Task::new(tracker, watch::channel(Arc::default()).0);
    task.seed().unwrap();
    task
}

/// The rows of the last snapshot of a namespace.
fn rows(task: &mut Task, slot: Slot) -> Option<u64> {
    Some(task.namespaces.get_mut(slot)?.last_snapshot()?.tally.rows)
}

fn take_due_turn(task: &mut Task) {
    let Some(Turn::Snapshot(slot)) = task.schedule.turn(Instant::now()) else {
        panic!("no snapshot is due")
    };
    task.take_turn(slot);
}

#[test]
fn each_namespace_lists_its_own_sockets_in_its_own_turn() {
    let (own, other) = (listeners(2), listeners(5));
    let mut task = seeded(&own);
    assert_eq!(task.schedule.turn(Instant::now()), None, "the own namespace had its turn");
    task.add(Slot::other(1), Namespace::new(sources(&other)));
    assert_eq!(rows(&mut task, Slot::other(1)), None);
    take_due_turn(&mut task);
    assert_eq!(rows(&mut task, Slot::other(1)), Some(5));
    assert_eq!(rows(&mut task, Slot::OWN), Some(2));
    assert_eq!(task.schedule.turn(Instant::now()), None);
}

#[test]
fn only_the_own_namespace_is_published() {
    let (own, other) = (listeners(2), listeners(5));
    let mut task = seeded(&own);
    let published = task.publish.subscribe();
    task.add(Slot::other(1), Namespace::new(sources(&other)));
    take_due_turn(&mut task);
    assert!(!published.has_changed().unwrap());
    assert_eq!(published.borrow().snapshot.as_ref().unwrap().tally.rows, 2);
}

#[test]
fn a_namespace_that_cannot_be_seeded_harms_no_other_and_is_seeded_later() {
    let (own, other) = (listeners(2), listeners(5));
    let mut task = seeded(&own);
    task.add(Slot::other(1), Namespace::new(sources(&other)));
    fs::remove_file(other.path().join("net/tcp")).unwrap();
    take_due_turn(&mut task);
    assert_eq!(rows(&mut task, Slot::other(1)), None);
    set_listeners(other.path(), 3);
    task.take_turn(Slot::other(1));
    assert_eq!(rows(&mut task, Slot::other(1)), Some(3));
    task.take_turn(Slot::OWN);
    assert_eq!(rows(&mut task, Slot::OWN), Some(2));
}

#[test]
fn a_namespace_that_has_left_has_no_turn() {
    let (own, other) = (listeners(2), listeners(5));
    let mut task = seeded(&own);
    task.add(Slot::other(1), Namespace::new(sources(&other)));
    task.remove(Slot::other(1));
    assert_eq!(task.schedule.turn(Instant::now()), None);
    task.take_turn(Slot::other(1));
    assert_eq!(rows(&mut task, Slot::other(1)), None);
}
