//! Scrapes while nothing happens, and many at once while very much does.

use std::env;
use std::fs;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::loopback::Churn;
use tcpstat_tests::population::Population;
use tcpstat_tests::scraper::Scraper;
use tcpstat_tests::tcp::Family;

use crate::Effort;
use crate::samples::Samples;
use crate::sizes::get;

/// The sockets that are there while nothing happens.
pub(crate) const IDLE_SOCKETS: usize = 10_000;

/// Scrapers, and threads that connect and close, at once.
const SCRAPERS: usize = 40;
const THREADS: usize = 8;

/// Churn alone and churn with scrapers take turns.
const SLICES: u32 = 4;

pub(crate) fn measure(effort: Effort, samples: &mut Samples) -> Result<()> {
    let seconds = |long, short| Duration::from_secs(if effort.short { short } else { long });
    idle(seconds(30, 2), samples)?;
    eprintln!("scrapes under load ...");
    let exporter = Exporter::start(&[])?;
    for _ in 0..SLICES {
        busy(&exporter, seconds(60, 2) / SLICES, samples)?;
    }
    Ok(())
}

/// The share of one core that it takes, at a scrape a second.
fn idle(duration: Duration, samples: &mut Samples) -> Result<()> {
    eprintln!("idle ...");
    let populate = env::current_exe()?.with_file_name("populate");
    let _population = Population::hold(&populate, IDLE_SOCKETS)?;
    let mut exporter = Exporter::start(&["--snapshot-interval=15s"])?;
    let (started, before) = (Instant::now(), cpu_seconds(exporter.pid())?);
    while started.elapsed() < duration {
        get(exporter.scraper(), "/metrics")?;
        sleep(Duration::from_secs(1));
    }
    let spent = cpu_seconds(exporter.pid())? - before;
    samples.add("idle_cpu", IDLE_SOCKETS, spent / started.elapsed().as_secs_f64());
    Ok(())
}

/// Churn alone, then with scrapers.
fn busy(exporter: &Exporter, duration: Duration, samples: &mut Samples) -> Result<()> {
    samples.add("churn_alone", 0, connections_per_second(duration)?);
    let end = Instant::now() + duration;
    let scrapers: Vec<_> = (0..SCRAPERS)
        .map(|_| {
            let address = exporter.address();
            thread::spawn(move || -> Result<Vec<f64>> {
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
    samples.add("churn_scraped", 0, connections_per_second(duration)?);
    for scraper in scrapers {
        let Ok(all) = scraper.join() else { bail!("a scraper panicked") };
        for seconds in all.context("a scrape under load")? {
            samples.add("scrape_under_load", 0, seconds);
        }
    }
    Ok(())
}

fn connections_per_second(duration: Duration) -> Result<f64> {
    let churn =
        Churn { threads: THREADS, connections: usize::MAX, family: Family::Ipv4, resets: true };
    let started = Instant::now();
    let churned = churn.run_until(started + duration)?;
    Ok((churned.orderly + churned.reset) as f64 / started.elapsed().as_secs_f64())
}

/// User and system time of a process so far.
fn cpu_seconds(pid: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = text.rsplit_once(')').context("no stat")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    let ticks: u64 = ticks.sum::<Result<_, _>>()?;
    // USER_HZ is 100 on every architecture that BPF programs are compiled for.
    Ok(ticks as f64 / 100.0)
}
