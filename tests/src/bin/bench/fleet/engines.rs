//! What scrapes a fleet and keeps its samples: one server, or several that work together.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tcpstat_tests::exposition::Scrape;
use tcpstat_tests::fleet::{Profile, Served, Shard};
use tcpstat_tests::prometheus::Prometheus;
use tcpstat_tests::remote_write::{
    RECEIVER, agent, receiver, remote_write, victoria_metrics, vmalert,
};
use tcpstat_tests::scraper::Scraper;
use tcpstat_tests::server::Server;

/// The limit of the time that a snapshot of a database takes.
const SNAPSHOT: Duration = Duration::from_mins(10);

/// A way to set them up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    /// One Prometheus.
    One,
    /// An agent that sends to a Prometheus.
    RemoteWrite,
    /// An agent that sends to VictoriaMetrics, with vmalert for the rules.
    VictoriaMetrics,
    /// Two Prometheus servers, each with half of the hosts.
    Shards,
}

impl Engine {
    pub(crate) const ALL: [Self; 4] =
        [Self::One, Self::RemoteWrite, Self::VictoriaMetrics, Self::Shards];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::RemoteWrite => "remote-write",
            Self::VictoriaMetrics => "victoria-metrics",
            Self::Shards => "shards",
        }
    }
}

/// The servers of an engine.
pub(crate) struct Running {
    pub(crate) engine: Engine,
    /// Those that answer queries.
    pub(crate) databases: Vec<Prometheus>,
    /// The others, with what they are.
    others: Vec<(&'static str, Server)>,
}

impl Running {
    pub(crate) fn start(
        engine: Engine,
        served: &Served,
        profile: Profile,
        interval: Duration,
        rules: &str,
    ) -> Result<Self> {
        // Each port once, as all engines run side by side.
        let port = |number: u16| -> SocketAddr {
            let engine = Engine::ALL.into_iter().position(|one| one == engine).unwrap_or_default();
            let engine = u16::try_from(engine).unwrap_or_default();
            ([127, 0, 0, 1], 9100 + 10 * engine + number).into()
        };
        let config = |shard| {
            let (interval, job) = (interval.as_millis(), served.job(profile, shard));
            format!(
                "global: {{scrape_interval: {interval}ms, evaluation_interval: {interval}ms}}\n\
                 rule_files: [rules.yml]\nscrape_configs:\n{job}"
            )
        };
        let sender = |to: SocketAddr| -> Result<_> {
            // An agent evaluates no rules, and refuses a configuration that names some.
            let config = config(None).replace("rule_files: [rules.yml]\n", "");
            Ok(("agent", agent(port(1), &(config + &remote_write(to)))?))
        };
        let (databases, others) = match engine {
            Engine::One => {
                (vec![Prometheus::start_at(port(0), &RECEIVER, &config(None), rules)?], vec![])
            }
            Engine::Shards => {
                let shard = |number| {
                    let config = config(Some(Shard { number, of: 2 }));
                    let port = port(u16::try_from(number)?);
                    Prometheus::start_at(port, &RECEIVER, &config, rules)
                };
                (vec![shard(0)?, shard(1)?], vec![])
            }
            Engine::RemoteWrite => {
                (vec![receiver(port(0), rules, interval)?], vec![sender(port(0))?])
            }
            Engine::VictoriaMetrics => {
                let database = victoria_metrics(port(0))?;
                let rules = vmalert(port(2), port(0), rules, interval)?;
                (vec![database], vec![sender(port(0))?, ("vmalert", rules)])
            }
        };
        Ok(Self { engine, databases, others })
    }

    /// What its servers say of themselves, with what they are.
    pub(crate) fn own_metrics(&self) -> Result<Vec<(&'static str, Scrape)>> {
        let database =
            if self.engine == Engine::VictoriaMetrics { "VictoriaMetrics" } else { "Prometheus" };
        let databases = self.databases.iter().map(|one| (database, one.server()));
        let others = self.others.iter().map(|(role, server)| (*role, server));
        databases.chain(others).map(|(role, server)| Ok((role, own_metrics(server)?))).collect()
    }

    /// The answer to a query, summed over the databases.
    pub(crate) fn sum(&self, query: &str) -> Result<f64> {
        let answers = self.databases.iter().map(|database| database.query(query));
        let answers: Vec<_> = answers.collect::<Result<_>>()?;
        Ok(answers.iter().flatten().map(|series| series.value).sum())
    }

    /// The seconds of the last evaluation of each rule, of the first database; vmalert does not tell them.
    pub(crate) fn rules(&self) -> Result<Vec<(String, f64)>> {
        let Some(database) = self.databases.first() else { return Ok(Vec::new()) };
        if self.engine == Engine::VictoriaMetrics {
            return Ok(Vec::new());
        }
        let data = database.api("rules", &[])?;
        let groups = data["groups"].as_array().into_iter().flatten();
        let rules = groups.flat_map(|group| group["rules"].as_array().into_iter().flatten());
        let rules = rules.filter_map(|rule| {
            Some((rule["name"].as_str()?.to_owned(), rule["evaluationTime"].as_f64()?))
        });
        Ok(rules.collect())
    }

    /// The bytes on disk of all samples so far, as they are kept for long.
    pub(crate) fn stored_bytes(&self) -> Result<u64> {
        let mut bytes = 0;
        for database in &self.databases {
            let server = database.server();
            let folder = server.folder().join("data");
            if self.engine == Engine::VictoriaMetrics {
                let flushed = server.get("/internal/force_flush")?;
                ensure!(flushed.status == 200, "VictoriaMetrics does not flush: {flushed:?}");
                bytes += size(&folder)?;
            } else {
                let path = "/api/v1/admin/tsdb/snapshot";
                let mut scraper = Scraper::connect(server.address())?;
                scraper.set_patience(SNAPSHOT)?;
                let answer = scraper.request("POST", path, &[])?;
                ensure!(answer.status == 200, "Prometheus makes no snapshot: {answer:?}");
                bytes += size(&folder.join("snapshots"))?;
            }
        }
        Ok(bytes)
    }

    pub(crate) fn logs(&self) -> String {
        let databases = self.databases.iter().map(Prometheus::log);
        databases.chain(self.others.iter().map(|(_, server)| server.log())).collect()
    }
}

fn own_metrics(server: &Server) -> Result<Scrape> {
    // VictoriaMetrics puts a space between labels.
    Scrape::parse(&server.get("/metrics")?.body.replace("\", ", "\","))
}

/// The sum of the samples of that name.
pub(crate) fn total(scrape: &Scrape, name: &str) -> f64 {
    scrape.family(name).into_iter().map(|sample| sample.value).sum()
}

fn size(path: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(path).with_context(|| path.display().to_string())? {
        let entry = entry?;
        // A file may be merged into another one meanwhile.
        let Ok(metadata) = entry.metadata() else { continue };
        bytes += if metadata.is_dir() {
            size(&entry.path()).unwrap_or_default()
        } else {
            metadata.len()
        };
    }
    Ok(bytes)
}
