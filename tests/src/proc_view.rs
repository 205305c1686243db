//! The sockets in `/proc/thread-self/net`, with which the tests compare the exporter.
//!
//! Simple rather than fast, and independent of the product's own parser.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::deadline::{Progress, wait_until};
use crate::tcp::{Family, State};

/// The namespace of the calling thread.
const OWN: &str = "/proc/thread-self/net";

/// Number of sockets per family and state; what [`connections`] returns has all 22 of them.
pub type Connections = BTreeMap<(Family, State), u64>;

/// One row of `/proc/net/tcp` or `tcp6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The family of its file.
    pub family: Family,
    /// Local port.
    pub local_port: u16,
    /// Remote port, 0 for a listener.
    pub remote_port: u16,
    /// Field `st`.
    pub state: State,
    /// Field `tx_queue`.
    pub send_queue: u64,
    /// Field `rx_queue`; of a listener it is the length of the accept queue.
    pub receive_queue: u64,
    /// Whether it is a full socket: timewait and request mini-sockets have 12 fields instead of 17.
    pub full: bool,
}

/// Bytes in the queues of all sockets of a family, without listeners.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queues {
    /// Received and not yet read.
    pub receive: u64,
    /// Written and not yet acknowledged.
    pub send: u64,
}

/// The numbers of `/proc/net/sockstat` and `sockstat6` that belong to the namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sockstat {
    /// Hashed full sockets, listeners included.
    pub inuse: BTreeMap<Family, u64>,
    /// Timewait mini-sockets of both families, those in `FIN_WAIT2` included.
    pub tw: u64,
}

/// The sockets at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// See [`connections`].
    pub connections: Connections,
    /// See [`queues`].
    pub queues: BTreeMap<Family, Queues>,
    /// See [`sockstat`].
    pub sockstat: Sockstat,
}

/// 22 zeroes.
#[must_use]
pub fn no_connections() -> Connections {
    Family::ALL
        .into_iter()
        .flat_map(|family| State::ALL.map(|state| ((family, state), 0)))
        .collect()
}

/// Every row of both files, in the kernel's order. A missing `tcp6` has no rows.
///
/// # Errors
/// Fails if a row is invalid.
pub fn rows() -> Result<Vec<Row>> {
    rows_in(OWN)
}

/// Sockets per family and state, zero-filled, of the namespace that the process is in.
///
/// # Errors
/// As [`rows`], and if the process has ended.
pub fn connections_of(pid: u32) -> Result<Connections> {
    Ok(count(&rows_in(&format!("/proc/{pid}/net"))?))
}

/// Sockets per family and state, zero-filled.
///
/// # Errors
/// As [`rows`].
pub fn connections() -> Result<Connections> {
    Ok(count(&rows()?))
}

/// Queue sums per family, without listeners.
///
/// # Errors
/// As [`rows`].
pub fn queues() -> Result<BTreeMap<Family, Queues>> {
    Ok(sum_queues(&rows()?))
}

/// The numbers of `/proc/net/sockstat` and `sockstat6`.
///
/// # Errors
/// Fails if `sockstat` lacks `TCP: inuse` or `tw`.
pub fn sockstat() -> Result<Sockstat> {
    let sockstat = read(OWN, "sockstat")?;
    let sockstat6 = read(OWN, "sockstat6")?;
    let inuse6 =
        if sockstat6.is_empty() { 0 } else { sockstat_number(&sockstat6, "TCP6:", "inuse")? };
    Ok(Sockstat {
        inuse: BTreeMap::from([
            (Family::Ipv4, sockstat_number(&sockstat, "TCP:", "inuse")?),
            (Family::Ipv6, inuse6),
        ]),
        tw: sockstat_number(&sockstat, "TCP:", "tw")?,
    })
}

/// Reads all of it.
///
/// # Errors
/// As [`rows`] and [`sockstat`].
pub fn view() -> Result<View> {
    let rows = rows()?;
    Ok(View { connections: count(&rows), queues: sum_queues(&rows), sockstat: sockstat()? })
}

