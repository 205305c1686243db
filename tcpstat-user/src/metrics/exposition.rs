//! Writes the values of a scrape as metric families, in their order; those of causes and scopes are written after them.

use std::{fmt, sync::Arc, time::Duration};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeGaugeValue},
};

use super::{
    SnapshotValues, TracerValues, Values, WebConfigValues, at_zero, family_writer::FamilyWriter,
    groups::Groups, names, names::Metric, node_exporter::ConnectionStates,
};
use crate::{
    ages::OLDER_THAN,
    destinations::{Destination, FullestDestination},
    history::Moment,
    procfs::{Limits, ProcessStatus, Sockstat},
    states::{Family, PerFamily, PerState, State, family_word, state_word},
    tracker::{Health, Reason},
    transitions::{TRANSITIONS, Transitions},
};

/// The states whose peaks a plain scrape has: those in which a burst uses up a limit, or shows a fault.
const PEAKS: [State; 5] =
    [State::Established, State::SynSent, State::SynRecv, State::TimeWait, State::CloseWait];

/// The families of some groups, without those of scopes.
#[derive(Debug)]
pub(super) struct Exposition {
    pub(super) values: Arc<Values>,
    pub(super) groups: Groups,
}

impl Collector for Exposition {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.values.write(&mut FamilyWriter { encoder, groups: self.groups })
    }
}

impl Values {
    fn write(&self, writer: &mut FamilyWriter<'_>) -> fmt::Result {
        if let Some(connections) = &self.connections {
            writer.by_state(names::CONNECTIONS, connections)?;
        }
        let groups = writer.groups;
        if let Some(peak) = &self.peak {
            let sockets = peak
                .iter()
                .filter(|(state, _)| groups.details() || PEAKS.contains(state))
                .map(|(state, sockets)| ([("state", state_word(state))], sockets));
            writer.gauges(names::CONNECTIONS_PEAK, sockets)?;
        }
        if let Some(tracer) = &self.tracer {
            writer.tracer(tracer)?;
        }
        if let Some(snapshot) = &self.snapshot {
            writer.snapshot(snapshot)?;
        }
        writer.single_counter(names::SNAPSHOT_ERRORS, self.snapshot_errors)?;
        if let Some(sockstat) = &self.sockstat {
            writer.sockstat(sockstat)?;
        }
        let program = self.tracer.as_ref().map_or("none", |tracer| tracer.program);
        let source = self.snapshot.as_ref().map_or("none", |snapshot| snapshot.source);
        let hooks = self.tracer.as_ref().map_or("none", |tracer| tracer.hooks);
        let info = [
            ("program", program),
            ("snapshot", source),
            ("hooks", hooks),
            ("kernel", self.kernel.as_str()),
        ];
        // While the first snapshot is taken, a tracer can run that counts nothing yet.
        if self.snapshot.is_some() || self.snapshot_errors > 0 {
            writer.single(names::TRACER_UP, u64::from(self.tracer.is_some()))?;
            writer.gauges(names::TRACER_INFO, [(info, 1_u64)])?;
        }
        if self.compat.node_exporter
            && let Some(states) = ConnectionStates::of(self)
        {
            states.write(writer)?;
        }
        let build =
            [("version", env!("CARGO_PKG_VERSION")), ("revision", env!("TCPSTAT_REVISION"))];
        writer.gauges(names::BUILD_INFO, [(build, 1_u64)])?;
        if let Some(process) = &self.process {
            writer.process(process)?;
        }
        self.web_config.map_or(Ok(()), |web_config| writer.web_config(web_config))
    }
}

