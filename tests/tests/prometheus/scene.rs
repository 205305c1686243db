//! A host with sockets of all kinds, its exporter, and a Prometheus that scrapes it.

use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tcpstat_tests::binary::printed;
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::held::{Addressing, Held};
use tcpstat_tests::listeners::Stuck;
use tcpstat_tests::loopback::{Churn, Pairs};
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::prometheus::{Prometheus, Series};
use tcpstat_tests::rules::scaled;
use tcpstat_tests::states;
use tcpstat_tests::tcp::Family;
use tcpstat_tests::wire::Wire;

/// The durations of the shipped rules are divided by this: 5 minutes become 2.5 seconds.
pub(crate) const DIVISOR: u64 = 120;

/// The limit of a wait for scrapes and rules.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

/// Nothing listens there.
const CLOSED_PORT: ([u8; 4], u16) = ([127, 0, 0, 1], 1);

/// Pause between two rounds of traffic.
const PACE: Duration = Duration::from_millis(50);

/// Sockets, traffic, an exporter and a Prometheus for one test.
pub(crate) struct Scene {
    pub(crate) prometheus: Prometheus,
    pub(crate) exporter: Exporter,
    _traffic: Traffic,
    _half_open: Held,
    _pairs: [Pairs; 2],
    _stuck: Stuck,
}

impl Scene {
    pub(crate) fn start(namespace: &Namespace) -> Result<Self> {
        Self::with(namespace, &[], "")
    }

    /// With more flags of the exporter, and more scrape configurations.
    pub(crate) fn with(namespace: &Namespace, flags: &[&str], more: &str) -> Result<Self> {
        let wire = Wire::open(namespace)?;
        let half_open = states::syn_recv(&wire, Addressing::Ipv4)?;
        let pairs = [Pairs::connect(5, Family::Ipv4)?, Pairs::connect(5, Family::Ipv6)?];
        let (client, _) = pairs[0].streams().first().context("a pair")?;
        fill_queues(client)?;
        let stuck = Stuck::start(Ipv4Addr::LOCALHOST.into(), 9, 5)?;
        let flags: Vec<_> = ["--snapshot-interval=1s"].iter().chain(flags).copied().collect();
        let exporter = Exporter::start(&flags)?;
        let config = config(&[exporter.address()], more);
        let rules = scaled(&printed(&["rules"])?, DIVISOR)?;
        Ok(Self {
            prometheus: Prometheus::start(&config, &rules)?,
            exporter,
            _traffic: Traffic::start(),
            _half_open: half_open,
            _pairs: pairs,
            _stuck: stuck,
        })
    }
}

/// A configuration that scrapes `targets` as the job `tcpstat` twice a second, and evaluates rules.yml as often,
/// followed by `more`.
pub(crate) fn config(targets: &[SocketAddr], more: &str) -> String {
    let targets: Vec<_> = targets.iter().map(|target| format!("'{target}'")).collect();
    format!(
        "\
global: {{scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}}
rule_files: [rules.yml]
scrape_configs:
  - job_name: tcpstat
    static_configs:
      - targets: [{}]
{more}",
        targets.join(", ")
    )
}

/// Whether there are series, and each is a number.
pub(crate) fn is_data(answer: &[Series]) -> bool {
    !answer.is_empty() && answer.iter().all(|series| series.value.is_finite())
}

/// Rounds of connections, until this is dropped.
pub(crate) struct Traffic {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Traffic {
    /// Connections that are closed in order or by reset, refused, or leaked in CLOSE_WAIT.
    fn start() -> Self {
        let mut leaked = Vec::new();
        Self::every(PACE, move || {
            for family in Family::ALL {
                Churn { threads: 1, connections: 2, family, resets: true }.run()?;
            }
            refused()?;
            leaked.push(leak()?);
            Ok(())
        })
    }

    /// A round after each pause.
    pub(crate) fn every(
        pause: Duration,
        mut round: impl FnMut() -> Result<()> + Send + 'static,
    ) -> Self {
        let (stop, stopped) = channel::<()>();
        let thread = thread::spawn(move || {
            while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                round()?;
            }
            Ok(())
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.take();
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(Err(error))) => eprintln!("the traffic ended early: {error:#}"),
            Some(Err(_)) => eprintln!("the traffic panicked"),
            _ => {}
        }
    }
}

/// A connect to a port where nothing listens.
pub(crate) fn refused() -> Result<()> {
    let refused = TcpStream::connect(SocketAddr::from(CLOSED_PORT));
    ensure!(
        refused.as_ref().is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused),
        "{refused:?}"
    );
    Ok(())
}

/// A socket in CLOSE_WAIT: accepted, and not closed when the other side is.
pub(crate) fn leak() -> Result<TcpStream> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (accepted, _) = listener.accept()?;
    drop(client);
    Ok(accepted)
}

/// Writes until the queues are full: the other side does not read.
fn fill_queues(stream: &TcpStream) -> Result<()> {
    stream.set_nonblocking(true)?;
    let mut writer = stream;
    loop {
        match writer.write(&[0; 8 * 1024]) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}
