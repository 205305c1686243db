//! What tcpstat exports of a simulated host, scrape by scrape.

use super::host::{Host, Scope, Tally};
use super::series::{Sample, Series};
use super::socket::{CONNECT_CAUSES, Family, State, TRANSITIONS};
use super::time::{HOUR, MINUTE, SECOND, Span};

pub(super) const TARGET: &str = "job=\"tcpstat\",instance=\"web1:10048\"";

const TIME_WAIT_LIMIT: i64 = 262_144;

const AGES: [(&str, u64); 3] = [("1m", MINUTE), ("5m", 5 * MINUTE), ("1h", HOUR)];

/// The transitions that a rule names: tcpstat has their counters from the start.
const TRANSITIONS_AT_ZERO: [(&str, &str); 4] = [
    ("close", "syn_sent"),
    ("listen", "syn_recv"),
    ("syn_sent", "established"),
    ("syn_sent", "close"),
];

/// All series of the host.
pub(super) fn export(host: &Host) -> Vec<Series> {
    let mut exporter = Exporter { host, series: Vec::new(), lives: lives(host) };
    exporter.health();
    exporter.destinations();
    // Cgroups and ports are counted by a tracer only.
    let is_exported =
        |tally: &&Tally| host.tracer || matches!(tally.scope, Scope::Own | Scope::Netns(_));
    for tally in host.tallies.iter().filter(is_exported) {
        exporter.connections(tally);
        if host.tracer {
            exporter.transitions(tally);
            exporter.ages(tally);
        }
    }
    if host.tracer {
        exporter.causes();
        exporter.listeners();
    }
    exporter.series
}

struct Exporter<'a> {
    host: &'a Host,
    series: Vec<Series>,
    /// When tcpstat runs.
    lives: Vec<Span>,
}

fn lives(host: &Host) -> Vec<Span> {
    let mut down: Vec<_> = host.restarts.iter().chain(&host.reboots).copied().collect();
    down.sort_by_key(|span| span.from);
    let starts = [0].into_iter().chain(down.iter().map(|span| span.to));
    let ends = down.iter().map(|span| span.from).chain([host.duration]);
    starts.zip(ends).map(|(from, to)| Span { from, to }).collect()
}

/// Sums from the first scrape to each.
fn sums(changes: &[i64]) -> Vec<i64> {
    let mut sum = 0;
    changes
        .iter()
        .map(|change| {
            sum += change;
            sum
        })
        .collect()
}

fn added(first: &[i64], second: &[i64]) -> Vec<i64> {
    first.iter().zip(second).map(|(first, second)| first + second).collect()
}

