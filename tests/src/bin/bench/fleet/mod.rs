//! What fleets of 10, 100, … hosts cost those who scrape them, in three profiles of metrics. The hosts are simulated, from
//! what a real exporter answers; the servers are real.

mod engines;
mod figures;
mod queries;

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tcpstat_tests::binary::printed;
use tcpstat_tests::deadline::{Progress, poll};
use tcpstat_tests::exposition::Scrape;
use tcpstat_tests::fleet::{Fleet, Profile, Served};
use tcpstat_tests::server::REQUEST_INTERVAL;

use crate::Effort;
use crate::samples::Samples;
use engines::{Engine, Running, total};
use figures::{
    BYTES, CORES, Figures, GROUP, INTERVAL, MEMORY, PER_SERIES, QUERY, RULE, SAMPLES, SERIES,
};
use queries::Query;

/// How often each query is asked.
const RUNS: usize = 10;

/// The sizes, unless the command names one. Ten thousand hosts take gigabytes for each engine.
const SIZES: [u64; 3] = [10, 100, 1_000];

/// From that number of hosts on they are scraped once a minute.
const MANY: u64 = 1_000;

/// Scrapes of each host that are measured at least, after the first ones.
const INTERVALS: u64 = 4;

/// How long a fleet is measured at least if the command names the interval, in seconds: as long as one that is scraped once a
/// minute.
const SECONDS: u64 = 60 * INTERVALS;

/// Which fleets and servers; `None` is all.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Choice {
    pub(crate) hosts: Option<u64>,
    pub(crate) engine: Option<Engine>,
    pub(crate) profile: Option<Profile>,
    /// Between two scrapes of a host, in seconds; `None` depends on the number of hosts.
    pub(crate) interval: Option<NonZeroU64>,
}

impl Choice {
    pub(crate) fn choose_engine(&mut self, name: &str) -> Result<()> {
        let names = Engine::ALL.map(Engine::name).join(", ");
        let engine = Engine::ALL.into_iter().find(|engine| engine.name() == name);
        self.engine = Some(engine.with_context(|| format!("--engine {name}: there are {names}"))?);
        Ok(())
    }

    pub(crate) fn choose_profile(&mut self, name: &str) -> Result<()> {
        let names = Profile::ALL.map(Profile::name).join(", ");
        let found = Profile::ALL.into_iter().find(|profile| profile.name() == name);
        self.profile = Some(found.with_context(|| format!("--profile {name}: there are {names}"))?);
        Ok(())
    }
}

/// Writes a table, a plot, and the values to the folder; the values of earlier runs stay there.
pub(crate) fn measure(effort: Effort, samples: &mut Samples) -> Result<()> {
    let choice = effort.fleet;
    let engines = choice.engine.map_or(Engine::ALL.to_vec(), |engine| vec![engine]);
    let profiles = match choice.profile {
        Some(profile) => vec![profile],
        None if effort.short => vec![Profile::Standard],
        None => Profile::ALL.to_vec(),
    };
    let sizes = match choice.hosts {
        Some(hosts) => vec![hosts],
        None if effort.short => vec![SIZES[0]],
        None => SIZES.to_vec(),
    };
    let mut figures = Figures::read(samples.folder())?;
    for profile in profiles {
        let shape = profile.shape()?;
        let series = shape.counting.series();
        for &hosts in &sizes {
            eprintln!("fleet of {hosts} hosts, {}: {series} series each ...", profile.name());
            let served = Served::start(Fleet::usual(hosts), vec![(profile, shape.clone())])?;
            for (engine, values) in measure_fleet(effort, &served, profile, &engines)? {
                // Beside the figures of the usual interval, not in place of them.
                let name = match choice.interval {
                    Some(seconds) => format!("{}, each {seconds} s", profile.name()),
                    None => profile.name().to_owned(),
                };
                let case = (name, hosts, engine.name().to_owned());
                figures.put(case, values);
            }
            // An interruption does not lose what is measured.
            figures.write(samples.folder())?;
        }
    }
    println!("{}", figures.table());
    Ok(())
}

/// The values of each engine. They run side by side, and are asked one after the other.
fn measure_fleet(
    effort: Effort,
    served: &Served,
    profile: Profile,
    engines: &[Engine],
) -> Result<Vec<(Engine, BTreeMap<String, f64>)>> {
    let hosts = served.fleet().hosts;
    let (seconds, intervals) = match (effort.fleet.interval, hosts) {
        (Some(seconds), _) => (seconds.get(), INTERVALS.max(SECONDS / seconds)),
        (None, _) if effort.short => (1, INTERVALS),
        (None, hosts) if hosts < MANY => (5, INTERVALS),
        (None, _) => (60, INTERVALS),
    };
    let interval = Duration::from_secs(seconds);
    let rules = printed(&["rules"])?;
    let start = |engine: &Engine| {
        let running = Running::start(*engine, served, profile, interval, &rules);
        running.with_context(|| engine.name())
    };
    let running: Vec<_> = engines.iter().map(start).collect::<Result<_>>()?;
    for engine in &running {
        await_all_up(engine, hosts, interval)?;
    }
    let mut watched: Vec<_> = running.iter().map(Watch::start).collect::<Result<_>>()?;
    for _ in 0..intervals {
        sleep(interval);
        for watch in &mut watched {
            watch.look()?;
        }
    }
    let queries = queries::of_dashboards()?;
    let runs = if effort.short { 1 } else { RUNS };
    let mut results = Vec::new();
    for watch in watched {
        let engine = watch.running.engine;
        let mut values = watch.values().with_context(|| engine.name())?;
        values.insert(INTERVAL.to_owned(), interval.as_secs_f64());
        for query in &queries {
            let slow = slow(query, watch.running, runs).with_context(|| engine.name())?;
            let known = values.entry(format!("{QUERY}{}", query.name)).or_default();
            *known = known.max(slow);
        }
        results.push((engine, values));
    }
    Ok(results)
}

