//! A deterministic world that loses events, skips and doubles rows, and overflows its log; and the
//! promise that the audit keeps in it.

use std::collections::BTreeMap;
use std::convert::Infallible;

use super::*;
use crate::{
    ledger::{
        rewind::{ByAddress, ByTuple, Rewind},
        rules::effect,
    },
    snapshot::{Identity, Kind, Row, Source, Tuple},
    states::{Family, Hooks, Object, State},
    transitions::{Event, moved},
};
use State::{
    Close, CloseWait, Closing, Established, FinWait1, FinWait2, FinWait2Mini, LastAck, Listen,
    NewSynRecv, SynRecv, SynSent, TimeWait,
};

/// Thousands of schedules, each of its own kind.
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

    /// Whether something happens that happens once in `times`; never for 0.
    fn once_in(&mut self, times: u64) -> bool {
        times != 0 && self.below(times) == 0
    }
}

/// What goes wrong, each once in so many times; 0 for never.
#[derive(Clone, Copy, Debug)]
struct Faults {
    event_lost: u64,
    row_skipped: u64,
    row_doubled: u64,
    record_lost: u64,
    /// A transition is told before its socket is hashed or unhashed, so sockstat may be one behind.
    sockstat_behind: u64,
}

#[derive(Clone, Copy)]
struct Socket {
    state: State,
    tuple: Tuple,
}

/// The model of a kernel, its tracer and its log.
struct Model {
    random: Random,
    faults: Faults,
    source: Source,
    hooks: Hooks,
    /// Transitions while one thing is looked at; 0 when quiet.
    pace: u64,
    sockets: BTreeMap<u64, Socket>,
    born: u64,
    counted: Transitions,
    log: Option<Vec<Event>>,
    log_complete: bool,
    /// The sockets when the last listing began.
    truth_at_cut: PerState<i64>,
    /// What had been counted then.
    cut: Transitions,
}

impl Model {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let rate = |random: &mut Random, often: &[u64]| {
            often[usize::try_from(random.below(often.len() as u64)).unwrap()]
        };
        let faults = Faults {
            event_lost: rate(&mut random, &[0, 0, 5, 50, 500]),
            row_skipped: rate(&mut random, &[0, 0, 300, 3000]),
            row_doubled: rate(&mut random, &[0, 0, 300, 3000]),
            record_lost: rate(&mut random, &[0, 0, 100]),
            sockstat_behind: rate(&mut random, &[0, 0, 30, 300]),
        };
        let source = if random.once_in(2) { Source::Procfs } else { Source::Iter };
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
            truth_at_cut: PerState::default(),
            cut: Transitions::default(),
        };
        let before_the_start = model.random.below(120);
        model.run(before_the_start);
        // What happened before the tracer was attached has not been counted.
        model.counted = Transitions::default();
        model
    }

    fn truth(&self) -> PerState<i64> {
        let mut truth = PerState::default();
        for Socket { state, tuple } in self.sockets.values() {
            let counted = self.hooks.tell_of(Object::in_state(*state));
            truth[(tuple.family, *state)] += i64::from(counted);
        }
        truth
    }

    /// By how much the ledger is wrong, over all gauges.
    fn error(&self, ledger: &Ledger) -> u64 {
        let (told, truth) = (ledger.counted(&self.counted), self.truth());
        told.iter().map(|(family, state, told)| told.abs_diff(truth[(family, state)])).sum()
    }

    fn run(&mut self, transitions: u64) {
        for _ in 0..transitions {
            self.step();
        }
    }

    /// One transition of one socket.
    fn step(&mut self) {
        let number = self.random.below(self.sockets.len() as u64 + 3);
        match self.sockets.keys().nth(usize::try_from(number).unwrap()).copied() {
            Some(skaddr) => self.move_on(skaddr),
            None => self.give_birth(),
        }
    }

    fn give_birth(&mut self) {
        self.born += 1;
        let family = Family::ALL[usize::try_from(self.random.below(2)).unwrap()];
        let [low, high, ..] = self.born.to_le_bytes();
        let sport = u16::from_le_bytes([low, high]).max(1);
        let connection = Tuple { family, saddr: [1; 16], sport, daddr: [2; 16], dport: 443 };
        let listener = Tuple { daddr: [0; 16], dport: 0, ..connection };
        // Slab reuse: an address is used again as soon as it is free.
        let skaddr = (0..self.born).find(|skaddr| !self.sockets.contains_key(skaddr)).unwrap_or(0);
        let (old, state, tuple, told) = match self.random.below(14) {
            0 => (Close, Listen, listener, listener),
            1..=5 => (Close, SynSent, connection, Tuple { sport: 0, ..connection }),
            // Up to 6.13 with the listener's ends, later with the child's.
            6..=7 => (Listen, SynRecv, connection, listener),
            8..=9 => (Listen, SynRecv, connection, connection),
            10 => (Close, TimeWait, connection, connection),
            11 => (Close, FinWait2Mini, connection, connection),
            _ => (Close, NewSynRecv, connection, connection),
        };
        self.sockets.insert(skaddr, Socket { state, tuple });
        self.tell(Event { skaddr, old, new: state, tuple: told });
    }

    fn move_on(&mut self, skaddr: u64) {
        let Some(&Socket { state: old, tuple }) = self.sockets.get(&skaddr) else { return };
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
        self.tell(Event { skaddr, old, new, tuple });
    }

    /// The tracer counts and logs the event, unless it has no hook for it or the kernel skips it.
    fn tell(&mut self, event: Event) {
        if !self.hooks.tell_of(moved(event.old, event.new)) {
            return;
        }
        if self.pace > 0 && self.random.once_in(self.faults.event_lost) {
            return;
        }
        self.counted.add(event.tuple.family, event.old, event.new, 1);
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
    fn listing<R: Rewind>(&mut self) -> Listing {
        let cut = self.counted.clone();
        self.truth_at_cut = self.truth();
        self.cut = cut.clone();
        self.log = Some(Vec::new());
        self.log_complete = true;
        let mut tally = Tally::default();
        let mut rewind = R::default();
        let mut listed = None;
        loop {
            let moves = if self.pace == 0 { 0 } else { self.random.below(self.pace) };
            self.run(moves);
            // In the order of the addresses: sockets come and go before and behind the walk.
            let next = match listed {
                None => self.sockets.iter().next(),
                Some(last) => self.sockets.range(last + 1..).next(),
            };
            let Some((&skaddr, &Socket { state, tuple })) = next else { break };
            listed = Some(skaddr);
            let identity = match self.source {
                Source::Procfs => Identity::Tuple { tuple, inode: skaddr + 1 },
                Source::Iter => Identity::Address(skaddr * 4096),
            };
            let (family, kind) = (tuple.family, Kind::in_state(state));
            let rewound = self.hooks.tell_of(Object::in_state(state));
            let row = Row { family, identity, kind, receive_queue: 0, send_queue: 0 };
            let times = match (self.pace, &self.faults) {
                (0, _) => 1,
                (_, faults) if self.random.once_in(faults.row_skipped) => 0,
                (_, faults) if self.random.once_in(faults.row_doubled) => 2,
                _ => 1,
            };
            for _ in 0..times {
                if !rewound || rewind.row(&row) {
                    tally.add(&row);
                }
            }
        }
        for event in self.log.take().unwrap_or_default() {
            rewind.event(&Event { skaddr: event.skaddr * 4096, ..event });
        }
        Listing { tally, cut, at_cut: rewind.at_cut(), log_complete: self.log_complete }
    }
}

