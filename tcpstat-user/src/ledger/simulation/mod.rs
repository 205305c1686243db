//! The audit against a model of a kernel that loses events, skips and doubles rows, and overflows its log.
//! The model is deterministic: a seed gives one schedule.

use std::collections::BTreeMap;
use std::convert::Infallible;

use super::*;
use crate::{
    ledger::{
        rewind::{ByAddress, ByTuple, Rewind},
        rules::effect,
    },
    snapshot::{Identity, Kind, Row, SnapshotSource, Tuple},
    states::{Family, Hooks, Object, PerFamily, State},
    transitions::{Event, object_of},
};
use State::{
    Close, CloseWait, Closing, Established, FinWait1, FinWait2, FinWait2Mini, LastAck, Listen,
    NewSynRecv, SynRecv, SynSent, TimeWait,
};

/// Number of schedules, each with its own faults.
const SEEDS: u64 = 4000;

/// SplitMix64: small, and the same on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// True once in `times`; never for 0.
    fn once_in(&mut self, times: u64) -> bool {
        times != 0 && self.below(times) == 0
    }
}

/// How often each fault happens: once in that many times; 0 for never.
#[derive(Clone, Copy, Debug)]
struct Faults {
    event_lost: u64,
    row_skipped: u64,
    row_doubled: u64,
    record_lost: u64,
    /// sockstat is wrong by one: an event comes before its socket is hashed or unhashed.
    sockstat_behind: u64,
    /// As [`Self::sockstat_behind`], for many readings: the processor stops between the event and the change of the
    /// hash table.
    sockstat_stuck: u64,
    /// A socket changes its family instead of its state.
    family_changed: u64,
}

const FAULTLESS: Faults = Faults {
    event_lost: 0,
    row_skipped: 0,
    row_doubled: 0,
    record_lost: 0,
    sockstat_behind: 0,
    sockstat_stuck: 0,
    family_changed: 0,
};

#[derive(Clone, Copy)]
struct Socket {
    state: State,
    tuple: Tuple,
    /// 0 for a mini-socket or a request.
    cgroup: u64,
}

/// The model of a kernel, its tracer and its log.
pub(crate) struct Model {
    random: Random,
    faults: Faults,
    source: SnapshotSource,
    pub(crate) hooks: Hooks,
    /// Upper bound of the transitions during one reading; 0 if it is calm.
    pub(crate) pace: u64,
    sockets: BTreeMap<u64, Socket>,
    born: u64,
    pub(crate) counted: Transitions,
    log: Option<Vec<Event>>,
    log_complete: bool,
    /// The counters and the true sockets at the cut of each snapshot.
    pub(crate) cuts: Vec<(Transitions, PerState<i64>)>,
    /// What sockstat is wrong by for so many readings more.
    stuck: Option<sockstat::Stuck>,
    /// Number of changes of family so far.
    family_changes: u64,
    /// What scopes count, and what snapshots show of them.
    scopes: scopes::Scopes,
}

