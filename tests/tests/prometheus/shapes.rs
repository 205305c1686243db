//! The alerts are evaluated over series of simulated hosts (`xtask/src/alerts`). Here each socket of the small ones is made with
//! real calls, and the real exporter must say the same of it: names, labels, gauges at rest, and counters.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use tcpstat_tests::binary::path_from;
use tcpstat_tests::cgroups::Cgroup;
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::exposition::{Sample, Scrape};
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::{Namespace, within};
use tcpstat_tests::network::{Host, Network};
use tcpstat_tests::resident::Resident;
use tcpstat_tests::scopes::infos_of;
use tcpstat_tests::tcp::Family;
use tcpstat_tests::wire::Wire;

/// The port of the simulated listener.
const PORT: u16 = 8443;

/// Frequent ones, from the source that shows cgroups.
const SNAPSHOTS: [&str; 2] = ["--snapshot=iter", "--snapshot-interval=100ms"];

/// It is a scope where the corpus has that.
const SCOPE: &str = "--ports=8443";

/// The scopes of the corpus.
const UNIT: &str = "/shop.service";
const CONTAINER: &str = "shop/web-0";

/// Where nobody listens.
const CLOSED: u16 = 9;

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        a_simulated_leak_is_a_real_one,
        a_simulated_leak_without_a_tracer_is_a_real_one,
        simulated_leaks_in_a_unit_and_in_a_container_are_real_ones,
        simulated_half_closed_streams_are_real_ones,
        a_simulated_pool_that_loses_its_backend_is_a_real_one,
        simulated_ports_run_out_as_real_ones_do,
        simulated_connects_fail_as_real_ones_do,
        a_simulated_accept_queue_fills_as_a_real_one_does,
        a_simulated_syn_flood_is_a_real_one
    ]
}

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
    "tcpstat_drift_connections",
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
struct Real {
    name: &'static str,
    rest: usize,
    exporter: Exporter,
    before: Scrape,
    scopes: Option<Scopes>,
}

/// The names of the corpus for a cgroup and for the network namespace with this inode.
struct Scopes {
    cgroup: String,
    inum: u64,
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
    fn start(name: &'static str, args: &[&str]) -> Result<Self> {
        let mut exporter = Exporter::start(&[&SNAPSHOTS[..], args].concat())?;
        let before = wait_until("the two ends of the connection for scrapes", DEADLINE, || {
            let scrape = exporter.scrape()?;
            let labels = [("family", "ipv4"), ("state", "established")];
            let ends = scrape.count("tcpstat_connections", &labels)?;
            Ok(if ends == 2 { Progress::Done(scrape) } else { Progress::NotYet(ends.to_string()) })
        })?;
        Ok(Self { name, rest: 0, exporter, before, scopes: None })
    }

    /// What the corpus exports at the next rest.
    fn expected(&self) -> Result<Scrape> {
        simulated(self.name, self.rest)
    }

    /// How many there must be at the next rest.
    fn number(&self, metric: &str, labels: &[(&str, &str)]) -> Result<u64> {
        let number = self.expected()?.count(metric, labels)?;
        ensure!(number > 0, "{}: the corpus has no {metric} {labels:?}", self.name);
        Ok(number)
    }

    fn sockets(&self, state: &str) -> Result<u64> {
        self.number("tcpstat_connections", &[("family", "ipv4"), ("state", state)])
    }

    /// Waits until a scrape agrees with the corpus.
    fn rest(&mut self) -> Result<Scrape> {
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
fn simulated(name: &str, rest: usize) -> Result<Scrape> {
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

fn listener(backlog: i32) -> Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)).into())?;
    socket.listen(backlog)?;
    Ok(socket.into())
}

/// A listener at another host, and its address.
fn backend(host: &Host) -> Result<(TcpListener, SocketAddr)> {
    let address = SocketAddr::from((host.address, PORT));
    Ok((host.inside.run(move || Ok(TcpListener::bind(address)?))?, address))
}

/// Connections from another host that the listener accepts: both ends.
fn accepted(
    listener: &TcpListener,
    number: u64,
    host: &Host,
    address: Ipv4Addr,
) -> Result<Vec<(TcpStream, TcpStream)>> {
    let one = |_| {
        let client = connect_from(host, address)?;
        Ok((client, listener.accept()?.0))
    };
    (0..number).map(one).collect()
}