impl World for Model {
    type Error = Infallible;

    fn list(&mut self) -> Result<Listing, Infallible> {
        Ok(match self.source {
            Source::Procfs => self.listing::<ByTuple>(),
            Source::Iter => self.listing::<ByAddress>(),
        })
    }

    fn witness(&mut self) -> Witness {
        let before = self.counted.clone();
        let moves = if self.pace == 0 { 0 } else { self.random.below(self.pace) };
        self.run(moves);
        let [inuse, tw] = [Object::Full, Object::Mini].map(|object| {
            let states = self.sockets.values().map(|socket| socket.state);
            let hashed = states.filter(|&state| Object::in_state(state) == object).count() as u64;
            if self.pace > 0 && self.random.once_in(self.faults.sockstat_behind) {
                Some(hashed.saturating_add_signed(1 - 2 * self.random.below(2).cast_signed()))
            } else {
                Some(hashed)
            }
        });
        Witness { before, inuse, tw, after: self.counted.clone() }
    }

    fn pause(&mut self) {
        self.run(self.pace * 5);
    }
}

/// Reconciles, and holds every correction against the truth: as it was when the listing began, or,
/// where an event was lost since, as it is now.
fn reconcile(audit: &mut Audit, model: &mut Model, seed: u64) {
    let before = audit.clone();
    let Ok(outcome) = audit.reconcile(model);
    let Some(corrected) = outcome.corrected else { return };
    let told = before.ledger().counted(&model.cut);
    let true_at_cut = corrected.iter().all(|(family, state, drift)| {
        told[(family, state)] - model.truth_at_cut[(family, state)] == drift
    });
    let (error, without) = (model.error(audit.ledger()), model.error(before.ledger()));
    assert!(
        true_at_cut || error < without,
        "seed {seed}: a false correction: off by {without}, then {error}"
    );
}

/// Churn with faults; then rest, and what the tracker does within two seconds of it.
fn live_through(seed: u64) {
    let mut model = Model::new(seed);
    let Ok((mut audit, settled)) = Audit::seed(model.hooks, &mut model);
    let faults = model.faults;
    let faultless = faults.event_lost == 0 && faults.row_skipped == 0 && faults.row_doubled == 0;
    if settled && faultless {
        assert_eq!(model.error(audit.ledger()), 0, "seed {seed}: seeded wrongly");
    }
    for _ in 0..model.random.below(12) {
        model.pace = model.random.below(8);
        model.run(model.pace * 20);
        if audit.tripped(&mut model) || model.random.once_in(3) {
            reconcile(&mut audit, &mut model, seed);
        }
    }
    model.pace = 0;
    // One interval at most: a drift that leaves the sum trips no wire.
    if audit.tripped(&mut model) {
        reconcile(&mut audit, &mut model, seed);
    }
    reconcile(&mut audit, &mut model, seed);
    assert_eq!(audit.ledger().counted(&model.counted), model.truth(), "seed {seed} stays wrong");
    assert!(!audit.tripped(&mut model), "seed {seed}: a wire trips at rest");
    assert!(audit.consistent());
}

#[test]
fn after_any_schedule_the_next_quiet_reconcile_leaves_no_gauge_wrong() {
    for seed in 0..SEEDS {
        live_through(seed);
    }
}