/// Waits until ten successive views are equal, and returns the last. If the final states are known, use
/// [`await_connections`]: a segment that is delivered later than that is not noticed here.
///
/// # Errors
/// Fails if the sockets are not at rest within `deadline`, with the last change.
pub fn await_quiet(deadline: Duration) -> Result<View> {
    let mut last = view()?;
    let mut equal = 1;
    wait_until("rest of the sockets", deadline, || {
        let now = view()?;
        equal = if now == last { equal + 1 } else { 1 };
        if equal == 10 {
            return Ok(Progress::Done(now));
        }
        let seen = format!("{last:?}, then {now:?}");
        last = now;
        Ok(Progress::NotYet(seen))
    })
}

/// Waits until the counts satisfy `wanted`, and returns them.
///
/// # Errors
/// Fails with the last counts above zero if that takes longer than `deadline`.
pub fn await_connections(
    what: &str,
    deadline: Duration,
    wanted: impl Fn(&Connections) -> bool,
) -> Result<Connections> {
    wait_until(what, deadline, || {
        let now = connections()?;
        if wanted(&now) {
            return Ok(Progress::Done(now));
        }
        let some: Vec<_> = now.iter().filter(|(_, count)| **count > 0).collect();
        Ok(Progress::NotYet(format!("{some:?}")))
    })
}

fn count(rows: &[Row]) -> Connections {
    let mut connections = no_connections();
    for row in rows {
        *connections.entry((row.family, row.state)).or_default() += 1;
    }
    connections
}

fn sum_queues(rows: &[Row]) -> BTreeMap<Family, Queues> {
    let mut queues = BTreeMap::from(Family::ALL.map(|family| (family, Queues::default())));
    for row in rows.iter().filter(|row| row.state != State::Listen) {
        let sum = queues.entry(row.family).or_default();
        sum.receive += row.receive_queue;
        sum.send += row.send_queue;
    }
    queues
}

fn rows_in(folder: &str) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for family in Family::ALL {
        for line in read(folder, family.file())?.lines().skip(1) {
            let row = parse_row(family, line);
            rows.push(row.with_context(|| format!("{folder}/{}: {line:?}", family.file()))?);
        }
    }
    Ok(rows)
}

/// `sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode ...`
fn parse_row(family: Family, line: &str) -> Result<Row> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    ensure!(fields.len() == 12 || fields.len() == 17, "{} fields", fields.len());
    let number = u8::from_str_radix(fields[3], 16)?;
    let (send, receive) = fields[4].split_once(':').context("no queues")?;
    Ok(Row {
        family,
        local_port: port(fields[1])?,
        remote_port: port(fields[2])?,
        state: State::from_number(number).with_context(|| format!("state {number}"))?,
        send_queue: u64::from_str_radix(send, 16)?,
        receive_queue: u64::from_str_radix(receive, 16)?,
        full: fields.len() == 17,
    })
}

fn port(address: &str) -> Result<u16> {
    let (_, port) = address.rsplit_once(':').context("no port")?;
    Ok(u16::from_str_radix(port, 16)?)
}

/// `TCP: inuse 4 orphan 0 tw 1 alloc 5 mem 1`: the number after `key` in the line of `protocol`.
fn sockstat_number(text: &str, protocol: &str, key: &str) -> Result<u64> {
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.first() == Some(&protocol) {
            let pair = words[1..].chunks(2).find(|pair| pair[0] == key);
            return Ok(pair.and_then(|pair| pair.get(1)).context("no such key")?.parse()?);
        }
    }
    bail!("no {protocol} {key} in {text:?}")
}

/// A file in `folder`; a missing file of IPv6 counts as empty.
fn read(folder: &str, file: &str) -> Result<String> {
    let path = format!("{folder}/{file}");
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound && file.ends_with('6') => {
            Ok(String::new())
        }
        read => read.context(path),
    }
}