fn connect_from(host: &Host, to: Ipv4Addr) -> Result<TcpStream> {
    host.inside.run(move || Ok(TcpStream::connect((to, PORT))?))
}

/// Begins to connect, and does not wait.
fn begin_connect(to: SocketAddr) -> Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() == Some(Errno::EINPROGRESS as i32) => Ok(socket),
        other => bail!("connect: {other:?} instead of EINPROGRESS"),
    }
}

fn await_end(stream: &mut TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(DEADLINE))?;
    ensure!(stream.read(&mut [0])? == 0, "data instead of an end");
    Ok(())
}

fn leak(namespace: &Namespace, real: &mut Real) -> Result<Scrape> {
    let host = Network::create(namespace)?.host()?;
    let listener = listener(128)?;
    let pairs = accepted(&listener, real.sockets("close_wait")?, &host, Network::ADDRESS)?;
    let _leaked: Vec<_> = pairs.into_iter().map(|(_, accepted)| accepted).collect();
    real.rest()
}

fn a_simulated_leak_is_a_real_one(namespace: &Namespace) -> Result<()> {
    leak(namespace, &mut Real::start("leak", &[SCOPE])?).map(drop)
}

/// What the corpus has only with a tracer must be absent without one: rules depend on that.
fn a_simulated_leak_without_a_tracer_is_a_real_one(namespace: &Namespace) -> Result<()> {
    let mut real = Real::start("leak-without-tracer", &[SCOPE, "--tracer=off"])?;
    let names = |scrape: Scrape| -> BTreeSet<String> {
        scrape.samples.into_iter().map(|sample| sample.name).collect()
    };
    let without = names(real.expected()?);
    let scraped = names(leak(namespace, &mut real)?);
    let of_tracer = names(simulated("leak", 0)?).into_iter().filter(|name| !without.contains(name));
    let present: Vec<_> = of_tracer.filter(|name| scraped.contains(name)).collect();
    ensure!(present.is_empty(), "without a tracer there is {present:?}");
    Ok(())
}

/// Both leak, and a third host has the other ends.
fn simulated_leaks_in_a_unit_and_in_a_container_are_real_ones(namespace: &Namespace) -> Result<()> {
    let unit = Cgroup::new("shop.service")?;
    let container = Resident::in_new_namespace()?;
    let mut real = Real::start("leak-in-scopes", &["--netns=all", "--cgroups=*shop.service"])?;
    let scopes = Scopes { cgroup: unit.path(), inum: container.inum()? };
    scopes.rename(&mut real.before)?;
    real.scopes = Some(scopes);
    let mut network = Network::create(namespace)?;
    let host = network.host()?;
    let address = network.join(container.pid())?;
    let inside = within(&File::open(container.namespace_file())?, || listener(128))?;
    let number =
        real.number("tcpstat_netns_connections", &[("netns", CONTAINER), ("state", "close_wait")])?;
    let mut leaked = accepted(&inside, number, &host, address)?;
    drop(inside);
    let listener = unit.inside(|| listener(128))?;
    let number = real.sockets("close_wait")?;
    leaked.extend(accepted(&listener, number, &host, Network::ADDRESS)?);
    let _leaked: Vec<_> = leaked.into_iter().map(|(_, accepted)| accepted).collect();
    real.rest().map(drop)
}

fn simulated_half_closed_streams_are_real_ones(namespace: &Namespace) -> Result<()> {
    let mut real = Real::start("half-closed", &[SCOPE])?;
    let host = Network::create(namespace)?.host()?;
    let listener = listener(128)?;
    let pairs = accepted(&listener, real.sockets("close_wait")?, &host, Network::ADDRESS)?;
    for (client, _) in &pairs {
        client.shutdown(Shutdown::Write)?;
    }
    real.rest()?;
    for (client, accepted) in pairs {
        drop(accepted);
        drop(client);
    }
    real.rest().map(drop)
}

fn a_simulated_pool_that_loses_its_backend_is_a_real_one(namespace: &Namespace) -> Result<()> {
    let mut real = Real::start("pool", &[])?;
    let host = Network::create(namespace)?.host()?;
    let (backend, address) = backend(&host)?;
    let one = |_| Ok((TcpStream::connect(address)?, backend.accept()?.0));
    let pairs = (0..real.sockets("established")?).map(one).collect::<Result<Vec<_>>>()?;
    real.rest()?;
    let pool: Vec<_> = pairs.into_iter().map(|(client, _)| client).collect();
    real.rest()?;
    drop(pool);
    real.rest().map(drop)
}

