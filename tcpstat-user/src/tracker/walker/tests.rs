//! When walks begin and end, by a thread that answers as the tests let it.

use std::sync::mpsc::{Sender, channel};

use super::*;
use crate::kernel::LoadError;

/// An hour: no walk is due again while a test runs.
const INTERVAL: Duration = Duration::from_hours(1);

/// Namespaces that note what they get.
#[derive(Default)]
struct Noted {
    /// How many need a walk.
    number: u64,
    /// The keys of each walk that they got, with the sockets of each.
    walks: Vec<Vec<(NetnsKey, u64)>>,
    spent: Duration,
}

impl Walked for Noted {
    fn before_walk(&self) -> Vec<BeforeWalk> {
        let before = (1..=self.number).map(|number| BeforeWalk {
            id: NamespaceId::other(number),
            key: number,
            slot: Slot::OWN,
            counted: Transitions::default(),
            missed: 0,
        });
        before.collect()
    }

    fn take_walk(
        &mut self,
        before: Vec<BeforeWalk>,
        tallies: &HashMap<NetnsKey, HeldTally>,
    ) -> bool {
        let walk = before.iter().map(|namespace| namespace.key);
        self.walks.push(walk.map(|key| (key, tallies[&key].tally.rows)).collect());
        true
    }

    fn spend(&mut self, took: Duration) {
        self.spent += took;
    }
}

/// A walker whose walks end as the sender lets them, each after a second of CPU time.
fn walker() -> (Walker, Sender<Result<bool, IterError>>) {
    let (allow, allowed) = channel();
    let thread = ReaderThread::start("test", move |keys: Keys| {
        let has_room: Result<bool, IterError> = allowed.recv().unwrap();
        let listed = has_room.map(|has_room| has_room.then(|| Listed::of(keys)));
        Ok(Walk { listed, took: Duration::from_secs(1) })
    });
    let mut walker = Walker::new(INTERVAL, 1, None);
    walker.thread = Some(thread.unwrap());
    (walker, allow)
}

/// Updates now.
fn update(walker: &mut Walker, namespaces: &mut Noted) -> bool {
    walker.due = Some(Instant::now());
    walker.update(namespaces)
}

/// Updates until the walk has ended.
fn await_end(walker: &mut Walker, namespaces: &mut Noted) -> bool {
    loop {
        let has_changed = update(walker, namespaces);
        if walker.begun.is_none() {
            return has_changed;
        }
        std::thread::yield_now();
    }
}

fn due_in(walker: &Walker) -> Duration {
    walker.due().unwrap().saturating_duration_since(Instant::now())
}

#[test]
fn a_walk_shows_the_namespaces_that_were_there_when_it_began_and_the_next_is_due_after_the_interval()
 {
    let (mut walker, allow) = walker();
    let mut namespaces = Noted { number: 2, ..Noted::default() };
    assert!(!update(&mut walker, &mut namespaces), "it begins");
    namespaces.number = 3;
    assert!(!update(&mut walker, &mut namespaces), "it goes on");
    allow.send(Ok(true)).unwrap();
    assert!(await_end(&mut walker, &mut namespaces));
    assert_eq!(namespaces.walks, [[(1, 0), (2, 0)]]);
    assert!(due_in(&walker) > INTERVAL / 2);
    assert!(namespaces.spent >= Duration::from_secs(1));
}

#[test]
fn a_walk_that_waits_for_a_peer_is_polled_less_and_less_often_and_taken_when_it_ends() {
    let (mut walker, allow) = walker();
    let mut namespaces = Noted { number: 2, ..Noted::default() };
    update(&mut walker, &mut namespaces);
    for waited in [10, 1000] {
        let begun = walker.begun.as_mut().unwrap();
        begun.at = begun.at.checked_sub(Duration::from_secs(waited)).unwrap();
        update(&mut walker, &mut namespaces);
        assert!(due_in(&walker) > Duration::from_secs(waited) / 20);
    }
    allow.send(Ok(true)).unwrap();
    assert!(await_end(&mut walker, &mut namespaces));
}

#[test]
fn for_one_namespace_there_is_no_walk_and_more_can_come_soon() {
    let (mut walker, _allow) = walker();
    let mut namespaces = Noted { number: 1, ..Noted::default() };
    assert!(!update(&mut walker, &mut namespaces));
    assert!(walker.begun.is_none());
    assert!(due_in(&walker) <= FEW_INTERVAL);
}

#[test]
fn after_a_change_of_the_tracer_a_walk_that_goes_on_shows_nothing_and_the_next_follows() {
    let (mut walker, allow) = walker();
    let mut namespaces = Noted { number: 2, ..Noted::default() };
    update(&mut walker, &mut namespaces);
    walker.begin_again(Instant::now());
    allow.send(Ok(true)).unwrap();
    assert!(!await_end(&mut walker, &mut namespaces));
    assert!(namespaces.walks.is_empty());
    assert!(due_in(&walker) < INTERVAL / 2, "as soon as the budget allows it");
    // Without one that goes on too.
    walker.due = Some(Instant::now() + INTERVAL);
    walker.begin_again(Instant::now());
    assert!(due_in(&walker) < INTERVAL / 2);
}

#[test]
fn a_walk_that_fails_is_paid_for_before_the_next_one() {
    let (mut walker, allow) = walker();
    let mut namespaces = Noted { number: 2, ..Noted::default() };
    update(&mut walker, &mut namespaces);
    let cause = std::io::Error::from_raw_os_error(libc::ENOMEM);
    allow.send(Err(IterError::Read { iterator: "task_file", cause })).unwrap();
    assert!(!await_end(&mut walker, &mut namespaces));
    assert!(due_in(&walker) > Duration::from_mins(3), "{:?}", due_in(&walker));
    assert!(namespaces.spent >= Duration::from_secs(1));

    update(&mut walker, &mut namespaces);
    allow.send(Err(LoadError::NoObject.into())).unwrap();
    assert!(!await_end(&mut walker, &mut namespaces));
    assert_eq!(walker.due(), None, "it never works");
}

#[test]
fn a_walk_without_room_shows_nothing() {
    let (mut walker, allow) = walker();
    let mut namespaces = Noted { number: 2, ..Noted::default() };
    update(&mut walker, &mut namespaces);
    allow.send(Ok(false)).unwrap();
    assert!(!await_end(&mut walker, &mut namespaces));
    assert!(namespaces.walks.is_empty());
    assert!(due_in(&walker) > INTERVAL / 2);
}
