//! The cgroups and the local ports of the exporter's namespace, as `--cgroups` and `--ports` show them.

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};

use anyhow::{Context, Result, ensure};

use crate::deadline::{DEADLINE, Progress, wait_until};
use crate::exporter::Exporter;
use crate::exposition::Scrape;

/// Sockets by the name of the scope and by the word of the state; without zeros.
pub type Counts = BTreeMap<(String, String), u64>;

/// The sockets of all scopes of a kind: `cgroup`, `port` or `netns`.
///
/// # Errors
/// Fails if a label is missing, and if a value is not a count.
pub fn counts(scrape: &Scrape, kind: &str) -> Result<Counts> {
    let mut counts = Counts::new();
    for sample in scrape.family(&format!("tcpstat_{kind}_connections")) {
        let label = |name: &str| sample.labels.get(name).cloned().context("a label is missing");
        let count = sample.count().context("no count")?;
        if count != 0 {
            counts.insert((label(kind)?, label("state")?), count);
        }
    }
    Ok(counts)
}

/// Checks that the sum over a kind equals the total of the exporter's namespace, in every state.
///
/// # Errors
/// Fails with both if they differ.
pub fn check_sum(scrape: &Scrape, kind: &str) -> Result<()> {
    let mut by_state: BTreeMap<String, u64> = BTreeMap::new();
    for ((_, state), count) in counts(scrape, kind)? {
        *by_state.entry(state).or_default() += count;
    }
    let mut total: BTreeMap<String, u64> = BTreeMap::new();
    for ((_, state), count) in scrape.connections()? {
        if count != 0 {
            *total.entry(state.to_string()).or_default() += count;
        }
    }
    ensure!(by_state == total, "{kind}: {by_state:?}, and the total is {total:?}");
    Ok(())
}

/// Scrapes until the sockets of one scope are these. The sums must be right in every scrape.
///
/// # Errors
/// Fails with all scopes of the kind after [`DEADLINE`].
pub fn await_scope(
    exporter: &mut Exporter,
    kind: &str,
    scope: &str,
    expected: &[(&str, u64)],
) -> Result<Scrape> {
    let expected: BTreeMap<_, _> =
        expected.iter().map(|&(state, count)| (state.to_owned(), count)).collect();
    wait_until(&format!("{expected:?} in {scope}"), DEADLINE, || {
        let scrape = exporter.scrape()?;
        check_sum(&scrape, kind)?;
        let all = counts(&scrape, kind)?;
        let of_scope: BTreeMap<_, _> = all
            .iter()
            .filter(|((name, _), _)| name == scope)
            .map(|((_, state), &count)| (state.clone(), count))
            .collect();
        if of_scope == expected {
            Ok(Progress::Done(scrape))
        } else {
            Ok(Progress::NotYet(format!("{all:?}; {}", exporter.log())))
        }
    })
}

/// What all sockets of a scope add up to.
#[must_use]
pub fn sum_of(counts: &Counts, scope: &str) -> u64 {
    counts.iter().filter(|((name, _), _)| name == scope).map(|(_, count)| count).sum()
}

/// A listener on that port of 127.0.0.1, and so many connections to it, as (client, accepted).
///
/// # Errors
/// Fails if the port is taken.
pub fn connections(port: u16, count: usize) -> Result<(TcpListener, Vec<(TcpStream, TcpStream)>)> {
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    let mut pairs = Vec::new();
    for _ in 0..count {
        let client = TcpStream::connect(listener.local_addr()?)?;
        pairs.push((client, listener.accept()?.0));
    }
    Ok((listener, pairs))
}
