//! The destination that takes the most ephemeral ports, with real sockets in both sources of snapshots.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};

use anyhow::{Context, Result, ensure};
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::exporter::{Exporter, Options};
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::Namespace;

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        both_sources_count_the_ports_of_the_fullest_destination_with_those_in_time_wait,
        sockets_in_time_wait_on_loopback_count_only_if_their_ports_are_not_reused
    ]
}

const FULLEST: &str = "tcpstat_ephemeral_ports_fullest_destination";
const INFO: &str = "tcpstat_ephemeral_ports_fullest_destination_info";

/// Not an ephemeral port.
const PORT: u16 = 8080;

const SOURCES: [(&str, &[&str]); 3] = [
    ("procfs", &["--snapshot=procfs"]),
    ("iter", &["--snapshot=iter"]),
    ("procfs", &["--snapshot=procfs", "--tracer=off"]),
];

/// Connections to one destination. It is an address of `lo` other than a loopback address, so that the kernel keeps
/// ports in TIME_WAIT.
struct Destination {
    listener: TcpListener,
    address: SocketAddr,
    open: Vec<(TcpStream, TcpStream)>,
}

impl Destination {
    fn listen(ip: IpAddr) -> Result<Self> {
        let listener = TcpListener::bind((ip, PORT)).with_context(|| format!("listen on {ip}"))?;
        Ok(Self { address: listener.local_addr()?, listener, open: Vec::new() })
    }

    /// Connections that stay open.
    fn open(&mut self, connections: usize) -> Result<()> {
        for _ in 0..connections {
            self.open.push(self.connect()?);
        }
        Ok(())
    }

    /// Connections that the client closes first, so that its port is in TIME_WAIT.
    fn leave_in_time_wait(&self, connections: usize) -> Result<()> {
        for _ in 0..connections {
            let (client, accepted) = self.connect()?;
            drop(client);
            drop(accepted);
        }
        Ok(())
    }

    fn connect(&self) -> Result<(TcpStream, TcpStream)> {
        let client = TcpStream::connect(self.address)?;
        Ok((client, self.listener.accept()?.0))
    }
}

fn start(flags: &[&str], more: &[&str]) -> Result<Exporter> {
    let flags = flags.iter().chain(more).copied().chain(["--snapshot-interval=100ms"]);
    Options::default().args(flags).start()
}

/// Waits until a snapshot has as many sockets to the fullest destination.
fn await_fullest(exporter: &mut Exporter, source: &str, sockets: f64) -> Result<()> {
    wait_until("snapshot with that many sockets", DEADLINE, || {
        let scrape = exporter.scrape()?;
        ensure!(super::snapshots::source(&scrape).as_deref() == Some(source), "not by {source}");
        let found = scrape.value(FULLEST, &[])?;
        Ok(if found == sockets {
            Progress::Done(())
        } else {
            Progress::NotYet(format!("{found} and not {sockets}"))
        })
    })
}

fn both_sources_count_the_ports_of_the_fullest_destination_with_those_in_time_wait(
    namespace: &Namespace,
) -> Result<()> {
    namespace.set_sysctl("net.ipv4.ip_local_port_range", "40000 40099")?;
    let [one, other] = [[10, 1, 0, 1], [10, 1, 0, 2]].map(Ipv4Addr::from);
    namespace.ip(&["address add 10.1.0.1/32 dev lo", "address add 10.1.0.2/32 dev lo"])?;
    let mut fullest = Destination::listen(one.into())?;
    let mut second = Destination::listen(other.into())?;
    fullest.open(12)?;
    fullest.leave_in_time_wait(7)?;
    second.open(9)?;
    second.leave_in_time_wait(5)?;
    // Listeners in ephemeral ports are no connections; nor do the accepted ends count, whose port is 8080.
    let listeners = (0..30).map(|_| TcpListener::bind((one, 0))).collect::<Result<Vec<_>, _>>()?;
    for (source, flags) in SOURCES {
        let mut exporter = start(flags, &["--ephemeral.destination"])?;
        await_fullest(&mut exporter, source, 19.0)?;
        let scrape = exporter.scrape()?;
        assert_eq!(scrape.value("tcpstat_ephemeral_ports", &[])?, 100.0);
        let one = one.to_string();
        let labels = [
            ("local_address", one.as_str()),
            ("remote_address", one.as_str()),
            ("remote_port", "8080"),
        ];
        assert_eq!(scrape.value(INFO, &labels)?, 1.0);
    }
    let (source, flags) = SOURCES[0];
    let mut unnamed = start(flags, &[])?;
    await_fullest(&mut unnamed, source, 19.0)?;
    assert!(unnamed.scrape()?.family(INFO).is_empty(), "nobody asked for the address");
    drop(listeners);
    Ok(())
}

/// By default (`net.ipv4.tcp_tw_reuse` is 2) a connect over loopback takes a port in TIME_WAIT.
fn sockets_in_time_wait_on_loopback_count_only_if_their_ports_are_not_reused(
    namespace: &Namespace,
) -> Result<()> {
    namespace.set_sysctl("net.ipv4.ip_local_port_range", "40000 40999")?;
    for ip in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
        let mut destination = Destination::listen(ip)?;
        destination.open(40)?;
        destination.leave_in_time_wait(30)?;
        for (source, flags) in SOURCES {
            namespace.set_sysctl("net.ipv4.tcp_tw_reuse", 2)?;
            let mut exporter = start(flags, &[])?;
            await_fullest(&mut exporter, source, 40.0)?;
            namespace.set_sysctl("net.ipv4.tcp_tw_reuse", 0)?;
            await_fullest(&mut exporter, source, 70.0)?;
        }
    }
    Ok(())
}
