//! The text of one exporter, taken apart: what every host writes alike, and the values that differ.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use anyhow::{Context, Result, ensure};

use super::host::Host;
use super::profile::LEAKING_SCOPE;
use crate::exposition::{Sample, Scrape};

/// An exposition in the classic format, of which each host has a version of its own.
#[derive(Clone, Debug)]
pub struct Template {
    lines: Vec<Line>,
    series: usize,
}

#[derive(Clone, Debug)]
enum Line {
    /// Written as it is: descriptions, and samples that are the same at any time on all hosts.
    Text(String),
    Number(Number),
    /// A sample that describes the host in its labels.
    Info(Sample),
}

#[derive(Clone, Debug)]
struct Number {
    /// Name and labels, with the space behind them.
    series: String,
    value: f64,
    kind: Kind,
    /// Differs from series to series, and is the same on all hosts.
    seed: u64,
}

/// How a value moves.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// A number of things, which goes up and down.
    Gauge,
    /// What was counted since the start of the exporter.
    Counter,
    /// The time of that start.
    Start,
    /// The time of what has just happened.
    Now,
    /// Sockets in CLOSE_WAIT, with those that leaked more than so many seconds ago.
    InCloseWait(f64),
    /// Transitions into CLOSE_WAIT, with those of the leak.
    IntoCloseWait,
    /// The age of the oldest socket that leaked.
    Oldest,
}

/// The samples that describe the host.
const INFOS: [&str; 2] = ["tcpstat_build_info", "tcpstat_tracer_info"];

/// Parts of the names of gauges that are the same on all hosts.
const FIXED: [&str; 4] = ["limit", "interval", "max_fds", "ephemeral_ports"];

impl Template {
    /// Takes apart what an exporter has answered.
    ///
    /// # Errors
    /// Fails with the line that is no sample.
    pub fn parse(text: &str) -> Result<Self> {
        let has_scopes = text.contains("{netns=\"");
        let (mut lines, mut series, mut is_counter) = (Vec::new(), 0, false);
        for line in text.lines() {
            if let Some(description) = line.strip_prefix("# TYPE ") {
                is_counter = !description.ends_with(" gauge");
            }
            lines.push(if line.starts_with('#') || line.is_empty() {
                Line::Text(format!("{line}\n"))
            } else {
                series += 1;
                sample(line, is_counter, has_scopes)?
            });
        }
        ensure!(series > 0, "there is no sample");
        Ok(Self { lines, series })
    }

    /// The number of its series.
    #[must_use]
    pub fn series(&self) -> usize {
        self.series
    }

    /// Appends what `host` answers.
    pub fn write(&self, host: &Host, text: &mut String) {
        for line in &self.lines {
            match line {
                Line::Text(line) => text.push_str(line),
                Line::Info(sample) => write_info(sample, host, text),
                Line::Number(number) => {
                    text.push_str(&number.series);
                    text.push_str(&number.at(host).to_string());
                    text.push('\n');
                }
            }
        }
    }
}

impl Number {
    fn at(&self, host: &Host) -> f64 {
        let gauge = || self.whole(self.value * host.level(self.seed));
        let counter = || self.whole(self.value * host.counted(self.seed));
        match self.kind {
            Kind::Gauge => gauge(),
            Kind::Counter => counter(),
            Kind::Start => host.started(),
            Kind::Now => host.read_at(),
            Kind::InCloseWait(age) => gauge() + host.leaked(age),
            Kind::IntoCloseWait => counter() + host.leaked_since_start(),
            Kind::Oldest => gauge().max(host.leaking()),
        }
    }

    /// A number of things stays one.
    fn whole(&self, value: f64) -> f64 {
        if self.value.fract() == 0.0 { value.round() } else { value }
    }
}

fn write_info(sample: &Sample, host: &Host, text: &mut String) {
    text.push_str(&sample.name);
    let mut before = "{";
    for (name, value) in &sample.labels {
        let value = match name.as_str() {
            "version" => host.version(),
            "kernel" => host.kernel(),
            "program" if !host.is_blind() => host.program(),
            _ => value,
        };
        text.extend([before, name, "=\"", value, "\""]);
        before = ",";
    }
    text.push_str("} 1\n");
}

fn sample(line: &str, is_counter: bool, has_scopes: bool) -> Result<Line> {
    let scrape = Scrape::parse(line).with_context(|| format!("no sample: {line}"))?;
    let sample = scrape.samples.into_iter().next().context("no sample")?;
    if INFOS.contains(&sample.name.as_str()) {
        return Ok(Line::Info(sample));
    }
    let kind = leaking(&sample, has_scopes).unwrap_or(match sample.name.as_str() {
        "process_start_time_seconds" => Kind::Start,
        name if name.ends_with("_timestamp_seconds") => Kind::Now,
        _ if is_counter => Kind::Counter,
        _ => Kind::Gauge,
    });
    let value = sample.value;
    // What is 0 or 1 says yes or no, or never happens, and what is no number has no level.
    let is_fixed = match kind {
        Kind::Gauge => {
            value == 0.0
                || sample.count() == Some(1)
                || FIXED.iter().any(|part| sample.name.contains(part))
        }
        Kind::Counter => value == 0.0,
        _ => false,
    };
    if is_fixed || !value.is_finite() {
        return Ok(Line::Text(format!("{line}\n")));
    }
    let (series, _) = line.rsplit_once(' ').context("no value")?;
    Ok(Line::Number(Number { series: format!("{series} "), value, kind, seed: seed(&sample) }))
}

