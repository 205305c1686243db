//! Scrapes of an idle host, and many at once under load.

use std::env;
use std::fs;
use std::net::Shutdown;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::loopback::{Churn, Pairs};
use tcpstat_tests::population::Population;
use tcpstat_tests::priority;
use tcpstat_tests::scraper::Scraper;
use tcpstat_tests::tcp::Family;

use crate::Effort;
use crate::samples::Samples;
use crate::sizes::get;

/// The sockets of the idle host.
pub(crate) const IDLE_SOCKETS: usize = 10_000;
/// Those of them that are in CLOSE_WAIT in the other case, and the name of its samples.
const HALF_CLOSED: usize = 1_000;
pub(crate) const IDLE_IN_CLOSE_WAIT: &str = "idle_cpu_close_wait";

/// Scrapers, and threads that connect and close, at once.
const SCRAPERS: usize = 40;
const THREADS: usize = 8;

/// The number of turns of each variant.
const SLICES: u32 = 4;

/// The share of one core, at a scrape each second.
pub(crate) fn idle(effort: Effort, samples: &mut Samples) -> Result<()> {
    eprintln!("idle ...");
    let duration = seconds(effort, 30, 2);
    let populate = env::current_exe()?.with_file_name("populate");
    for (name, half_closed) in [("idle_cpu", 0), (IDLE_IN_CLOSE_WAIT, HALF_CLOSED)] {
        // The other end of each of them is a socket too.
        let _population = Population::hold(&populate, IDLE_SOCKETS - 2 * half_closed)?;
        let pairs = Pairs::connect(half_closed, Family::Ipv4)?;
        for (client, _) in pairs.streams() {
            client.shutdown(Shutdown::Write)?;
        }
        let mut exporter = Exporter::start(&["--snapshot-interval=15s"])?;
        let (started, before) = (Instant::now(), cpu_seconds(exporter.pid())?);
        while started.elapsed() < duration {
            get(exporter.scraper(), "/metrics")?;
            sleep(Duration::from_secs(1));
        }
        let spent = cpu_seconds(exporter.pid())? - before;
        samples.add(name, IDLE_SOCKETS, spent / started.elapsed().as_secs_f64());
    }
    Ok(())
}

/// Churn beside an exporter without scrapes, then with scrapes, in turn: one exporter with the priority of its
/// systemd unit, and one without.
pub(crate) fn busy(effort: Effort, samples: &mut Samples) -> Result<()> {
    eprintln!("scrapes under load ...");
    let duration = seconds(effort, 60, 2) / SLICES;
    let unit_priority = priority::of_unit()?;
    for _ in 0..SLICES {
        for (nice, scrape, alone, churn) in [
            (unit_priority, "scrape_under_load", "churn_alone", "churn_scraped"),
            (
                0,
                "scrape_under_load_without_priority",
                "churn_alone_without_priority",
                "churn_scraped_without_priority",
            ),
        ] {
            // The exporter inherits it.
            priority::set(nice)?;
            let exporter = Exporter::start(&[])?;
            priority::set(0)?;
            samples.add(alone, 0, connections_per_second(duration)?);
            let churned = scraped(&exporter, duration, scrape, samples)?;
            samples.add(churn, 0, churned);
        }
    }
    Ok(())
}

fn seconds(effort: Effort, long: u64, short: u64) -> Duration {
    Duration::from_secs(if effort.short { short } else { long })
}

/// Churn with scrapers; returns its connections per second. The scrapers play other machines, so they do not wait for
/// a processor behind the churn.
fn scraped(
    exporter: &Exporter,
    duration: Duration,
    what: &'static str,
    samples: &mut Samples,
) -> Result<f64> {
    let end = Instant::now() + duration;
    let scrapers: Vec<_> = (0..SCRAPERS)
        .map(|_| {
            let address = exporter.address();
            thread::spawn(move || -> Result<Vec<f64>> {
                priority::set(priority::HIGHEST)?;
                let mut scraper = Scraper::connect(address)?;
                let mut all = Vec::new();
                while Instant::now() < end {
                    all.push(get(&mut scraper, "/metrics")?);
                    sleep(Duration::from_secs(1));
                }
                Ok(all)
            })
        })
        .collect();
    let churned = connections_per_second(duration)?;
    for scraper in scrapers {
        let Ok(all) = scraper.join() else { bail!("a scraper panicked") };
        for seconds in all.context("a scrape under load")? {
            samples.add(what, 0, seconds);
        }
    }
    Ok(churned)
}

fn connections_per_second(duration: Duration) -> Result<f64> {
    let churn =
        Churn { threads: THREADS, connections: usize::MAX, family: Family::Ipv4, resets: true };
    let started = Instant::now();
    let churned = churn.run_until(started + duration)?;
    Ok((churned.orderly + churned.reset) as f64 / started.elapsed().as_secs_f64())
}

/// User and system time of a process so far.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = text.rsplit_once(')').context("no stat")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    let ticks: u64 = ticks.sum::<Result<_, _>>()?;
    // USER_HZ is 100 on every architecture that BPF programs are compiled for.
    Ok(ticks as f64 / 100.0)
}
