//! Reads the numbers of one scrape or one sample of the history: counters and a few files, no socket.

use super::{
    Live, Published, Scopes,
    own_scopes::Totals,
    reader::{Sampled, sample},
};
use crate::{
    detailed::DetailedTransitions,
    dwell::{DwellStates, Dwells},
    history::{Moment, Sample},
    procfs::{ProcessStatus, Procfs, Sockstat},
    states::PerState,
    transitions::Transitions,
};

/// The files that a scrape reads. `None` means that a file cannot be read; its values are left out.
pub(crate) trait Files {
    /// Memory, CPU time and descriptors of this process.
    fn process(&self) -> Option<ProcessStatus>;
    /// The kernel's own socket counts.
    fn sockstat(&self) -> Option<Sockstat>;
}

impl Files for Procfs {
    fn process(&self) -> Option<ProcessStatus> {
        ProcessStatus::read().ok()
    }

    fn sockstat(&self) -> Option<Sockstat> {
        Self::sockstat(self).ok()
    }
}

/// What a scrape reads beyond [`Published`].
#[derive(Clone, Debug)]
pub(crate) struct Scrape {
    /// Sockets by state, as /proc/net/tcp shows them; `None` before the first snapshot.
    pub(crate) connections: Option<PerState<u64>>,
    /// Transitions since the start; `None` without a tracer.
    pub(crate) transitions: Option<Transitions>,
    /// The transitions with their details; `None` if these are not counted.
    pub(crate) detailed: Option<DetailedTransitions>,
    /// How long sockets were in the chosen states, since the start; `None` if that is not measured.
    pub(crate) dwells: Option<(DwellStates, Dwells)>,
    /// The kernel's own socket counts.
    pub(crate) sockstat: Option<Sockstat>,
    /// Memory, CPU time and descriptors of this process.
    pub(crate) process: Option<ProcessStatus>,
    /// The scopes of each kind that is counted.
    pub(crate) scopes: Vec<Scopes>,
    /// Whether the counts differ from sockstat: the tracker should check now.
    pub(crate) suspicious: bool,
}

impl Published {
    /// Reads counters, sockstat and the status of this process. Without a tracer, the sockets are those of
    /// the last snapshot.
    pub(crate) fn scrape(&self, files: &impl Files) -> Scrape {
        let process = files.process();
        let (Some(live), Some(snapshot)) = (&self.live, &self.snapshot) else {
            let connections = self.snapshot.as_ref().map(|snapshot| snapshot.tally.connections());
            return Scrape {
                scopes: self.scopes(connections, None),
                connections,
                transitions: None,
                detailed: None,
                dwells: None,
                sockstat: files.sockstat(),
                process,
                suspicious: false,
            };
        };
        let Sampled { sample, sockstat, detailed } = sample(&live.counters, live.slot, files);
        let readings = sample.readings(&live.ledger);
        let tw = sockstat.map_or_else(|| snapshot.tally.minis(), |sockstat| sockstat.tw);
        let changed = live.checks.changed_family(&readings).unwrap_or(live.changed_family);
        let connections = live.ledger.connections(&sample.after, tw, changed);
        let transitions = live.carried.plus(&sample.after);
        let mut scopes = self.scopes(Some(connections), Some(&transitions));
        if let Some(own) = &live.scopes {
            let full = live.ledger.full(&sample.after, changed);
            scopes.extend(own.read(&Totals {
                connections: &connections,
                full: &full,
                transitions: &transitions,
            }));
        }
        Scrape {
            scopes,
            connections: Some(connections),
            transitions: Some(transitions),
            detailed: detailed.map(|detailed| live.carried_details.plus(&detailed)),
            dwells: self.dwells(live),
            sockstat,
            process,
            suspicious: !live.checks.agrees(&readings),
        }
    }

    /// Reads the transitions with their details since the start; `None` if these are not counted.
    pub(crate) fn detailed(&self) -> Option<DetailedTransitions> {
        let live = self.live.as_ref()?;
        let (_, detailed) = live.counters.read_detailed(live.slot);
        Some(live.carried_details.plus(&detailed?))
    }

    fn dwells(&self, live: &Live) -> Option<(DwellStates, Dwells)> {
        let dwells = self.dwells.as_ref()?;
        Some((dwells.states, dwells.read(&live.counters)?))
    }

    /// Reads the counters, and sockstat only if no hook counts mini-sockets. `at` is the current time. Gives
    /// `None` before the first snapshot. Without a tracer, the sockets are those of the last snapshot.
    pub(crate) fn sample(&self, files: &impl Files, at: Moment) -> Option<Sample> {
        let tally = &self.snapshot.as_ref()?.tally;
        let Some(live) = &self.live else {
            return Some(Sample::new(at, &tally.connections(), None));
        };
        let counted = live.counters.read(live.slot);
        let sockstat = if live.hooks.timewait { None } else { files.sockstat() };
        let tw = sockstat.map_or_else(|| tally.minis(), |sockstat| sockstat.tw);
        let connections = live.ledger.connections(&counted, tw, live.changed_family);
        Some(Sample::new(at, &connections, Some(&live.carried.plus(&counted))))
    }
}