impl FamilyWriter<'_> {
    fn by_state<V: EncodeGaugeValue + Copy>(
        &mut self,
        metric: Metric,
        values: &PerState<V>,
    ) -> fmt::Result {
        let groups = self.groups;
        let samples = values.shown().filter(|&(_, state, _)| groups.has(state));
        let samples = samples.map(|(family, state, value)| {
            ([("family", family_word(family)), ("state", state_word(state))], value)
        });
        self.gauges(metric, samples)
    }

    fn tracer(&mut self, tracer: &TracerValues) -> fmt::Result {
        self.counters(names::TRANSITIONS, transitions(&tracer.transitions))?;
        if let Some((silences, rate)) = &tracer.silences {
            let sum = rate.seconds(silences.ticks);
            self.histogram(names::CLOSE_WAIT_SILENCE_SECONDS, sum, &silences.bounded())?;
        }
        if let Some((ages, rate)) = &tracer.close_wait_ages {
            let oldest = rate.seconds(ages.oldest);
            self.single(names::CLOSE_WAIT_OLDEST_SECONDS, oldest)?;
            let older = OLDER_THAN.iter().zip(ages.older_than);
            let older = older.map(|((_, word), sockets)| ([("older_than", *word)], sockets));
            self.gauges(names::CLOSE_WAIT_AGED_CONNECTIONS, older)?;
        }
        if let Some((states, dwells)) = &tracer.dwells {
            let of =
                |state| ([("state", state_word(state))], dwells.sum(state), dwells.bounded(state));
            self.histograms(names::DWELL_SECONDS, states.iter().map(of))?;
            self.single_counter(names::DWELL_OVERFLOW, dwells.overflow())?;
        }
        let drift: u64 = tracer.drift.shown().map(|(.., drift)| drift.unsigned_abs()).sum();
        self.single(names::DRIFT_ABSOLUTE_CONNECTIONS, drift)?;
        self.by_state(names::DRIFT_CONNECTIONS, &tracer.drift)?;
        let corrections = State::ALL.into_iter().map(|state| {
            let sockets: u64 =
                Family::ALL.into_iter().map(|family| tracer.corrections[(family, state)]).sum();
            ([("state", state_word(state))], sockets, false)
        });
        self.counters(names::CORRECTIONS, corrections)?;
        self.single_counter(names::EVENTS_MISSED, tracer.events_missed)?;
        self.single_counter(names::TRACER_CHANGES, tracer.tracer_changes)?;
        self.health(&tracer.health)
    }

    fn health(&mut self, health: &Health) -> fmt::Result {
        self.single(names::CONSISTENT, u64::from(health.consistent))?;
        self.single_counter(names::SOCKSTAT_MISMATCHES, health.mismatches)?;
        let reconciles = Reason::ALL
            .map(|reason| ([("reason", reason.word())], health.reconciles[reason as usize], false));
        self.counters(names::RECONCILES, reconciles)?;
        match health.last_agreement {
            Some(time) => self.single(names::LAST_AGREEMENT_TIMESTAMP_SECONDS, since_epoch(time)),
            None => Ok(()),
        }
    }

    fn snapshot(&mut self, snapshot: &SnapshotValues) -> fmt::Result {
        let source = [("source", snapshot.source)];
        let tally = &snapshot.tally;
        let bytes = |values: PerFamily<u64>| {
            Family::ALL.map(|family| ([("family", family_word(family))], values[family]))
        };
        let finished = since_epoch(snapshot.finished);
        self.by_state(names::SNAPSHOT_CONNECTIONS, &tally.connections())?;
        self.gauges(names::RECEIVE_QUEUE_BYTES, bytes(tally.receive_queue_bytes))?;
        self.gauges(names::SEND_QUEUE_BYTES, bytes(tally.send_queue_bytes))?;
        self.gauges(names::SNAPSHOT_TIMESTAMP_SECONDS, [(source, finished)])?;
        self.single(names::SNAPSHOT_INTERVAL_SECONDS, snapshot.interval.as_secs_f64())?;
        self.gauges(names::SNAPSHOT_DURATION_SECONDS, [(source, snapshot.duration.as_secs_f64())])?;
        self.gauges(names::SNAPSHOT_ROWS, [(source, tally.rows)])?;
        self.limits(snapshot.limits)?;
        snapshot.fullest.as_ref().map_or(Ok(()), |fullest| self.fullest(fullest))
    }

    fn limits(&mut self, limits: Limits) -> fmt::Result {
        if let Some(time_wait) = limits.time_wait {
            self.single(names::TIME_WAIT_LIMIT, time_wait)?;
        }
        limits.ephemeral_ports.map_or(Ok(()), |ports| self.single(names::EPHEMERAL_PORTS, ports))
    }

    fn fullest(&mut self, fullest: &FullestDestination) -> fmt::Result {
        self.single(names::EPHEMERAL_PORTS_FULLEST_DESTINATION, fullest.sockets)?;
        let Some(Destination { local, remote, port }) = fullest.destination else {
            return Ok(());
        };
        let labels = [
            ("local_address", local.to_string()),
            ("remote_address", remote.to_string()),
            ("remote_port", port.to_string()),
        ];
        self.gauges(names::EPHEMERAL_PORTS_FULLEST_DESTINATION_INFO, [(labels, 1_u64)])
    }

    fn sockstat(&mut self, sockstat: &Sockstat) -> fmt::Result {
        let inuse = |family| {
            (vec![("kind", "inuse"), ("family", family_word(family))], sockstat.inuse[family])
        };
        // No rule needs the full sockets.
        let full = self.groups.details().then(|| Family::ALL.map(inuse));
        let samples = full.into_iter().flatten().chain([(vec![("kind", "tw")], sockstat.tw)]);
        self.gauges(names::SOCKSTAT_SOCKETS, samples)
    }

    fn web_config(&mut self, web_config: WebConfigValues) -> fmt::Result {
        let WebConfigValues { successful, last_success } = web_config;
        self.single(names::WEB_CONFIG_LAST_RELOAD_SUCCESSFUL, u64::from(successful))?;
        let time = since_epoch(last_success);
        self.single(names::WEB_CONFIG_LAST_RELOAD_SUCCESS_TIMESTAMP_SECONDS, time)
    }

    fn process(&mut self, process: &ProcessStatus) -> fmt::Result {
        self.single_counter(names::PROCESS_CPU_SECONDS, process.cpu_seconds)?;
        self.single(names::PROCESS_RESIDENT_MEMORY_BYTES, process.resident_bytes)?;
        self.single(names::PROCESS_VIRTUAL_MEMORY_BYTES, process.virtual_bytes)?;
        self.single(names::PROCESS_START_TIME_SECONDS, process.start_time_seconds)?;
        self.single(names::PROCESS_OPEN_FDS, process.open_fds)?;
        process.max_fds.map_or(Ok(()), |max_fds| self.single(names::PROCESS_MAX_FDS, max_fds))
    }
}

/// Seconds since the epoch, by the wall clock at that time.
pub(super) fn since_epoch(moment: Moment) -> f64 {
    Duration::from_millis(moment.unix_ms).as_secs_f64()
}

/// `N` labels, each a name and a value.
type Labels<const N: usize> = [(&'static str, &'static str); N];

/// The transitions of full sockets that TCP makes.
fn transitions(transitions: &Transitions) -> impl Iterator<Item = (Labels<3>, u64, bool)> + '_ {
    Family::ALL.into_iter().flat_map(move |family| {
        TRANSITIONS.into_iter().map(move |(old, new)| {
            let labels = [
                ("family", family_word(family)),
                ("from", state_word(old)),
                ("to", state_word(new)),
            ];
            let at_zero = at_zero::TRANSITIONS.contains(&(old, new));
            (labels, transitions.get(family, old, new), at_zero)
        })
    })
}