/// How a leak moves a sample, if it does: in one scope, or without scopes on the host.
fn leaking(sample: &Sample, has_scopes: bool) -> Option<Kind> {
    let label = |name: &str| sample.labels.get(name).map(String::as_str);
    if label("netns") != has_scopes.then_some(LEAKING_SCOPE) || label("family") == Some("ipv6") {
        return None;
    }
    let name = sample.name.strip_prefix("tcpstat_").unwrap_or(&sample.name);
    match name.strip_prefix("netns_").unwrap_or(name) {
        "connections"
        | "connections_peak"
        | "snapshot_connections"
        | "node_tcp_connection_states"
            if label("state") == Some("close_wait") =>
        {
            Some(Kind::InCloseWait(0.0))
        }
        "close_wait_aged_connections" => {
            let ages = [("1m", 60.0), ("5m", 300.0), ("1h", 3600.0)];
            let (_, age) = ages.into_iter().find(|(name, _)| label("older_than") == Some(name))?;
            Some(Kind::InCloseWait(age))
        }
        "close_wait_oldest_seconds" => Some(Kind::Oldest),
        "transitions_total" if label("to") == Some("close_wait") => Some(Kind::IntoCloseWait),
        _ => None,
    }
}

/// The same for all buckets of a histogram.
fn seed(sample: &Sample) -> u64 {
    let suffixes = ["_bucket", "_sum", "_count"];
    let name = suffixes.iter().find_map(|suffix| sample.name.strip_suffix(suffix));
    let labels: Vec<_> = sample.labels.iter().filter(|(label, _)| *label != "le").collect();
    let name = name.unwrap_or(&sample.name);
    BuildHasherDefault::<DefaultHasher>::default().hash_one((name, labels))
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "the values compared are whole numbers, or copies")]
mod tests {
    use super::*;
    use crate::fleet::{Fleet, RollOut};

    const TEXT: &str = "# HELP tcpstat_connections TCP sockets.\n# TYPE tcpstat_connections gauge\n\
        tcpstat_connections{family=\"ipv4\",state=\"established\"} 40\n\
        tcpstat_connections{family=\"ipv4\",state=\"close_wait\"} 2\n\
        # TYPE tcpstat_tracer_up gauge\ntcpstat_tracer_up 1\n\
        # TYPE tcpstat_snapshot_timestamp_seconds gauge\ntcpstat_snapshot_timestamp_seconds 12.5\n\
        # TYPE tcpstat_tracer_info gauge\ntcpstat_tracer_info{program=\"tp_btf\"} 1\n\
        # TYPE tcpstat_transitions_total counter\n\
        tcpstat_transitions_total{family=\"ipv4\",from=\"close\",to=\"syn_sent\"} 600\n\
        # TYPE tcpstat_silence_seconds histogram\n\
        tcpstat_silence_seconds_sum 7.5\ntcpstat_silence_seconds_count 30\n\
        tcpstat_silence_seconds_bucket{le=\"1.0\"} 20\ntcpstat_silence_seconds_bucket{le=\"+Inf\"} 30\n\
        # TYPE tcpstat_build_info gauge\ntcpstat_build_info{revision=\"a\",version=\"0.1.0\"} 1\n";

    const SCOPES: &str = "# TYPE tcpstat_netns_connections gauge\n\
        tcpstat_netns_connections{netns=\"host\",state=\"close_wait\"} 0\n\
        tcpstat_netns_connections{netns=\"shop\",state=\"close_wait\"} 0\n\
        # TYPE tcpstat_connections gauge\ntcpstat_connections{family=\"ipv4\",state=\"close_wait\"} 0\n\
        # TYPE tcpstat_netns_close_wait_aged_connections gauge\n\
        tcpstat_netns_close_wait_aged_connections{netns=\"shop\",older_than=\"1m\"} 0\n";

    fn scrape(text: &str, fleet: &Fleet, host: u64, at: f64) -> Scrape {
        let mut answer = String::new();
        Template::parse(text).unwrap().write(&fleet.host(host, fleet.began + at), &mut answer);
        Scrape::parse(&answer).unwrap()
    }

