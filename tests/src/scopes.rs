//! Network namespaces as the exporter shows them, compared with `/proc/PID/net` of a process inside each.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::deadline::{DEADLINE, Progress, poll, wait_until};
use crate::exporter::{Exporter, Options};
use crate::exposition::{Sample, Scrape};
use crate::netns::{Elsewhere, elsewhere};
use crate::proc_view::{Connections, connections_of};
use crate::resident::{Order, Resident};
use crate::tcp::State;

/// Sockets of one namespace by state, over both families; zero-filled.
pub type Counts = BTreeMap<State, u64>;

/// The labels of `tcpstat_netns_info`.
pub type Labels = BTreeMap<String, String>;

/// The name of the namespace of process 1.
pub const HOST: &str = "host";

/// The scope of the namespaces that found no room.
pub const OTHER: &str = "other";

/// Arguments for a snapshot of each namespace every two seconds, from the sources that the exporter chooses.
pub const FREQUENT: [&str; 1] = ["--snapshot-interval=100ms"];

/// An exporter in a network namespace of its own. To it, the namespace of the test is another one.
#[derive(Debug)]
pub struct Distant {
    /// The exporter.
    pub exporter: Exporter,
    _home: Elsewhere,
}

impl Distant {
    /// Starts an exporter with `--netns all` and `args`.
    ///
    /// # Errors
    /// As [`Options::start`].
    pub fn start(args: &[&str]) -> Result<Self> {
        Self::start_with(all_namespaces(args))
    }

    /// Starts one with these options.
    ///
    /// # Errors
    /// As [`Options::start`].
    pub fn start_with(options: Options) -> Result<Self> {
        let home = elsewhere(|_| Ok(()))?;
        let exporter = home.run(|| options.start())?;
        Ok(Self { exporter, _home: home })
    }
}

/// Options with `--netns all`, and these arguments.
#[must_use]
pub fn all_namespaces(args: &[&str]) -> Options {
    Options::default().args(["--netns=all"]).args(args)
}

/// The sum over both families.
#[must_use]
pub fn counts(connections: &Connections) -> Counts {
    let mut counts = none();
    for ((_, state), count) in connections {
        *counts.entry(*state).or_default() += count;
    }
    counts
}

/// The sockets of the namespace that a process is in.
///
/// # Errors
/// As [`connections_of`].
pub fn counts_of(pid: u32) -> Result<Counts> {
    Ok(counts(&connections_of(pid)?))
}

/// The labels of every namespace that is exported, except `other`.
///
/// # Errors
/// Fails if two have the same name, if one lacks its inode, and if a value is not 1.
pub fn infos(scrape: &Scrape) -> Result<Vec<Labels>> {
    let samples = scrape.family("tcpstat_netns_info");
    let mut names = BTreeSet::new();
    for sample in &samples {
        let name = sample.labels.get("netns").with_context(|| format!("no name: {sample:?}"))?;
        ensure!(names.insert(name), "two namespaces have the name {name}");
        ensure!(sample.count() == Some(1), "not 1: {sample:?}");
        inode(&sample.labels)?;
    }
    Ok(samples.into_iter().map(|sample| sample.labels.clone()).collect())
}

/// The label `inode`; 0 if it is empty: the number is not known.
///
/// # Errors
/// Fails if the label is missing, or is not a number above 0.
pub fn inode(labels: &Labels) -> Result<u64> {
    let inode = labels.get("inode").and_then(|inode| match inode.as_str() {
        "" => Some(0),
        number => number.parse().ok().filter(|&number| number != 0),
    });
    inode.with_context(|| format!("no inode: {labels:?}"))
}

/// The labels of the namespaces with this inode: one, or more where a namespace that has ended is still shown.
///
/// # Errors
/// As [`infos`].
pub fn infos_of(scrape: &Scrape, inum: u64) -> Result<Vec<Labels>> {
    let mut found = Vec::new();
    for labels in infos(scrape)? {
        if inode(&labels)? == inum {
            found.push(labels);
        }
    }
    Ok(found)
}