fn simulated_ports_run_out_as_real_ones_do(namespace: &Namespace) -> Result<()> {
    let ports = simulated("ports", 0)?.count("tcpstat_ephemeral_ports", &[])?;
    let range = format!("40000 {}", 40_000 + ports - 1);
    namespace.set_sysctl("net.ipv4.ip_local_port_range", range)?;
    let mut real = Real::start("ports", &[])?;
    let host = Network::create(namespace)?.host()?;
    let (backend, address) = backend(&host)?;
    for _ in 0..real.sockets("time_wait")? {
        let client = TcpStream::connect(address)?;
        let (mut accepted, _) = backend.accept()?;
        drop(client);
        await_end(&mut accepted)?;
    }
    let labels = [("family", "ipv4"), ("from", "syn_sent"), ("cause", "no_port")];
    for _ in 0..real.number("tcpstat_closed_total", &labels)? {
        match TcpStream::connect(address) {
            Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {}
            other => bail!("connect without a free port: {other:?}"),
        }
    }
    real.rest().map(drop)
}

fn simulated_connects_fail_as_real_ones_do(namespace: &Namespace) -> Result<()> {
    let mut real = Real::start("failing", &[])?;
    let wire = Wire::open(namespace)?;
    let failed = |family, cause| {
        let labels = [("family", family), ("from", "syn_sent"), ("cause", cause)];
        real.number("tcpstat_closed_total", &labels)
    };
    let ipv4: IpAddr = Ipv4Addr::LOCALHOST.into();
    for (family, ip) in [("ipv4", ipv4), ("ipv6", Ipv6Addr::LOCALHOST.into())] {
        for _ in 0..failed(family, "refused")? {
            match TcpStream::connect((ip, CLOSED)) {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                other => bail!("connect to a closed port: {other:?}"),
            }
        }
    }
    let silent = |_| {
        let remote = wire.remote(Family::Ipv4);
        Ok((begin_connect(remote.address())?, remote))
    };
    let given_up = (0..failed("ipv4", "none")?).map(silent).collect::<Result<Vec<_>>>()?;
    for (connecting, mut remote) in given_up {
        remote.swallow_syn()?;
        remote.await_syn_again()?;
        drop(connecting);
    }
    real.rest().map(drop)
}

fn a_simulated_accept_queue_fills_as_a_real_one_does(namespace: &Namespace) -> Result<()> {
    let mut real = Real::start("accept-queue", &[])?;
    let host = Network::create(namespace)?.host()?;
    let port = PORT.to_string();
    let labels = [("address", "0.0.0.0"), ("port", port.as_str())];
    let limit = real.number("tcpstat_listener_accept_queue_limit", &labels)?;
    let _listener = listener(limit.try_into()?)?;
    let length = real.number("tcpstat_listener_accept_queue_length", &labels)?;
    let _waiting =
        (0..length).map(|_| connect_from(&host, Network::ADDRESS)).collect::<Result<Vec<_>>>()?;
    wait_until("full accept queue", DEADLINE, || {
        let scrape = real.exporter.scrape()?;
        let now = scrape.count("tcpstat_listener_accept_queue_length", &labels).unwrap_or_default();
        Ok(if now == length { Progress::Done(()) } else { Progress::NotYet(now.to_string()) })
    })?;
    for _ in 0..real.number("tcpstat_listener_drops_total", &labels)? {
        // Closed at once: it sends no second SYN.
        host.inside.run(|| begin_connect((Network::ADDRESS, PORT).into()).map(drop))?;
    }
    real.rest().map(drop)
}

fn a_simulated_syn_flood_is_a_real_one(namespace: &Namespace) -> Result<()> {
    let mut real = Real::start("syn-flood", &[])?;
    let wire = Wire::open(namespace)?;
    let _listener = listener(128)?;
    for _ in 0..real.sockets("syn_recv")? {
        wire.remote(Family::Ipv4).syn_only(PORT)?;
    }
    real.rest().map(drop)
}
