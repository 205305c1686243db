//! What the real exporter says, compared with what the corpus of the alerts exports of the same sockets.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, ensure};
use tcpstat_tests::binary::path_from;
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::exposition::{Sample, Scrape};
use tcpstat_tests::scopes::infos_of;

/// Frequent ones, from the source that shows cgroups.
const SNAPSHOTS: [&str; 2] = ["--snapshot=iter", "--snapshot-interval=100ms"];

/// The scopes of the corpus.
const UNIT: &str = "/shop.service";
pub(crate) const CONTAINER: &str = "shop/web-0";

/// Families of which each value is compared, as the difference since the exporter has started.
const COMPARED: [&str; 15] = [
    "tcpstat_connections",
    "tcpstat_transitions_total",
    "tcpstat_closed_total",
    "tcpstat_connects_retried_total",
    "tcpstat_close_wait_aged_connections",
    "tcpstat_sockstat_sockets",
    "tcpstat_port_connections",
    "tcpstat_cgroup_connections",
    "tcpstat_netns_connections",
    "tcpstat_netns_close_wait_aged_connections",
    "tcpstat_drift_absolute_connections",
    "tcpstat_listener_accept_queue_length",
    "tcpstat_listener_accept_queue_limit",
    "tcpstat_listener_accept_queue_fullest_ratio",
    "tcpstat_listener_drops_total",
];

/// As [`COMPARED`], with the values as they are.
const ABSOLUTE: [&str; 3] = ["tcpstat_tracer_up", "tcpstat_consistent", "tcpstat_ephemeral_ports"];

const FULLEST_DESTINATION: &str = "tcpstat_ephemeral_ports_fullest_destination";

/// Whether the corpus has this series if the exporter has it, and it is not 0. It has causes of failed connects only, and of
/// sockstat only what is in TIME_WAIT.
fn is_in_the_corpus(sample: &Sample) -> bool {
    let has = |name: &str, value| sample.labels.get(name).is_some_and(|is| is == value);
    match sample.name.as_str() {
        "tcpstat_closed_total" => has("from", "syn_sent"),
        "tcpstat_sockstat_sockets" => has("kind", "tw"),
        name => COMPARED.contains(&name),
    }
}

/// An exporter beside which the sockets of a simulated host are made.
pub(crate) struct Real {
    name: &'static str,
    rest: usize,
    pub(crate) exporter: Exporter,
    before: Scrape,
    scopes: Option<Scopes>,
}

/// The names of the corpus for a cgroup and for the network namespace with this inode.
pub(crate) struct Scopes {
    pub(crate) cgroup: String,
    pub(crate) inum: u64,
}

impl Scopes {
    /// Gives them the names of the corpus, and leaves out other network namespaces.
    fn rename(&self, scrape: &mut Scrape) -> Result<()> {
        let shown = infos_of(scrape, self.inum)?.pop();
        let netns = shown.and_then(|mut labels| labels.remove("netns"));
        scrape.samples.retain_mut(|sample| {
            if let Some(cgroup) = sample.labels.get_mut("cgroup")
                && *cgroup == self.cgroup
            {
                UNIT.clone_into(cgroup);
            }
            let Some(name) = sample.labels.get_mut("netns") else { return true };
            let is_own = netns.as_ref() == Some(name);
            CONTAINER.clone_into(name);
            is_own
        });
        Ok(())
    }
}

impl Real {
    pub(crate) fn start(name: &'static str, args: &[&str]) -> Result<Self> {
        let mut exporter = Exporter::start(&[&SNAPSHOTS[..], args].concat())?;
        let before = wait_until("the two ends of the connection for scrapes", DEADLINE, || {
            let scrape = exporter.scrape()?;
            let labels = [("family", "ipv4"), ("state", "established")];
            let ends = scrape.count("tcpstat_connections", &labels)?;
            Ok(if ends == 2 { Progress::Done(scrape) } else { Progress::NotYet(ends.to_string()) })
        })?;
        Ok(Self { name, rest: 0, exporter, before, scopes: None })
    }