    #[test]
    fn each_host_has_all_series_with_values_of_its_own() {
        assert_eq!(Template::parse(TEXT).unwrap().series(), 11);
        let fleet = Fleet::quiet(1000);
        let [one, other] = [1, 2].map(|host| scrape(TEXT, &fleet, host, 60.0));
        assert_ne!(one, other);
        let series = |scrape: &Scrape| {
            let samples = scrape.samples.iter();
            samples.map(|sample| (sample.name.clone(), sample.labels.clone())).collect::<Vec<_>>()
        };
        let with_version = TEXT.replace("0.1.0", Fleet::VERSIONS[0]);
        assert_eq!(series(&one), series(&Scrape::parse(&with_version).unwrap()));
        assert_eq!(series(&one), series(&other));
        assert_eq!(one.value("tcpstat_tracer_up", &[]).unwrap(), 1.0);
        assert_eq!(
            one.value("tcpstat_snapshot_timestamp_seconds", &[]).unwrap(),
            fleet.began + 60.0
        );
    }

    #[test]
    fn hosts_differ_in_their_programs() {
        let fleet = Fleet::quiet(1000);
        let with = |program: &str| {
            let found = |host: &u64| {
                let scrape = scrape(TEXT, &fleet, *host, 60.0);
                scrape.value("tcpstat_tracer_info", &[("program", program)]).is_ok()
            };
            (0..100).filter(found).count()
        };
        assert_eq!((with("tp_btf"), with("tracepoint")), (80, 20));
    }

    #[test]
    fn a_counter_never_falls_while_the_exporter_runs() {
        let fleet = Fleet::quiet(1000);
        let counted = |minute| {
            let scrape = scrape(TEXT, &fleet, 3, f64::from(minute) * 60.0);
            scrape.value("tcpstat_transitions_total", &[]).unwrap()
        };
        let samples: Vec<_> = (0..60).map(counted).collect();
        let falls = samples.windows(2).filter(|pair| pair[1] < pair[0]).count();
        assert!(falls <= 1, "more than one restart in an hour: {samples:?}");
        assert!(
            samples[59] > 0.0 && samples.windows(2).any(|pair| pair[1] > pair[0]),
            "{samples:?}"
        );
    }

    #[test]
    fn the_counter_of_a_leak_begins_again_at_a_restart_and_its_gauge_does_not() {
        const TEXT: &str = "# TYPE tcpstat_transitions_total counter\n\
            tcpstat_transitions_total{family=\"ipv4\",from=\"established\",to=\"close_wait\"} 0\n\
            # TYPE tcpstat_connections gauge\n\
            tcpstat_connections{family=\"ipv4\",state=\"close_wait\"} 0\n";
        let began = Fleet::quiet(10).began;
        let roll_out = RollOut { begins: began + 1_000.0, lasts: 0.0, leaking: 0 };
        let fleet = Fleet { leak_every: Some(10), roll_out: Some(roll_out), ..Fleet::quiet(10) };
        let fleet = Fleet { began, ..fleet };
        let [before, after] = [999.5, 1_010.5].map(|at| {
            let scrape = scrape(TEXT, &fleet, 5, at);
            ["tcpstat_transitions_total", "tcpstat_connections"]
                .map(|name| scrape.value(name, &[]).unwrap())
        });
        assert_eq!((before[1], after), (999.0, [10.0, 1_010.0]));
        assert!(before[0] > after[0], "{before:?}");
    }

    #[test]
    fn the_buckets_of_a_histogram_never_fall() {
        for host in 0..100 {
            let scrape = scrape(TEXT, &Fleet::quiet(1000), host, 60.0);
            let bucket =
                |le| scrape.value("tcpstat_silence_seconds_bucket", &[("le", le)]).unwrap();
            assert!(bucket("1.0") <= bucket("+Inf"), "{host}");
            assert_eq!(bucket("+Inf"), scrape.value("tcpstat_silence_seconds_count", &[]).unwrap());
        }
    }

    #[test]
    fn a_leak_is_in_one_scope() {
        let fleet = Fleet { leak_every: Some(10), ..Fleet::quiet(10) };
        let scrape = scrape(SCOPES, &fleet, 5, 100.5);
        let sockets =
            |netns| scrape.value("tcpstat_netns_connections", &[("netns", netns)]).unwrap();
        assert_eq!((sockets("host"), sockets(LEAKING_SCOPE)), (0.0, 100.0));
        assert_eq!(scrape.value("tcpstat_connections", &[]).unwrap(), 0.0);
        assert_eq!(scrape.value("tcpstat_netns_close_wait_aged_connections", &[]).unwrap(), 40.0);
    }

    #[test]
    fn without_scopes_a_leak_is_on_the_host() {
        let fleet = Fleet { leak_every: Some(10), ..Fleet::quiet(10) };
        let leaked = |host| {
            let labels = [("state", "close_wait")];
            scrape(TEXT, &fleet, host, 100.5).value("tcpstat_connections", &labels).unwrap()
        };
        assert!(leaked(5) >= 100.0, "{}", leaked(5));
        assert!(leaked(6) < 100.0, "{}", leaked(6));
    }

    #[test]
    fn what_is_no_sample_is_an_error_with_its_line() {
        let error = format!("{:#}", Template::parse("tcpstat_connections ten").unwrap_err());
        assert!(error.contains("tcpstat_connections ten"), "{error}");
        assert!(Template::parse("# TYPE x gauge\n").is_err());
    }
}