impl Exporter<'_> {
    fn push(&mut self, metric: &str, labels: &str, values: &[i64], scale: i64) {
        let separator = if labels.is_empty() { "" } else { "," };
        let name = format!("{metric}{{{TARGET}{separator}{labels}}}");
        let samples = self.samples(values, None);
        self.series.push(Series { name, samples, scale });
    }

    fn gauge(&mut self, metric: &str, labels: &str, changes: &[i64]) {
        self.push(metric, labels, &sums(changes), 1);
    }

    fn constant(&mut self, metric: &str, labels: &str, value: i64) {
        self.push(metric, labels, &vec![value; self.host.scrapes()], 1);
    }

    /// A counter that a scrape has from its first event on, as one that no rule names.
    fn counter_from_first_event(&mut self, metric: &str, labels: &str, events: &[i64]) {
        self.counter(metric, labels, events);
        let Some(series) = self.series.last_mut() else { return };
        let mut was_there = false;
        for sample in &mut series.samples {
            if *sample == Sample::Value(0) {
                *sample = if was_there { Sample::Stale } else { Sample::Missing };
            }
            if *sample != Sample::Missing {
                was_there = matches!(sample, Sample::Value(_));
            }
        }
        if !series.samples.iter().any(|sample| matches!(sample, Sample::Value(_))) {
            self.series.pop();
        }
    }

    /// Counters begin again with each start of tcpstat.
    fn counter(&mut self, metric: &str, labels: &str, events: &[i64]) {
        let mut values = sums(events);
        for life in self.lives.iter().rev() {
            let start = self.host.scrape_at(life.from);
            let base = start.checked_sub(1).map_or(0, |before| values[before]);
            for value in &mut values[start..] {
                *value -= base.min(*value);
            }
        }
        self.push(metric, labels, &values, 1);
    }

    /// `while_down` is the value while tcpstat does not answer.
    fn samples(&self, values: &[i64], while_down: Option<i64>) -> Vec<Sample> {
        let mut time = 0;
        let mut was_up = false;
        let mut samples = Vec::with_capacity(self.host.scrapes());
        for value in &values[..self.host.scrapes()] {
            let is_in = |span: &Span| (span.from..span.to).contains(&time);
            let is_up = self.lives.iter().any(is_in);
            samples.push(match while_down {
                _ if self.host.gaps.iter().any(is_in) => Sample::Missing,
                _ if is_up => Sample::Value(*value),
                Some(value) => Sample::Value(value),
                None if was_up => Sample::Stale,
                None => Sample::Missing,
            });
            was_up = is_up;
            time += self.host.scrape;
        }
        samples
    }

    fn health(&mut self) {
        let ones = vec![1; self.host.scrapes()];
        let samples = self.samples(&ones, Some(0));
        self.series.push(Series { name: format!("up{{{TARGET}}}"), samples, scale: 1 });
        self.constant("tcpstat_build_info", "version=\"1\",revision=\"1\"", 1);
        self.constant("tcpstat_tracer_up", "", i64::from(self.host.tracer));
        self.constant("tcpstat_snapshot_errors_total", "", 0);
        self.constant("tcpstat_snapshot_interval_seconds", "", 15);
        self.constant("tcpstat_time_wait_limit", "", TIME_WAIT_LIMIT);
        self.constant("tcpstat_ephemeral_ports", "", self.host.ephemeral_ports);
        if self.host.tracer {
            self.constant("tcpstat_consistent", "", 1);
            self.constant("tcpstat_drift_absolute_connections", "", 0);
        }
        let scrapes = (0..self.host.scrapes() as u64).map(|scrape| scrape * self.host.scrape);
        let last = |time: u64| Host::snapshot_at(time + 1).saturating_sub(15 * SECOND) / SECOND;
        let times: Vec<_> = scrapes.map(|time| i64::try_from(last(time)).unwrap_or(0)).collect();
        self.push("tcpstat_snapshot_timestamp_seconds", "source=\"iter\"", &times, 1);
    }

    /// The destination with the most sockets, at the last snapshot.
    fn destinations(&mut self) {
        let mut fullest = self.host.zeros();
        for changes in &self.host.destinations {
            for (fullest, sockets) in fullest.iter_mut().zip(sums(changes)) {
                *fullest = sockets.max(*fullest);
            }
        }
        self.push("tcpstat_ephemeral_ports_fullest_destination", "", &fullest, 1);
    }

    fn connections(&mut self, tally: &Tally) {
        for state in State::ALL {
            let [ipv4, ipv6] = &tally.states[state as usize];
            let both = added(ipv4, ipv6);
            let label = format!("state=\"{}\"", state.word());
            match tally.scope {
                Scope::Own => {
                    for (family, changes) in Family::ALL.into_iter().zip([ipv4, ipv6]) {
                        let labels = format!("family=\"{}\",{label}", family.word());
                        self.gauge("tcpstat_connections", &labels, changes);
                    }
                    self.gauge("node_tcp_connection_states", &label, &both);
                    if state == State::TimeWait {
                        self.gauge("tcpstat_sockstat_sockets", "kind=\"tw\"", &both);
                    }
                }
                Scope::Netns(name) => self.of_scope("netns", name, "connections", &label, &both),
                Scope::Cgroup(name) => self.of_scope("cgroup", name, "connections", &label, &both),
                Scope::Port(name) => self.of_scope("port", name, "connections", &label, &both),
            }
        }
    }

    fn of_scope(&mut self, kind: &str, name: &str, metric: &str, labels: &str, changes: &[i64]) {
        let labels = format!("{kind}=\"{name}\",{labels}");
        self.gauge(&format!("tcpstat_{kind}_{metric}"), &labels, changes);
    }

    /// Of the host's own namespace; no rule reads those of scopes.
    fn transitions(&mut self, tally: &Tally) {
        if tally.scope != Scope::Own {
            return;
        }
        for ((from, to), events) in TRANSITIONS.iter().zip(&tally.transitions) {
            for (family, events) in Family::ALL.into_iter().zip(events) {
                let (family, from, to) = (family.word(), from.word(), to.word());
                let labels = format!("family=\"{family}\",from=\"{from}\",to=\"{to}\"");
                let metric = "tcpstat_transitions_total";
                if TRANSITIONS_AT_ZERO.contains(&(from, to)) {
                    self.counter(metric, &labels, events);
                } else {
                    self.counter_from_first_event(metric, &labels, events);
                }
            }
        }
    }

    fn ages(&mut self, tally: &Tally) {
        let (prefix, label) = match tally.scope {
            Scope::Own => ("tcpstat_", String::new()),
            Scope::Netns(name) => ("tcpstat_netns_", format!("netns=\"{name}\"")),
            Scope::Cgroup(_) | Scope::Port(_) => return,
        };
        let separator = if label.is_empty() { "" } else { "," };
        for (word, age) in AGES {
            let changes = self.aged(tally, age);
            let labels = format!("{label}{separator}older_than=\"{word}\"");
            self.gauge(&format!("{prefix}close_wait_aged_connections"), &labels, &changes);
        }
        let oldest = self.oldest(tally);
        self.push(&format!("{prefix}close_wait_oldest_seconds"), &label, &oldest, 1);
    }

    /// Since when a socket's age counts, in a life of tcpstat.
    fn age_begins(span: Span, keepalive: bool, life: Span) -> u64 {
        if keepalive { Host::snapshot_at(span.from.max(life.from)) } else { span.from }
    }

    /// Changes of the number of sockets that are older than `age`.
    fn aged(&self, tally: &Tally, age: u64) -> Vec<i64> {
        let mut changes = self.host.zeros();
        for &(span, keepalive) in &tally.close_waits {
            for life in &self.lives {
                let begins = Self::age_begins(span, keepalive, *life);
                let from = Host::snapshot_at((begins + age + 1).max(life.from));
                let to = Host::snapshot_at(span.to.min(self.host.duration)).min(life.to);
                if from < to {
                    changes[self.host.scrape_at(from)] += 1;
                    changes[self.host.scrape_at(to)] -= 1;
                }
            }
        }
        changes
    }

    fn oldest(&self, tally: &Tally) -> Vec<i64> {
        let mut sorted = tally.close_waits.clone();
        sorted.sort_by_key(|(span, _)| span.from);
        let mut oldest = self.host.zeros();
        for life in &self.lives {
            let mut left = sorted.iter().peekable();
            let scrapes = self.host.scrape_at(life.from)..self.host.scrape_at(life.to);
            let mut time = scrapes.start as u64 * self.host.scrape;
            for oldest in &mut oldest[scrapes] {
                let snapshot = Host::snapshot_at(time + 1).saturating_sub(15 * SECOND);
                while left.next_if(|(span, _)| span.to <= snapshot).is_some() {}
                if let Some(&&(span, keepalive)) = left.peek() {
                    let begins = Self::age_begins(span, keepalive, *life);
                    let age = snapshot.saturating_sub(begins) / SECOND;
                    *oldest = i64::try_from(age).unwrap_or(i64::MAX);
                }
                time += self.host.scrape;
            }
        }
        oldest
    }

    fn causes(&mut self) {
        for family in Family::ALL {
            let word = family.word();
            for (cause, events) in CONNECT_CAUSES.iter().zip(&self.host.failures[family as usize]) {
                let labels = format!("family=\"{word}\",from=\"syn_sent\",cause=\"{cause}\"");
                if matches!(*cause, "none" | "destroyed") {
                    self.counter_from_first_event("tcpstat_closed_total", &labels, events);
                } else {
                    self.counter("tcpstat_closed_total", &labels, events);
                }
            }
            let labels = format!("family=\"{word}\",outcome=\"failed\"");
            let events = &self.host.retried[family as usize];
            self.counter("tcpstat_connects_retried_total", &labels, events);
        }
    }

    fn listeners(&mut self) {
        for listener in &self.host.listeners {
            let labels = format!("address=\"0.0.0.0\",port=\"{}\"", listener.port);
            let lengths = sums(&listener.length);
            let full = listener.limit + 1;
            let ratios: Vec<_> = lengths.iter().map(|length| length * 10_000 / full).collect();
            self.push("tcpstat_listener_accept_queue_length", &labels, &lengths, 1);
            self.constant("tcpstat_listener_accept_queue_limit", &labels, listener.limit);
            let metric = "tcpstat_listener_accept_queue_fullest_ratio";
            self.push(metric, &labels, &ratios, 10_000);
            self.counter("tcpstat_listener_drops_total", &labels, &listener.drops);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::host::{Life, NEVER};
    use super::super::socket::HOST;
    use super::super::time::span;
    use super::*;

    #[test]
    fn a_counter_that_no_rule_names_is_there_from_its_first_event_until_tcpstat_ends() {
        let host = host(false);
        let mut exporter = Exporter { host: &host, series: Vec::new(), lives: lives(&host) };
        let mut events = host.zeros();
        exporter.counter_from_first_event("never", "", &events);
        assert!(exporter.series.is_empty());
        let (first, second) = (host.scrape_at(10 * MINUTE), host.scrape_at(30 * MINUTE));
        (events[first], events[second]) = (1, 1);
        exporter.counter_from_first_event("seen", "", &events);
        let samples = &exporter.series[0].samples;
        assert_eq!(samples[first - 1..=first], [Sample::Missing, Sample::Value(1)]);
        let (down, up) = (host.scrape_at(20 * MINUTE), host.scrape_at(21 * MINUTE));
        assert_eq!(samples[down], Sample::Stale);
        assert!(samples[up..second].iter().all(|sample| *sample == Sample::Missing));
        assert_eq!(samples[second], Sample::Value(1));
    }

    /// A host with a socket in CLOSE_WAIT from the first minute on, and with a restart of tcpstat.
    fn host(keepalive: bool) -> Host {
        let mut host = Host::new(HOUR, 15 * SECOND, true);
        host.restarts.push(span(20 * MINUTE, 21 * MINUTE));
        let steps = [(0, State::SynRecv), (0, State::Established), (MINUTE, State::CloseWait)];
        let (place, family) = (HOST, Family::Ipv4);
        let (destination, end) = (None, NEVER);
        host.live(&Life { place, family, keepalive, destination, steps: &steps, end });
        host
    }

    /// The sample of the series at a minute.
    fn sample(all: &[Series], name: &str, minute: usize) -> Sample {
        let is_it = |series: &&Series| {
            series.name.starts_with(name.split('{').next().unwrap_or(name))
                && name.split('{').skip(1).all(|labels| series.name.contains(labels))
        };
        all.iter().find(is_it).expect("a series").samples[4 * minute]
    }

    #[test]
    fn gauges_ages_and_counters_are_those_of_the_same_socket() {
        let all = export(&host(false));
        let at = |name, minute| sample(&all, name, minute);
        let aged = "tcpstat_close_wait_aged_connections{older_than=\"5m\"";
        let entered =
            "tcpstat_transitions_total{family=\"ipv4\",from=\"established\",to=\"close_wait\"";
        let gauge = "tcpstat_connections{family=\"ipv4\",state=\"close_wait\"";
        assert_eq!([0, 1].map(|minute| at(gauge, minute)), [Sample::Value(0), Sample::Value(1)]);
        assert_eq!([6, 7].map(|minute| at(aged, minute)), [Sample::Value(0), Sample::Value(1)]);
        assert_eq!(at("tcpstat_close_wait_oldest_seconds", 10), Sample::Value(9 * 60 - 8));
        // After a restart the counters begin again; the silence of a socket is its age at once.
        assert_eq!([19, 22].map(|minute| at(entered, minute)), [Sample::Value(1), Sample::Missing]);
        assert_eq!(at(entered, 20), Sample::Stale);
        assert_eq!(at("up", 20), Sample::Value(0));
        assert_eq!(at(aged, 22), Sample::Value(1));
    }

    #[test]
    fn with_keepalive_ages_begin_again_with_a_restart() {
        let all = export(&host(true));
        let aged = "tcpstat_close_wait_aged_connections{older_than=\"5m\"";
        let minutes = [10, 22, 25, 27];
        let expected = [1, 0, 0, 1].map(Sample::Value);
        assert_eq!(minutes.map(|minute| sample(&all, aged, minute)), expected);
    }
}
