//! The metrics of listening sockets, and what other readers of the kernel show of the same sockets.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use socket2::{Domain, Protocol, Socket, Type};

use crate::deadline::{DEADLINE, Progress, wait_until};
use crate::exporter::Exporter;
use crate::exposition::Scrape;
use crate::netns::Namespace;

/// The labels `address` and `port`.
pub type Endpoint = (String, String);

/// The listeners of a namespace, by address and port.
pub type Listeners = BTreeMap<Endpoint, Listener>;

/// What is shown of the sockets that listen at one address and port.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Listener {
    /// Connections in the accept queue.
    pub length: u64,
    /// The limit of the queue.
    pub limit: u64,
    /// The length by one more than the limit, of the fullest socket.
    pub fullest: f64,
}

/// A listener that never accepts, and the connections in its queue.
#[derive(Debug)]
pub struct Stuck {
    /// Where it listens.
    pub address: SocketAddr,
    _listener: Socket,
    _waiting: Vec<TcpStream>,
}

impl Stuck {
    /// Listens with this backlog at a free port of `address`, and lets so many connections wait.
    ///
    /// # Errors
    /// Fails if a call of the socket does.
    pub fn start(address: IpAddr, backlog: i32, waiting: usize) -> Result<Self> {
        let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
        let listener = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        listener.bind(&SocketAddr::new(address, 0).into())?;
        listener.listen(backlog)?;
        let address = listener.local_addr()?.as_socket().context("no socket address")?;
        let connect = |_| Ok(TcpStream::connect(address)?);
        let waiting = (0..waiting).map(connect).collect::<Result<_>>()?;
        Ok(Self { address, _listener: listener, _waiting: waiting })
    }
}

/// The endpoint of all listeners that have no series of their own.
#[must_use]
pub fn other() -> Endpoint {
    ("other".to_owned(), "other".to_owned())
}

/// What a scrape shows, `other` among it.
///
/// # Errors
/// Fails if the families do not have the same series, or a value is not a count.
pub fn scraped(scrape: &Scrape) -> Result<Listeners> {
    let lengths = counts(scrape, "tcpstat_listener_accept_queue_length")?;
    let limits = counts(scrape, "tcpstat_listener_accept_queue_limit")?;
    let mut listeners = Listeners::new();
    for sample in scrape.family("tcpstat_listener_accept_queue_fullest_ratio") {
        let endpoint = endpoint(&sample.labels)?;
        let of = |counts: &BTreeMap<Endpoint, u64>| {
            counts.get(&endpoint).copied().with_context(|| format!("{endpoint:?}: no such series"))
        };
        let listener =
            Listener { length: of(&lengths)?, limit: of(&limits)?, fullest: sample.value };
        listeners.insert(endpoint, listener);
    }
    let series = [half_open(scrape)?.len(), drops(scrape)?.len(), lengths.len(), limits.len()];
    ensure!(series == [listeners.len(); 4], "{series:?} series, {listeners:?}");
    Ok(listeners)
}

/// Half-open connections.
///
/// # Errors
/// Fails if a value is not a count.
pub fn half_open(scrape: &Scrape) -> Result<BTreeMap<Endpoint, u64>> {
    counts(scrape, "tcpstat_listener_half_open")
}

/// Dropped packets.
///
/// # Errors
/// Fails if a value is not a count.
pub fn drops(scrape: &Scrape) -> Result<BTreeMap<Endpoint, u64>> {
    counts(scrape, "tcpstat_listener_drops_total")
}

fn counts(scrape: &Scrape, name: &str) -> Result<BTreeMap<Endpoint, u64>> {
    let samples = scrape.family(name).into_iter();
    samples
        .map(|sample| {
            let count = sample.count().with_context(|| format!("{sample:?}"))?;
            Ok((endpoint(&sample.labels)?, count))
        })
        .collect()
}

fn endpoint(labels: &BTreeMap<String, String>) -> Result<Endpoint> {
    match (labels.get("address"), labels.get("port")) {
        (Some(address), Some(port)) if labels.len() == 2 => Ok((address.clone(), port.clone())),
        _ => bail!("{labels:?}"),
    }
}

/// What `ss` shows in the network namespace of the calling thread.
///
/// # Errors
/// Fails if `ss` fails, or a line has another form.
pub fn by_ss() -> Result<Listeners> {
    let output = Command::new("ss").args(["-H", "-l", "-t", "-n"]).output().context("start ss")?;
    ensure!(output.status.success(), "ss: {output:?}");
    let mut listeners = Listeners::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [_, length, limit, local, ..] = fields[..] else { bail!("ss: {line}") };
        let (address, port) = local.rsplit_once(':').with_context(|| format!("ss: {line}"))?;
        // A socket for both families.
        let address = if address == "*" { "::" } else { address };
        let address = address.trim_start_matches('[').trim_end_matches(']');
        let (length, limit): (u32, u32) = (length.parse()?, limit.parse()?);
        let of_endpoint = listeners.entry((address.to_owned(), port.to_owned())).or_default();
        of_endpoint.length += u64::from(length);
        of_endpoint.limit += u64::from(limit);
        let ratio = f64::from(length) / (f64::from(limit) + 1.0);
        of_endpoint.fullest = of_endpoint.fullest.max(ratio);
    }
    Ok(listeners)
}

/// The kernel's own count of dropped connections of all listeners of the namespace, the closed ones included.
///
/// # Errors
/// Fails if the file does not have it.
pub fn listen_drops(namespace: &Namespace) -> Result<u64> {
    let path = namespace.procfs_net("netstat");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt: "));
    let (names, values) = lines.next().zip(lines.next()).context("no TcpExt")?;
    let mut values = names.split(' ').zip(values.split(' '));
    let (_, value) = values.find(|(name, _)| *name == "ListenDrops").context("no ListenDrops")?;
    Ok(value.parse()?)
}

/// Waits until a scrape shows each listener as `ss` does and `other` as empty, and the drops of all are those of the
/// kernel. Gives that scrape.
///
/// # Errors
/// Fails if that does not happen within [`DEADLINE`].
pub fn await_agreement(exporter: &mut Exporter, namespace: &Namespace) -> Result<Scrape> {
    await_scrape(exporter, |scrape| {
        let mut expected = by_ss()?;
        expected.insert(other(), Listener::default());
        let dropped: u64 = drops(scrape)?.values().sum();
        let seen = (scraped(scrape)?, dropped);
        let expected = (expected, listen_drops(namespace)?);
        Ok(if seen == expected { None } else { Some(format!("{seen:?}, not {expected:?}")) })
    })
}

/// Waits for a scrape for which `differs` gives nothing.
///
/// # Errors
/// Fails if there is none within [`DEADLINE`].
pub fn await_scrape(
    exporter: &mut Exporter,
    mut differs: impl FnMut(&Scrape) -> Result<Option<String>>,
) -> Result<Scrape> {
    wait_until("scrape with the expected listeners", DEADLINE, || {
        let scrape = exporter.scrape()?;
        Ok(match differs(&scrape)? {
            None => Progress::Done(scrape),
            Some(difference) => Progress::NotYet(difference),
        })
    })
}