    /// The names of these scopes are those of the corpus from now on.
    pub(crate) fn with_scopes(mut self, scopes: Scopes) -> Result<Self> {
        scopes.rename(&mut self.before)?;
        self.scopes = Some(scopes);
        Ok(self)
    }

    /// What the corpus exports at the next rest.
    pub(crate) fn expected(&self) -> Result<Scrape> {
        simulated(self.name, self.rest)
    }

    /// How many there must be at the next rest.
    pub(crate) fn number(&self, metric: &str, labels: &[(&str, &str)]) -> Result<u64> {
        let number = self.expected()?.count(metric, labels)?;
        ensure!(number > 0, "{}: the corpus has no {metric} {labels:?}", self.name);
        Ok(number)
    }

    pub(crate) fn sockets(&self, state: &str) -> Result<u64> {
        self.number("tcpstat_connections", &[("family", "ipv4"), ("state", state)])
    }

    /// Waits until a scrape agrees with the corpus.
    pub(crate) fn rest(&mut self) -> Result<Scrape> {
        let expected = self.expected()?;
        let what = format!("agreement with {}, rest {}", self.name, self.rest);
        self.rest += 1;
        wait_until(&what, DEADLINE, || {
            let mut scrape = self.exporter.scrape()?;
            if let Some(scopes) = &self.scopes {
                scopes.rename(&mut scrape)?;
            }
            let differences = differences(&expected, &self.before, &scrape);
            Ok(if differences.is_empty() {
                Progress::Done(scrape)
            } else {
                Progress::NotYet(differences.join("\n"))
            })
        })
    }
}

/// What the corpus exports of a host, at one of the times when its sockets are at rest.
pub(crate) fn simulated(name: &str, rest: usize) -> Result<Scrape> {
    let file = path_from("TCPSTAT_SHAPES")?.join(format!("{name}.{rest}.prom"));
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let mut scrape = Scrape::parse(&text)?;
    // Of Prometheus itself, and of another exporter.
    scrape.samples.retain(|sample| sample.name.starts_with("tcpstat_"));
    Ok(scrape)
}

type Key<'a> = (&'a str, &'a BTreeMap<String, String>);

fn by_series(scrape: &Scrape) -> BTreeMap<Key<'_>, f64> {
    let all = scrape.samples.iter();
    all.map(|sample| ((sample.name.as_str(), &sample.labels), sample.value)).collect()
}

fn differences(expected: &Scrape, before: &Scrape, after: &Scrape) -> Vec<String> {
    let mut differences = Vec::new();
    let (known, old, new) = (by_series(expected), by_series(before), by_series(after));
    for (key @ (name, labels), value) in &known {
        let keys = |labels: &BTreeMap<String, String>| labels.keys().cloned().collect::<Vec<_>>();
        let is_alike = |sample: &&Sample| keys(&sample.labels) == keys(labels);
        if !after.family(name).iter().any(is_alike) {
            differences.push(format!("{name} {labels:?}: no series with these labels"));
            continue;
        }
        let real = new.get(key).copied();
        let wanted = if *name == FULLEST_DESTINATION {
            // That of the scrapes is one too.
            value.max(1.0)
        } else if COMPARED.contains(name) {
            value + old.get(key).copied().unwrap_or_default()
        } else if ABSOLUTE.contains(name) {
            *value
        } else {
            continue;
        };
        // The corpus has four decimals.
        if real.is_none_or(|real| (real - wanted).abs() > 1e-3) {
            differences.push(format!("{name} {labels:?}: {real:?} instead of {wanted}"));
        }
    }
    for sample in after.samples.iter().filter(|sample| is_in_the_corpus(sample)) {
        let key = (sample.name.as_str(), &sample.labels);
        let changed = sample.value != old.get(&key).copied().unwrap_or_default();
        if changed && !known.contains_key(&key) {
            differences.push(format!("{sample:?}: not in the corpus"));
        }
    }
    differences
}