impl Model {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let rate = |random: &mut Random, often: &[u64]| {
            often[usize::try_from(random.below(often.len() as u64)).unwrap()]
        };
        let mut faults = Faults {
            event_lost: rate(&mut random, &[0, 0, 5, 50, 500]),
            row_skipped: rate(&mut random, &[0, 0, 300, 3000]),
            row_doubled: rate(&mut random, &[0, 0, 300, 3000]),
            record_lost: rate(&mut random, &[0, 0, 100]),
            sockstat_behind: rate(&mut random, &[0, 0, 30, 300]),
            sockstat_stuck: rate(&mut random, &[0, 0, 5, 50]),
            family_changed: rate(&mut random, &[0, 0, 2, 20]),
        };
        // Together with one of these, snapshots and sockstat can have the same error.
        if [faults.row_skipped, faults.row_doubled, faults.family_changed] != [0; 3] {
            faults.sockstat_stuck = 0;
        }
        let source = if random.once_in(2) { SnapshotSource::Procfs } else { SnapshotSource::Iter };
        Self::with(random, faults, source)
    }

    fn with(mut random: Random, faults: Faults, source: SnapshotSource) -> Self {
        let [timewait, requests] = [(); 2].map(|()| random.once_in(2));
        let mut model = Self {
            random,
            faults,
            source,
            hooks: Hooks { timewait, requests },
            pace: 4,
            sockets: BTreeMap::new(),
            born: 0,
            counted: Transitions::default(),
            log: None,
            log_complete: true,
            cuts: Vec::new(),
            stuck: None,
            family_changes: 0,
            scopes: scopes::Scopes::default(),
        };
        let before_the_start = model.random.below(120);
        model.run(before_the_start);
        // Transitions before the tracer was attached are not counted.
        model.counted = Transitions::default();
        model.scopes = scopes::Scopes::default();
        model
    }

    pub(crate) fn truth(&self) -> PerState<i64> {
        let mut truth = PerState::default();
        for Socket { state, tuple, .. } in self.sockets.values() {
            let counted = self.hooks.counts(Object::in_state(*state));
            truth[(tuple.family, *state)] += i64::from(counted);
        }
        truth
    }

    /// The sum of the errors of all gauges.
    fn error(&self, ledger: &Ledger) -> u64 {
        let (counted, truth) = (ledger.counted(&self.counted), self.truth());
        counted.iter().map(|(family, state, count)| count.abs_diff(truth[(family, state)])).sum()
    }

    pub(crate) fn run(&mut self, transitions: u64) {
        for _ in 0..transitions {
            self.step();
        }
    }

    /// Makes less than `pace` transitions.
    fn run_some(&mut self) {
        let transitions = if self.pace == 0 { 0 } else { self.random.below(self.pace) };
        self.run(transitions);
    }

    /// Makes one transition of one socket.
    fn step(&mut self) {
        let number = self.random.below(self.sockets.len() as u64 + 3);
        match self.sockets.keys().nth(usize::try_from(number).unwrap()).copied() {
            Some(skaddr) => self.change(skaddr),
            None => self.create(),
        }
    }

    fn create(&mut self) {
        self.born += 1;
        let family = Family::ALL[usize::try_from(self.random.below(2)).unwrap()];
        let mapped = self.random.once_in(2);
        let kind = self.random.below(14);
        // The kernel chooses the port of a client, so scopes count none of them.
        let [low, high, ..] = (2 * self.born + u64::from((1..=5).contains(&kind))).to_le_bytes();
        let sport = u16::from_le_bytes([low, high]);
        let [saddr, daddr] = [1, 2].map(|last| address(family, mapped, last));
        let connection = Tuple { family, saddr, sport, daddr, dport: 443 };
        let listener = Tuple { daddr: [0; 16], dport: 0, ..connection };
        // The slab reuses an address as soon as it is free.
        let skaddr = (0..self.born).find(|skaddr| !self.sockets.contains_key(skaddr)).unwrap_or(0);
        let (old, state, tuple, reported) = match kind {
            0 => (Close, Listen, listener, listener),
            1..=5 => (Close, SynSent, connection, Tuple { sport: 0, ..connection }),
            // Up to 6.13 the event has the tuple of the listener, later that of the child.
            6..=7 => (Listen, SynRecv, connection, listener),
            8..=9 => (Listen, SynRecv, connection, connection),
            10 => (Close, TimeWait, connection, connection),
            11 => (Close, FinWait2Mini, connection, connection),
            _ => (Close, NewSynRecv, connection, connection),
        };
        let is_full = Object::in_state(state) == Object::Full;
        let cgroup = if is_full { self.born % 3 + 1 } else { 0 };
        self.sockets.insert(skaddr, Socket { state, tuple, cgroup });
        self.report(Event { skaddr, old, new: state, tuple: reported, cgroup });
    }

    fn change(&mut self, skaddr: u64) {
        let Some(&Socket { state: old, tuple, cgroup }) = self.sockets.get(&skaddr) else { return };
        if let (Established, Some(ipv4)) = (old, tuple.as_ipv4())
            && self.random.once_in(self.faults.family_changed)
        {
            self.sockets.insert(skaddr, Socket { state: old, tuple: ipv4, cgroup });
            self.family_changes += 1;
            return;
        }
        let choices: &[State] = match old {
            SynSent | SynRecv => &[Established, Established, Established, Close],
            Established => &[FinWait1, CloseWait, CloseWait, Close],
            FinWait1 => &[FinWait2, FinWait2, Closing, FinWait1],
            CloseWait => &[LastAck, Close],
            FinWait2Mini => &[TimeWait, Close],
            Listen if self.random.below(4) != 0 => return,
            _ => &[Close],
        };
        let new = choices[usize::try_from(self.random.below(choices.len() as u64)).unwrap()];
        if new == Close {
            self.sockets.remove(&skaddr);
        } else if let Some(socket) = self.sockets.get_mut(&skaddr) {
            socket.state = new;
        }
        assert!(effect(old, new) != (None, None) || old == new);
        self.report(Event { skaddr, old, new, tuple, cgroup });
    }

    /// Counts and logs the event, unless no hook reports it or the kernel skips it.
    fn report(&mut self, event: Event) {
        if !self.hooks.counts(object_of(event.old, event.new)) {
            return;
        }
        if self.pace > 0 && self.random.once_in(self.faults.event_lost) {
            return;
        }
        self.counted.add(event.tuple.family, event.old, event.new, 1);
        self.scopes.count(&event);
        if let Some(log) = &mut self.log {
            if self.random.once_in(self.faults.record_lost) {
                self.log_complete = false;
            } else {
                log.push(event);
            }
        }
    }
}