/// The time that 95 % of the runs do not exceed, on the first of the databases.
fn slow(query: &Query, running: &Running, runs: usize) -> Result<f64> {
    let database = running.databases.first().context("no database")?;
    let mut times = query.times(database, runs)?;
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() * 95 / 100])
}

fn await_all_up(running: &Running, hosts: u64, interval: Duration) -> Result<()> {
    let (name, deadline) = (running.engine.name(), interval * 3 + Duration::from_secs(30));
    let up = poll("answer of all hosts", deadline, REQUEST_INTERVAL, || {
        // Some vector, before the first scrape.
        let up = running.sum("sum(up{job=\"tcpstat\"}) or vector(0)")?;
        let is_all = (up - hosts as f64).abs() < 0.5;
        Ok(if is_all { Progress::Done(()) } else { Progress::NotYet(format!("{up} of {hosts}")) })
    });
    up.with_context(|| format!("{name}: {}", running.logs()))
}

/// Servers under watch.
struct Watch<'a> {
    running: &'a Running,
    since: Instant,
    first: Vec<(&'static str, Scrape)>,
    last: Vec<(&'static str, Scrape)>,
    until: Instant,
    /// The most of each server.
    memory: Vec<f64>,
}

impl<'a> Watch<'a> {
    fn start(running: &'a Running) -> Result<Self> {
        let first = running.own_metrics()?;
        let memory = vec![0.0; first.len()];
        let now = Instant::now();
        Ok(Self { running, since: now, last: first.clone(), first, until: now, memory })
    }

    fn look(&mut self) -> Result<()> {
        self.last = self.running.own_metrics()?;
        self.until = Instant::now();
        for (most, (_, scrape)) in self.memory.iter_mut().zip(&self.last) {
            *most = most.max(total(scrape, "process_resident_memory_bytes"));
        }
        Ok(())
    }

    fn values(&self) -> Result<BTreeMap<String, f64>> {
        let seconds = (self.until - self.since).as_secs_f64();
        let mut values = BTreeMap::new();
        let mut most = |name: String, value: f64| {
            let known = values.entry(name).or_insert(value);
            *known = known.max(value);
        };
        let mut sums = [0.0; 3];
        for (((role, last), (_, first)), memory) in
            self.last.iter().zip(&self.first).zip(&self.memory)
        {
            let grown = |name: &str| total(last, name) - total(first, name);
            most(format!("{MEMORY}{role}"), *memory);
            most(format!("{CORES}{role}"), grown("process_cpu_seconds_total") / seconds);
            for (name, value) in groups(last) {
                most(format!("{GROUP}{name}"), value);
            }
            let (series, stored) = match *role {
                "Prometheus" => {
                    ("prometheus_tsdb_head_series", "prometheus_tsdb_head_samples_appended_total")
                }
                "VictoriaMetrics" => ("vm_new_timeseries_created_total", "vm_rows_inserted_total"),
                _ => continue,
            };
            let values = [total(last, series), grown(stored) / seconds, total(last, stored)];
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += value;
            }
        }
        if !values.keys().any(|name| name.starts_with(GROUP)) {
            bail!("no group of rules was evaluated: {}", self.running.logs());
        }
        for (name, seconds) in self.running.rules()? {
            values.insert(format!("{RULE}{name}"), seconds);
        }
        let [series, rate, stored] = sums;
        ensure!(series > 0.0 && stored > 0.0, "nothing is stored: {}", self.running.logs());
        let bytes = self.running.stored_bytes()? as f64;
        values.insert(SERIES.to_owned(), series);
        values.insert(SAMPLES.to_owned(), rate);
        values.insert(BYTES.to_owned(), bytes / stored);
        values.insert(PER_SERIES.to_owned(), stored / series);
        Ok(values)
    }
}

/// Seconds of each group of rules: of the last evaluation, or the slowest one of vmalert.
fn groups(scrape: &Scrape) -> Vec<(String, f64)> {
    let last = scrape.family("prometheus_rule_group_last_duration_seconds").into_iter();
    let last = last.filter_map(|sample| {
        let group = sample.labels.get("rule_group")?;
        Some((group.rsplit(';').next()?.to_owned(), sample.value))
    });
    let slowest = scrape.family("vmalert_iteration_duration_seconds").into_iter();
    let slowest =
        slowest.filter(|sample| sample.labels.get("quantile").is_some_and(|at| at == "1"));
    let slowest =
        slowest.filter_map(|sample| Some((sample.labels.get("group")?.clone(), sample.value)));
    last.chain(slowest).collect()
}
