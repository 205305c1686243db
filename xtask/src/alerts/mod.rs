//! `cargo xtask alerts`: how soon alerts report faults, and how long they are wrong on healthy days. Simulated hosts
//! with faults, and healthy ones, are scraped; promtool evaluates rules over the scrapes.

mod evaluate;
mod export;
mod host;
mod scenarios;
mod series;
mod shapes;
mod socket;
mod table;
mod time;
mod workload;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result, bail};
use fs_err as fs;

use self::evaluate::Fired;
use self::scenarios::{Expected, Scenario};
pub(crate) use self::shapes::write as write_shapes;
use self::socket::Place;
use self::time::MINUTE;
use crate::target::Workspace;
use crate::{files, tools};

/// The page with the table.
const PAGE: &str = "tcpstat-user/docs/alerts.md";
const RULES: &str = "tcpstat-user/assets/rules.yml";

/// What lines of the table are compared: the shipped rules, and those that others use.
const CRUDE: &str = include_str!("rules/crude.yml");
const PUBLIC: &str = include_str!("rules/public.yml");

/// What the rules report of one scenario: the shipped ones, the crude one, the public ones.
pub(crate) struct Outcome {
    scenario: Scenario,
    /// When the fault begins, and the time that its alert has for it starts.
    begins: u64,
    counts_from: u64,
    /// The labels of the alert about a leak.
    labels: Option<String>,
    fired: [Vec<Fired>; 3],
}

/// What of the corpus is evaluated.
#[derive(clap::Args, Debug, Default)]
pub(crate) struct Options {
    /// Write the tables into docs/alerts.md
    #[arg(long, conflicts_with_all = ["seed", "filter"])]
    write: bool,
    /// Other random numbers than those of the tables
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Write what the hosts export whose sockets the end-to-end tests make (TCPSTAT_SHAPES) to this folder, and evaluate
    /// nothing
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["write", "seed", "filter"])]
    shapes: Option<PathBuf>,
    /// Only scenarios whose name contains one of these
    #[arg(value_name = "FILTER")]
    filter: Vec<String>,
}

/// Evaluates all scenarios whose name contains one of `filter`, prints the table, and fails if a fault is not
/// reported in time, or anything else is. The page must have the tables.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let Options { write, seed, shapes, filter } = options;
    if let Some(folder) = shapes {
        return shapes::write(folder);
    }
    let promtool = promtool(workspace)?;
    let rules = fs::read_to_string(workspace.root().join(RULES))?;
    let folder = workspace.target().join("xtask/alerts");
    files::remove(&folder)?;
    let is_chosen = |scenario: &Scenario| {
        filter.is_empty() || filter.iter().any(|word| scenario.name.contains(word.as_str()))
    };
    let chosen: Vec<_> = scenarios::all().into_iter().filter(is_chosen).collect();
    let outcomes = in_parallel(chosen.len(), |at| {
        let scenario = chosen[at];
        let host = scenario.simulate(*seed);
        let folder = folder.join(at.to_string());
        let fired = |rules: &str, name| {
            let fired = evaluate::evaluate(&promtool, rules, &host, &folder.join(name));
            fired.with_context(|| format!("{}: rules {name}", scenario.name))
        };
        let mut shipped = fired(&rules, "shipped")?;
        // A host without a tracer has that alert all the time, as it should.
        shipped.retain(|fired| scenario.tracer || fired.name != "TcpstatTracerDown");
        let fired = [shipped, fired(CRUDE, "crude")?, fired(PUBLIC, "public")?];
        let (begins, counts_from) = match scenario.expected {
            Expected::Quiet => (0, 0),
            Expected::Alert { begins, .. } => {
                let mut leaked = host.leaked.clone();
                leaked.sort_unstable();
                let first = leaked.first().copied();
                (first.unwrap_or(begins), leaked.get(9).copied().unwrap_or(begins))
            }
        };
        let labels = host.leaks_in.map(Place::labels);
        Ok(Outcome { scenario, begins, counts_from, labels, fired })
    })?;
    let table = table::table(&outcomes);
    println!("{table}");
    let mut problems: Vec<_> = outcomes.iter().flat_map(problems).collect();
    if filter.is_empty() && *seed == 0 {
        let page = workspace.root().join(PAGE);
        let text = fs::read_to_string(&page)?;
        let updated = table::replaced(&text, &table).context(PAGE)?;
        if *write {
            fs::write(&page, updated)?;
        } else if updated != text {
            problems.push(format!("{PAGE} has another table: run `cargo xtask alerts --write`"));
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    bail!("{} problems:\n{}", problems.len(), problems.join("\n"))
}

/// Why the shipped rules do not do what they should.
fn problems(outcome: &Outcome) -> Vec<String> {
    let Outcome { scenario, counts_from, fired: [shipped, ..], .. } = outcome;
    let expected = match scenario.expected {
        Expected::Quiet => None,
        Expected::Alert { name, within, .. } => Some((name, within)),
    };
    let is_expected = |fired: &&Fired| expected.is_some_and(|(name, _)| fired.name == name);
    let others = shipped.iter().filter(|fired| !is_expected(fired));
    let mut problems: Vec<_> = others
        .map(|fired| {
            let (name, labels) = (&fired.name, &fired.labels);
            let (first, minutes) = (fired.first / MINUTE, fired.duration.div_ceil(MINUTE));
            format!(
                "{}: {name} {labels} fires for {minutes} min, first at minute {first}",
                scenario.name
            )
        })
        .collect();
    let Some((name, within)) = expected else { return problems };
    let first = shipped.iter().filter(is_expected).map(|fired| fired.first).min();
    let limit = counts_from + within;
    // One leak is one alert with one set of labels.
    if let Some(labels) = &outcome.labels {
        let others = shipped.iter().filter(is_expected).filter(|fired| fired.labels != *labels);
        problems.extend(others.map(|fired| {
            format!("{}: {name} has the labels '{}', not '{labels}'", scenario.name, fired.labels)
        }));
    }
    match first {
        None => problems.push(format!("{}: {name} does not fire", scenario.name)),
        Some(first) if first < outcome.begins => {
            problems.push(format!("{}: {name} fires before the fault", scenario.name));
        }
        Some(first) if first > limit => problems.push(format!(
            "{}: {name} fires {} s late",
            scenario.name,
            (first - limit) / 1000
        )),
        Some(_) => {}
    }
    problems
}

fn promtool(workspace: &Workspace) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("TCPSTAT_PROMTOOL") {
        return Ok(path.into());
    }
    let tools = tools::provide(workspace)?;
    let found = tools.variables.into_iter().find(|(name, _)| *name == "TCPSTAT_PROMTOOL");
    Ok(found.context("the tools have no promtool")?.1)
}

/// The results of `work` for 0 to `count` in that order, on all processors.
fn in_parallel<T: Send>(count: usize, work: impl Fn(usize) -> Result<T> + Sync) -> Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= count {
                        return;
                    }
                    let result = work(at);
                    results.lock().unwrap_or_else(PoisonError::into_inner).push((at, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}
