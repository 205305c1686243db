//! What a plain scrape has, and what it leaves out: the number of series, and when a counter appears.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};

use anyhow::{Result, ensure};
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::exposition::{Sample, Scrape};
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::loopback::{Churn, Pairs};
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::tcp::Family;

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        an_idle_host_has_the_documented_number_of_series,
        a_busy_host_has_at_most_120_series_and_three_more_for_each_listener,
        a_counter_appears_with_its_first_event_and_stays
    ]
}

/// The most series of an idle host, in docs/metrics.md and docs/fleet.md. The exporter's own listener is one.
const IDLE: usize = 90;

/// The most series of a busy host with two listeners.
const BUSY: usize = 120;

const OF_A_LISTENER: usize = 3;

/// Nothing listens there.
const CLOSED_PORT: u16 = 1;

fn an_idle_host_has_the_documented_number_of_series(_: &Namespace) -> Result<()> {
    let mut exporter = Exporter::start(&[])?;
    await_listeners(&mut exporter, 1)?;
    let scrape = exporter.scrape_plain()?;
    let names = names(&scrape);
    ensure!(scrape.samples.len() <= IDLE, "{}: {names:?}", scrape.samples.len());
    Ok(())
}

/// Both families: connections that end in order, by the server first, and by reset; connects that are refused; sockets in
/// CLOSE_WAIT and their peers; and a listener beside the exporter's own. Then ten listeners more.
fn a_busy_host_has_at_most_120_series_and_three_more_for_each_listener(
    _: &Namespace,
) -> Result<()> {
    let mut exporter = Exporter::start(&["--snapshot-interval=1s"])?;
    let _listener = TcpListener::bind("127.0.0.1:0")?;
    let mut held = Vec::new();
    for family in Family::ALL {
        Churn { threads: 1, connections: 6, family, resets: true }.run()?;
        let pairs = Pairs::connect(2, family)?;
        pairs.streams()[0].0.shutdown(Shutdown::Write)?;
        held.push(pairs);
        refused(family)?;
    }
    // Until the last events, the snapshots and the listeners are in a scrape.
    let ends = [("family", "ipv6"), ("from", "syn_sent"), ("cause", "refused")];
    let busy =
        wait_until("refused connect, two listeners, and a snapshot later", DEADLINE, || {
            let scrape = exporter.scrape_plain()?;
            let reconciled = !scrape.family("tcpstat_reconciles_total").is_empty();
            let refused = scrape.count("tcpstat_closed_total", &ends).unwrap_or_default();
            let listeners = scrape.family("tcpstat_listener_drops_total").len();
            let is_done = refused == 1 && reconciled && listeners >= 2;
            Ok(if is_done {
                Progress::Done(scrape)
            } else {
                Progress::NotYet(format!("{refused} refused, {listeners} listeners, {reconciled}"))
            })
        })?;
    // `Pairs` listen too.
    let listeners = busy.family("tcpstat_listener_drops_total").len();
    let series = busy.samples.len() - OF_A_LISTENER * (listeners - 2);
    ensure!(series <= BUSY, "{series} series: {:?}", names(&busy));
    let more = (0..10).map(|_| TcpListener::bind("127.0.0.1:0"));
    let _more = more.collect::<Result<Vec<_>, _>>()?;
    await_listeners(&mut exporter, listeners + 10)?;
    let of_listeners = |scrape: &Scrape| {
        scrape.samples.iter().filter(|it| it.name.starts_with("tcpstat_listener_")).count()
    };
    assert_eq!(of_listeners(&exporter.scrape_plain()?), OF_A_LISTENER * (listeners + 10));
    Ok(())
}

fn a_counter_appears_with_its_first_event_and_stays(_: &Namespace) -> Result<()> {
    let mut exporter = Exporter::start(&[])?;
    let ended = [("family", "ipv6"), ("from", "established"), ("to", "close")];
    let reset = [("family", "ipv6"), ("from", "established"), ("cause", "reset")];
    let connected = [("family", "ipv6"), ("from", "syn_sent"), ("to", "established")];
    let before = exporter.scrape_plain()?;
    assert_eq!(before.count("tcpstat_transitions_total", &connected)?, 0);
    ensure!(before.count("tcpstat_transitions_total", &ended).is_err(), "{:?}", names(&before));
    ensure!(before.count("tcpstat_closed_total", &reset).is_err(), "{:?}", names(&before));
    Churn { threads: 1, connections: 2, family: Family::Ipv6, resets: true }.run()?;
    let after = wait_until("both ends of the connection that was reset", DEADLINE, || {
        let scrape = exporter.scrape_plain()?;
        let ends = scrape.count("tcpstat_transitions_total", &ended).unwrap_or_default();
        Ok(if ends == 2 { Progress::Done(scrape) } else { Progress::NotYet(ends.to_string()) })
    })?;
    assert_eq!(after.count("tcpstat_closed_total", &reset)?, 1);
    assert_eq!(after.count("tcpstat_transitions_total", &connected)?, 2);
    let later = names(&exporter.scrape_plain()?);
    ensure!(names(&before).is_subset(&later) && names(&after).is_subset(&later), "{later:?}");
    ensure!(later.is_subset(&names(&exporter.scrape()?)), "{later:?}");
    Ok(())
}

fn await_listeners(exporter: &mut Exporter, listeners: usize) -> Result<()> {
    wait_until("series of all listeners", DEADLINE, || {
        let shown = exporter.scrape_plain()?.family("tcpstat_listener_drops_total").len();
        let is_done = shown == listeners;
        Ok(if is_done { Progress::Done(()) } else { Progress::NotYet(shown.to_string()) })
    })
}

fn refused(family: Family) -> Result<()> {
    let address = match family {
        Family::Ipv4 => IpAddr::from(Ipv4Addr::LOCALHOST),
        Family::Ipv6 => IpAddr::from(Ipv6Addr::LOCALHOST),
    };
    let refused = TcpStream::connect(SocketAddr::new(address, CLOSED_PORT));
    let is_refused = |error: &std::io::Error| error.kind() == ErrorKind::ConnectionRefused;
    ensure!(refused.as_ref().is_err_and(is_refused), "{refused:?}");
    Ok(())
}

/// The names and labels of all series.
pub(crate) fn names(scrape: &Scrape) -> BTreeSet<String> {
    let name = |sample: &Sample| format!("{}{:?}", sample.name, sample.labels);
    scrape.samples.iter().map(name).collect()
}