impl Model {
    fn take_snapshot<R: Rewind>(&mut self) -> RewoundSnapshot {
        let cut = self.counted.clone();
        self.cuts.push((cut.clone(), self.truth()));
        self.log = Some(Vec::new());
        self.log_complete = true;
        let mut tally = Tally::default();
        let mut rewind = R::default();
        let mut scoped = self.begin_scopes();
        let mut listed = None;
        loop {
            self.run_some();
            // In the order of addresses: sockets appear and close before and behind the current one.
            let next = match listed {
                None => self.sockets.iter().next(),
                Some(last) => self.sockets.range(last + 1..).next(),
            };
            let Some((&skaddr, &Socket { state, tuple, cgroup })) = next else { break };
            listed = Some(skaddr);
            let identity = match self.source {
                SnapshotSource::Procfs => Identity::Tuple { tuple, inode: skaddr + 1 },
                SnapshotSource::Iter => Identity::Address { skaddr: skaddr * 4096, tuple },
            };
            let (family, kind) = (tuple.family, Kind::in_state(state));
            let rewound = self.hooks.counts(Object::in_state(state));
            let sport = tuple.sport;
            let (receive_queue, send_queue) = (0, 0);
            let row = Row { family, identity, kind, receive_queue, send_queue, sport, cgroup };
            let times = match (self.pace, &self.faults) {
                (0, _) => 1,
                (_, faults) if self.random.once_in(faults.row_skipped) => 0,
                (_, faults) if self.random.once_in(faults.row_doubled) => 2,
                _ => 1,
            };
            for _ in 0..times {
                if !rewound || rewind.row(&row) {
                    tally.add(&row);
                    scoped.row(&row, R::row_id(&row).filter(|_| rewound));
                }
            }
        }
        for event in self.log.take().unwrap_or_default() {
            let event = Event { skaddr: event.skaddr * 4096, ..event };
            rewind.event(&event);
            scoped.event(&event);
        }
        let complete = self.log_complete;
        let snapshot = RewoundSnapshot { tally, cut, at_cut: rewind.at_cut(), complete };
        self.end_scopes(scoped, snapshot.exact(), |id| rewind.has_events(id));
        snapshot
    }
}

impl World for Model {
    type Error = Infallible;

    fn snapshot(&mut self) -> Result<RewoundSnapshot, Infallible> {
        Ok(match self.source {
            SnapshotSource::Procfs => self.take_snapshot::<ByTuple>(),
            SnapshotSource::Iter => self.take_snapshot::<ByAddress>(),
        })
    }

    fn sample(&mut self) -> SockstatSample {
        let before = self.counted.clone();
        self.run_some();
        let inuse = PerFamily(Family::ALL.map(|family| self.hashed(Object::Full, Some(family))));
        let tw = self.hashed(Object::Mini, None);
        SockstatSample { before, inuse: Some(inuse), tw: Some(tw), after: self.counted.clone() }
    }

    fn check_repeatable(&self) -> Result<(), Infallible> {
        Ok(())
    }

    fn pause(&mut self) {
        self.run(self.pace * 5);
    }
}

fn address(family: Family, mapped: bool, last: u8) -> [u8; 16] {
    let mut address = [0; 16];
    match (family, mapped) {
        (Family::Ipv4, _) => address[..4].fill(last),
        (Family::Ipv6, true) => {
            address[10..12].fill(0xff);
            address[12..].fill(last);
        }
        (Family::Ipv6, false) => address.fill(last),
    }
    address
}

mod promises;
mod scopes;
mod sockstat;