/// The gauges of the namespace of that name; `None` if it has none: it is not there, or not seeded.
///
/// # Errors
/// Fails if some of the states are missing, and if a value is not a count.
pub fn gauges(scrape: &Scrape, name: &str) -> Result<Option<Counts>> {
    let mut gauges = Counts::new();
    for sample in scrape.family("tcpstat_netns_connections") {
        if sample.labels.get("netns").is_some_and(|netns| netns == name) {
            let state = sample.labels.get("state").and_then(|word| State::from_word(word));
            let state = state.with_context(|| format!("no state: {sample:?}"))?;
            let count = sample.count().with_context(|| format!("not a count: {sample:?}"))?;
            gauges.insert(state, count);
        }
    }
    ensure!(gauges.is_empty() || gauges.len() == State::ALL.len(), "{name}: {gauges:?}");
    Ok((!gauges.is_empty()).then_some(gauges))
}

/// The transitions that are counted for the namespace of that name, without zeros.
///
/// # Errors
/// Fails if a state is unknown, and if a value is not a count.
pub fn transitions(scrape: &Scrape, name: &str) -> Result<BTreeMap<(State, State), u64>> {
    let mut counted = BTreeMap::new();
    for sample in scrape.family("tcpstat_netns_transitions_total") {
        if sample.labels.get("netns").is_some_and(|netns| netns == name) {
            let state = |label| sample.labels.get(label).and_then(|word| State::from_word(word));
            let key = state("from").zip(state("to"));
            let key = key.with_context(|| format!("not a transition: {sample:?}"))?;
            let count = sample.count().with_context(|| format!("not a count: {sample:?}"))?;
            if count > 0 {
                counted.insert(key, count);
            }
        }
    }
    Ok(counted)
}

/// What the families `tcpstat_netns_*` have of the namespace of that name, under the names and labels that the same
/// numbers of the exporter's own namespace have.
#[must_use]
pub fn numbers_of(scrape: &Scrape, name: &str) -> Scrape {
    let samples = scrape.samples.iter().filter_map(|sample| {
        let mut labels = sample.labels.clone();
        let netns = labels.remove("netns")?;
        let own_name = sample.name.strip_prefix("tcpstat_netns_")?;
        let name = (netns == name).then(|| format!("tcpstat_{own_name}"))?;
        Some(Sample { name, labels, value: sample.value })
    });
    Scrape { samples: samples.collect(), ..Scrape::default() }
}

/// Waits until one namespace with this inode is exported and `wanted` accepts its labels, and returns them.
///
/// # Errors
/// Fails with what is exported instead after [`DEADLINE`].
pub fn await_info(
    exporter: &mut Exporter,
    inum: u64,
    wanted: impl Fn(&Labels) -> bool,
) -> Result<Labels> {
    wait_until("namespace with these labels", DEADLINE, || {
        let found = infos_of(&exporter.scrape()?, inum)?;
        Ok(match &found[..] {
            [labels] if wanted(labels) => Progress::Done(labels.clone()),
            _ => Progress::NotYet(format!("{inum}: {found:#?}")),
        })
    })
}

/// Waits until exactly one namespace is exported with these gauges, by any name. Without a tracer, nothing but a
/// search finds it, and nothing but a snapshot shows a change.
///
/// # Errors
/// Fails with all gauges after four times [`DEADLINE`].
pub fn await_one_with(exporter: &mut Exporter, wanted: &Counts) -> Result<String> {
    poll("one namespace with these gauges", 4 * DEADLINE, Duration::from_millis(50), || {
        let scrape = exporter.scrape()?;
        let mut all = BTreeMap::new();
        for labels in infos(&scrape)? {
            let name = labels["netns"].clone();
            all.insert(name.clone(), gauges(&scrape, &name)?);
        }
        let found: Vec<_> =
            all.iter().filter(|(_, gauges)| gauges.as_ref() == Some(wanted)).collect();
        Ok(match found[..] {
            [(name, _)] => Progress::Done(name.clone()),
            _ => Progress::NotYet(format!("{wanted:?} in {all:#?}")),
        })
    })
}

