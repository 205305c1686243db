//! The turns of namespaces that are folders with the files of a procfs.

use std::{fs, path::Path, sync::Mutex};

use tempfile::TempDir;

use super::*;
use crate::{
    procfs::Procfs,
    scopes::NetnsName,
    states::{Family, PerState, State},
    tracker::{
        SourceChoice,
        finder::{FindError, Found, FoundNetns},
        others::Find,
        schedule::Intervals,
    },
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
        let (port, inode) = (8000 + row, 100 * number + row);
        format!(
            "{row:4}: 0100007F:{port:04X} 00000000:0000 0A 00000000:00000000 00:00000000 00000000 \
             0        0 {inode} 1 ffff8880 100 0 0 10 0\n"
        )
    };
    let table: String = std::iter::once(header.to_owned()).chain((0..number).map(row)).collect();
    fs::write(procfs.join("net/tcp"), table).unwrap();
}

/// The namespaces that exist, which tests change.
#[derive(Clone, Default)]
struct Folders(Arc<Mutex<Vec<FoundNetns>>>);

impl Folders {
    fn add(&self, key: u64, folder: &TempDir) {
        let name = NetnsName { name: format!("net{key}"), ..NetnsName::host(key) };
        let processes = vec![folder.path().to_owned()];
        self.0.lock().unwrap().push(FoundNetns { key, name, processes });
    }

    fn remove(&self, key: u64) {
        self.0.lock().unwrap().retain(|netns| netns.key != key);
    }
}

impl Find for Folders {
    fn find(&mut self) -> Result<Found, FindError> {
        let others = self.0.lock().unwrap().clone();
        Ok(Found { own: NetnsName::host(1), others, hidden: 0, by_tasks: false })
    }

    fn name_of_inode(&self, inode: u64) -> NetnsName {
        NetnsName::host(inode)
    }
}

/// A task without a tracer, after the seed of its own namespace. It lists at most `max` others each by itself.
fn seeded(procfs: &TempDir, folders: &Folders, max: u32) -> Task {
    let mut task = Task {
        close_wait: None,
        dwells: None,
        own: Namespace::own(Sources::new(
            Roots::new(vec![Procfs::new(procfs.path())]),
            SourceChoice::Procfs,
            INTERVAL,
            false,
        )),
        listeners: None,
        held: None,
        walker: None,
        others: Some(Others::new(Box::new(folders.clone()), max, INTERVAL, false)),
        schedule: Schedule::new(Intervals { check: None, snapshot: INTERVAL }, Instant::now()),
        shows_destination: false,
        tracer: None,
        publish: watch::channel(Arc::default()).0,
    };
    task.seed().unwrap();
    task
}

/// Finds namespaces, and gives turns until none is due.
fn go_on(task: &mut Task) {
    let others = task.others.as_mut().unwrap();
    others.search_now();
    task.find_others();
    while let Some(Turn::Snapshot(id)) = task.schedule.turn(Instant::now()) {
        task.take_turn(id);
    }
}

/// Name and listeners of each namespace that a scrape shows; `None` before its seed.
fn shown(task: &Task) -> Vec<(String, Option<u64>)> {
    let published = task.publish.borrow().clone();
    let scopes = published.scopes(None, None).remove(0).scopes;
    let listeners = |connections: PerState<u64>| connections[(Family::Ipv4, State::Listen)];
    let others = scopes.into_iter().skip(1);
    others.map(|scope| (scope.name.to_string(), scope.connections.map(listeners))).collect()
}

fn overflow(task: &Task) -> u64 {
    task.publish.borrow().namespaces.as_ref().unwrap().overflow
}

fn named(key: u64, listeners: u64) -> (String, Option<u64>) {
    (format!("net{key}"), Some(listeners))
}

#[test]
fn each_namespace_lists_its_own_sockets_in_its_own_turn() {
    let (own, one, two) = (listeners(2), listeners(5), listeners(7));
    let folders = Folders::default();
    let mut task = seeded(&own, &folders, 9);
    folders.add(1, &one);
    folders.add(2, &two);
    task.find_others();
    assert_eq!(shown(&task), [("net1".to_owned(), None), ("net2".to_owned(), None)]);
    go_on(&mut task);
    assert_eq!(shown(&task), [named(1, 5), named(2, 7)]);
    let own_rows = task.publish.borrow().snapshot.as_ref().unwrap().tally.rows;
    assert_eq!(own_rows, 2, "others change nothing in the own one");
}

#[test]
fn a_namespace_that_cannot_be_listed_harms_no_other_and_is_listed_later() {
    let (own, other) = (listeners(2), listeners(5));
    let folders = Folders::default();
    let mut task = seeded(&own, &folders, 9);
    folders.add(1, &other);
    fs::remove_file(other.path().join("net/tcp")).unwrap();
    go_on(&mut task);
    assert_eq!(shown(&task), [("net1".to_owned(), None)]);
    set_listeners(other.path(), 3);
    let id = NamespaceId::other(2);
    task.take_turn(id);
    assert_eq!(shown(&task), [named(1, 3)]);
}

#[test]
fn a_namespace_that_is_gone_has_no_turn_and_no_series_and_leaves_its_name() {
    let (own, one, two) = (listeners(2), listeners(5), listeners(7));
    let folders = Folders::default();
    let mut task = seeded(&own, &folders, 9);
    folders.add(1, &one);
    go_on(&mut task);
    folders.remove(1);
    go_on(&mut task);
    assert_eq!(shown(&task), []);
    assert_eq!(task.schedule.turn(Instant::now()), None);
    task.take_turn(NamespaceId::other(2));

    folders.add(1, &two);
    go_on(&mut task);
    assert_eq!(shown(&task), [named(1, 7)]);
}

#[test]
fn a_namespace_is_listed_by_another_process_when_the_first_has_gone() {
    let (own, first, second) = (listeners(2), listeners(5), listeners(7));
    let folders = Folders::default();
    let mut task = seeded(&own, &folders, 9);
    folders.add(1, &first);
    go_on(&mut task);
    folders.remove(1);
    folders.add(1, &second);
    go_on(&mut task);
    task.take_turn(NamespaceId::other(2));
    assert_eq!(shown(&task), [named(1, 7)]);
}

#[test]
fn namespaces_past_the_limit_are_counted_together() {
    let own = listeners(2);
    let all: Vec<_> = (1..=5).map(listeners).collect();
    let folders = Folders::default();
    let mut task = seeded(&own, &folders, 2);
    (1..).zip(&all).for_each(|(key, folder)| folders.add(key, folder));
    go_on(&mut task);
    let other = |listeners| ("other".to_owned(), Some(listeners));
    assert_eq!(shown(&task), [named(1, 1), named(2, 2), other(3 + 4 + 5)]);
    assert_eq!(overflow(&task), 3);

    folders.remove(4);
    go_on(&mut task);
    // The budget can let it wait.
    task.take_turn(NamespaceId::other(1));
    assert_eq!(shown(&task), [named(1, 1), named(2, 2), other(3 + 5)]);
    assert_eq!(overflow(&task), 3, "it counts since the start");
}