/// Waits until the gauges of the namespace that the process is in equal `/proc`, and returns its name and them.
///
/// # Errors
/// Fails with the difference after [`DEADLINE`].
pub fn await_right(exporter: &mut Exporter, pid: u32) -> Result<(String, Counts)> {
    let file = format!("/proc/{pid}/ns/net");
    let inum = fs::metadata(&file).context(file)?.ino();
    wait_until("agreement with /proc", DEADLINE, || {
        let scrape = exporter.scrape()?;
        let found = infos_of(&scrape, inum)?;
        let [labels] = &found[..] else {
            return Ok(Progress::NotYet(format!("{inum}: {found:#?}")));
        };
        let name = labels["netns"].clone();
        let (exported, shown) = (gauges(&scrape, &name)?, counts_of(pid)?);
        Ok(match exported {
            Some(exported) if exported == shown => Progress::Done((name, shown)),
            exported => Progress::NotYet(format!("{name}: {}", difference(exported, &shown))),
        })
    })
}

/// Makes the exporter search for namespaces: waits until it has found one that is newer than whatever has
/// changed before. The newer one is there while the result is kept.
///
/// # Errors
/// As [`await_right`].
pub fn await_search(exporter: &mut Exporter) -> Result<Resident> {
    let mut newest = Resident::in_new_namespace()?;
    newest.order(&Order::Connect(1))?;
    await_right(exporter, newest.pid())?;
    Ok(newest)
}

/// Waits until no namespace of that name is exported, by any metric. The exporter need not search by itself.
///
/// # Errors
/// Fails with what is exported of it after [`DEADLINE`].
pub fn await_gone(exporter: &mut Exporter, name: &str) -> Result<()> {
    wait_until("end of a namespace's series", DEADLINE, || {
        let newest = await_search(exporter)?;
        if newest.inum()?.to_string() == name {
            // The kernel has given the number again, and one namespace with it is exported.
            return Ok(Progress::Done(()));
        }
        let scrape = exporter.scrape()?;
        let is_of_it = |labels: &Labels| labels.get("netns").is_some_and(|netns| netns == name);
        let left = scrape.samples.iter().filter(|sample| is_of_it(&sample.labels)).count();
        Ok(match left {
            0 => Progress::Done(()),
            _ => Progress::NotYet(format!("{name}: {left} series, {:?}", gauges(&scrape, name)?)),
        })
    })
}

/// The network namespaces of all processes and threads: the inode of each, and a process or thread in it.
///
/// # Errors
/// Fails if `/proc` cannot be read.
pub fn live_namespaces() -> Result<BTreeMap<u64, u32>> {
    let mut live = BTreeMap::new();
    let numbers = |folder: &str| -> Result<Vec<u32>> {
        let names = fs::read_dir(folder).context(folder.to_owned())?;
        let names = names.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names.filter_map(|name| name.parse().ok()).collect())
    };
    for pid in numbers("/proc")? {
        // It may have ended.
        for thread in numbers(&format!("/proc/{pid}/task")).unwrap_or_default() {
            if let Ok(file) = fs::metadata(format!("/proc/{pid}/task/{thread}/ns/net")) {
                live.entry(file.ino()).or_insert(thread);
            }
        }
    }
    Ok(live)
}

fn none() -> Counts {
    State::ALL.into_iter().map(|state| (state, 0)).collect()
}

fn difference(exported: Option<Counts>, shown: &Counts) -> String {
    let Some(exported) = exported else { return "it has no gauges".to_owned() };
    let differing = shown.iter().filter(|(state, count)| exported.get(state) != Some(count));
    let texts = differing.map(|(state, count)| {
        format!("{state}: exported {:?}, in /proc {count}", exported.get(state))
    });
    texts.collect::<Vec<_>>().join("; ")
}
