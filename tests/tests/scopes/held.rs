//! What processes hold in other network namespaces: sockets in CLOSE_WAIT with their ages, and listening sockets with
//! their queues.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use tcpstat_tests::ages::{Ages, Entered, is_at_least};
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::exporter::{Exporter, FREQUENT_SNAPSHOTS};
use tcpstat_tests::exposition::Scrape;
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_release::namespaces_have_cookies;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::listeners::{Endpoint, Listener, by_ss, drops, half_open, other, scraped};
use tcpstat_tests::loopback::Pairs;
use tcpstat_tests::netns::{Namespace, within};
use tcpstat_tests::owned_child::OwnedChild;
use tcpstat_tests::resident::Resident;
use tcpstat_tests::scopes::{
    all_namespaces, await_gone, await_info, await_right, await_search, live_namespaces, numbers_of,
};
use tcpstat_tests::tcp::Family;

pub(crate) fn tests() -> Vec<Test> {
    if !namespaces_have_cookies().unwrap_or(true) {
        return kernel_tests![before_5_12_one_line_says_that_nothing_is_shown];
    }
    kernel_tests![
        a_leak_in_another_namespace_is_as_old_as_it_is,
        a_socket_that_two_processes_hold_counts_once,
        the_own_namespace_has_the_ages_and_the_listeners_that_it_has_without_a_name,
        a_listener_of_another_namespace_has_its_queue_and_its_drops,
        listeners_that_share_a_port_in_another_namespace_are_added_up,
        the_fullest_listeners_of_all_other_namespaces_have_series_and_the_sum_is_the_total,
        with_a_maximum_of_0_no_namespace_has_listeners,
        without_a_tracer_no_namespace_has_ages_or_listeners
    ]
}

/// An age that a reading can tell from none.
const AGE: Duration = Duration::from_millis(1_200);

/// The machine may have more than a hundred listeners.
const OFTEN: [&str; 3] = [FREQUENT_SNAPSHOTS[0], FREQUENT_SNAPSHOTS[1], "--listeners-max=4096"];

/// A namespace in which the test holds sockets.
struct Other {
    resident: Resident,
    file: File,
}

impl Other {
    fn new() -> Result<Self> {
        let resident = Resident::in_new_namespace()?;
        let file = File::open(resident.namespace_file())?;
        Ok(Self { resident, file })
    }

    /// Waits until its gauges are right, and gives its name.
    fn await_name(&self, exporter: &mut Exporter) -> Result<String> {
        Ok(await_right(exporter, self.resident.pid())?.0)
    }

    /// Sockets in CLOSE_WAIT that this process holds. Their peers have a descriptor, too.
    fn close_wait(&self, sockets: usize) -> Result<(Entered, Pairs)> {
        let pairs = within(&self.file, || Pairs::connect(sockets, Family::Ipv4))?;
        let (entered, ()) = Entered::during(|| {
            pairs.streams().iter().try_for_each(|(client, accepted)| {
                client.shutdown(Shutdown::Write)?;
                await_end(accepted)
            })
        })?;
        Ok((entered, pairs))
    }

    /// A socket that listens there and never accepts.
    fn listen(&self, port: u16, backlog: i32) -> Result<Socket> {
        within(&self.file, || {
            let socket = socket()?;
            socket.set_reuse_port(true)?;
            socket.bind(&loopback(port).into())?;
            socket.listen(backlog)?;
            Ok(socket)
        })
    }

    /// Connects that many times. `full`: the listener drops the SYN.
    fn connect(&self, number: usize, port: u16, full: bool) -> Result<Vec<Socket>> {
        within(&self.file, || {
            let connect = |_| {
                let client = socket()?;
                client.set_nonblocking(full)?;
                match client.connect(&loopback(port).into()) {
                    Err(error)
                        if full && error.raw_os_error() == Some(Errno::EINPROGRESS as i32) => {}
                    connected => connected?,
                }
                Ok(client)
            };
            (0..number).map(connect).collect()
        })
    }
}

fn socket() -> Result<Socket> {
    Ok(Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?)
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn endpoint(port: u16) -> Endpoint {
    (Ipv4Addr::LOCALHOST.to_string(), port.to_string())
}

fn await_end(mut accepted: &TcpStream) -> Result<()> {
    accepted.set_read_timeout(Some(DEADLINE))?;
    let read = accepted.read(&mut [0])?;
    ensure!(read == 0, "{read} bytes at the end of a connection");
    Ok(())
}

/// Waits for a scrape in which the numbers of the namespace of that name are as `wanted` says.
fn await_numbers(
    exporter: &mut Exporter,
    name: &str,
    mut wanted: impl FnMut(&Scrape) -> Result<bool>,
) -> Result<Scrape> {
    wait_until("numbers of a namespace", DEADLINE, || {
        let numbers = numbers_of(&exporter.scrape()?, name);
        let is_wanted =
            !numbers.family("tcpstat_close_wait_oldest_seconds").is_empty() && wanted(&numbers)?;
        Ok(if is_wanted {
            Progress::Done(numbers)
        } else {
            Progress::NotYet(format!("{name}: {:?}, {:?}", Ages::of(&numbers), scraped(&numbers)))
        })
    })
}

/// It is there before the exporter: its first age is the silence of its peers. Later they acknowledge, and it grows on.
fn a_leak_in_another_namespace_is_as_old_as_it_is(_: &Namespace) -> Result<()> {
    let other = Other::new()?;
    let (entered, pairs) = other.close_wait(3)?;
    sleep(AGE);
    let least = entered.latest.elapsed();
    let mut exporter = all_namespaces(&OFTEN).start()?;
    let name = other.await_name(&mut exporter)?;
    let mut oldest = Vec::new();
    await_numbers(&mut exporter, &name, |numbers| {
        oldest.push(Ages::of(numbers)?.oldest);
        oldest.dedup();
        Ok(oldest.len() > 3)
    })?;
    ensure!(oldest.is_sorted() && is_at_least(oldest[0], least), "{oldest:?} after {least:?}");
    // Now their silence is short, and they have been seen for longer.
    await_numbers(&mut exporter, &name, |numbers| {
        for (client, accepted) in pairs.streams() {
            let mut accepted = accepted;
            accepted.write_all(b"x")?;
            await_byte(client)?;
        }
        let oldest = Ages::of(numbers)?.oldest;
        entered.ensure_not_older(oldest)?;
        Ok(oldest > 3.0)
    })?;
    // Nothing of it is an age of the own namespace.
    let own = Ages::of(&exporter.scrape()?)?;
    ensure!(own == (Ages { oldest: 0.0, older_than: [0; 3] }), "{own:?}");
    drop(pairs);
    await_numbers(&mut exporter, &name, |numbers| Ok(Ages::of(numbers)?.oldest == 0.0))?;
    drop(other);
    await_gone(&mut exporter, &name)
}

fn await_byte(mut client: &TcpStream) -> Result<()> {
    client.set_read_timeout(Some(DEADLINE))?;
    Ok(client.read_exact(&mut [0])?)
}

/// A process with this socket as its standard input.
fn holder(socket: &Socket) -> Result<OwnedChild> {
    let socket = OwnedFd::from(socket.try_clone()?);
    Ok(Command::new("sleep").arg("1000").stdin(socket).spawn().context("start sleep")?.into())
}

/// Two other processes and two descriptors of this one have the same listener, and the same socket in CLOSE_WAIT.
fn a_socket_that_two_processes_hold_counts_once(_: &Namespace) -> Result<()> {
    let other = Other::new()?;
    let listener = other.listen(7_000, 9)?;
    let (_, pairs) = other.close_wait(1)?;
    let accepted = Socket::from(pairs.streams()[0].1.try_clone()?);
    let _waiting = other.connect(2, 7_000, false)?;
    let again = [listener.try_clone()?, accepted.try_clone()?];
    let holders = [holder(&listener)?, holder(&listener)?, holder(&accepted)?];
    let mut exporter = all_namespaces(&OFTEN).start()?;
    let name = other.await_name(&mut exporter)?;
    let one = Listener { length: 2, limit: 9, fullest: 0.2 };
    for _ in 0..3 {
        let numbers = await_numbers(&mut exporter, &name, |numbers| {
            Ok(scraped(numbers)?.contains_key(&endpoint(7_000)))
        })?;
        assert_eq!(scraped(&numbers)?[&endpoint(7_000)], one);
    }
    // Other processes hold it still.
    drop((listener, again));
    let _newest = await_search(&mut exporter)?;
    let numbers = await_numbers(&mut exporter, &name, |_| Ok(true))?;
    assert_eq!(scraped(&numbers)?[&endpoint(7_000)], one);
    drop((holders, pairs, accepted));
    await_numbers(&mut exporter, &name, |numbers| {
        Ok(!scraped(numbers)?.contains_key(&endpoint(7_000)) && Ages::of(numbers)?.oldest == 0.0)
    })?;
    Ok(())
}

/// The series without a name are what they are without `--netns all`.
fn the_own_namespace_has_the_ages_and_the_listeners_that_it_has_without_a_name(
    own: &Namespace,
) -> Result<()> {
    let mut exporter = all_namespaces(&OFTEN).start()?;
    let name = await_info(&mut exporter, own.inum(), |_| true)?["netns"].clone();
    let listener = socket()?;
    listener.bind(&loopback(7_000).into())?;
    listener.listen(3)?;
    let scrape = wait_until("listener of the own namespace", DEADLINE, || {
        let scrape = exporter.scrape()?;
        let is_there = scraped(&scrape)?.contains_key(&endpoint(7_000));
        Ok(if is_there { Progress::Done(scrape) } else { Progress::NotYet("no series".to_owned()) })
    })?;
    let named = numbers_of(&scrape, &name);
    assert_eq!(Ages::of(&named)?, Ages::of(&scrape)?);
    let mut unnamed = scraped(&scrape)?;
    assert_eq!(unnamed.remove(&other()), Some(Listener::default()));
    assert_eq!(scraped(&named)?, unnamed);
    Ok(())
}

fn a_listener_of_another_namespace_has_its_queue_and_its_drops(_: &Namespace) -> Result<()> {
    let elsewhere = Other::new()?;
    let stuck = elsewhere.listen(7_000, 4)?;
    let waiting = elsewhere.connect(4, 7_000, false)?;
    let mut exporter = all_namespaces(&OFTEN).start()?;
    let name = elsewhere.await_name(&mut exporter)?;
    let numbers = await_numbers(&mut exporter, &name, |_| Ok(true))?;
    let almost_full = Listener { length: 4, limit: 4, fullest: 0.8 };
    assert_eq!(scraped(&numbers)?, [(endpoint(7_000), almost_full)].into());
    assert_eq!(half_open(&numbers)?, [(endpoint(7_000), 0)].into());
    assert_eq!(drops(&numbers)?, [(endpoint(7_000), 0)].into());

    let last = elsewhere.connect(1, 7_000, false)?;
    let dropped = elsewhere.connect(3, 7_000, true)?;
    let numbers = await_numbers(&mut exporter, &name, |numbers| {
        Ok(drops(numbers)?.get(&endpoint(7_000)).is_some_and(|&drops| drops >= 3))
    })?;
    let full = Listener { length: 5, limit: 4, fullest: 1.0 };
    assert_eq!(scraped(&numbers)?[&endpoint(7_000)], full);
    // They would send their SYN again.
    drop(dropped);
    let mut before = 0;
    // Nothing is dropped any more: two readings agree.
    await_numbers(&mut exporter, &name, |numbers| {
        let now = drops(numbers)?[&endpoint(7_000)];
        Ok(now == std::mem::replace(&mut before, now))
    })?;
    drop((stuck, waiting, last));
    await_numbers(&mut exporter, &name, |numbers| Ok(scraped(numbers)?.is_empty()))?;
    let again = elsewhere.listen(7_000, 4)?;
    let numbers = await_numbers(&mut exporter, &name, |numbers| Ok(!scraped(numbers)?.is_empty()))?;
    ensure!(drops(&numbers)?[&endpoint(7_000)] >= before, "{numbers:?}");
    drop((again, elsewhere));
    await_gone(&mut exporter, &name)
}

/// The kernel chooses the socket for each connection, so only `ss` says how many each has.
fn listeners_that_share_a_port_in_another_namespace_are_added_up(_: &Namespace) -> Result<()> {
    let elsewhere = Other::new()?;
    let members = [20, 30, 40].map(|backlog| elsewhere.listen(7_000, backlog));
    let members = members.into_iter().collect::<Result<Vec<_>>>()?;
    let waiting = elsewhere.connect(25, 7_000, false)?;
    let expected = within(&elsewhere.file, by_ss)?;
    ensure!(expected[&endpoint(7_000)].length == 25 && expected.len() == 1, "{expected:?}");
    let mut exporter = all_namespaces(&OFTEN).start()?;
    let name = elsewhere.await_name(&mut exporter)?;
    let numbers = await_numbers(&mut exporter, &name, |_| Ok(true))?;
    assert_eq!(scraped(&numbers)?, expected);
    drop((members, waiting));
    Ok(())
}

/// Two namespaces share two series: those of the fullest queues.
fn the_fullest_listeners_of_all_other_namespaces_have_series_and_the_sum_is_the_total(
    _: &Namespace,
) -> Result<()> {
    let (one, two) = (Other::new()?, Other::new()?);
    let mut exporter =
        all_namespaces(&[&FREQUENT_SNAPSHOTS[..], &["--listeners-max=2"]].concat()).start()?;
    let mut sockets = Vec::new();
    for port in 7_000..7_003 {
        sockets.extend([one.listen(port, 9)?, two.listen(port, 9)?]);
    }
    // No other queue of the machine is as full.
    sockets.extend(one.connect(10, 7_001, false)?);
    sockets.extend(one.connect(1, 7_002, false)?);
    sockets.extend(two.connect(10, 7_002, false)?);
    for (other_namespace, shown, rest) in [(&one, 7_001, 1), (&two, 7_002, 0)] {
        let full = Listener { length: 10, limit: 9, fullest: 1.0 };
        let others =
            Listener { length: rest, limit: 18, fullest: if rest == 1 { 0.1 } else { 0.0 } };
        let expected = [(endpoint(shown), full), (other(), others)].into();
        let name = other_namespace.await_name(&mut exporter)?;
        await_numbers(&mut exporter, &name, |numbers| Ok(scraped(numbers)? == expected))?;
    }
    let own = live_namespaces()?.len();
    let all = exporter.scrape()?.family("tcpstat_netns_listener_drops_total").len();
    // Two of the own one, two of the others, and the rest of each.
    ensure!(all <= 2 + 2 + own, "{all} series, {own} namespaces");
    drop(sockets);
    Ok(())
}

fn with_a_maximum_of_0_no_namespace_has_listeners(_: &Namespace) -> Result<()> {
    let elsewhere = Other::new()?;
    let _listener = elsewhere.listen(7_000, 4)?;
    let mut exporter =
        all_namespaces(&[&FREQUENT_SNAPSHOTS[..], &["--listeners-max=0"]].concat()).start()?;
    let name = elsewhere.await_name(&mut exporter)?;
    await_numbers(&mut exporter, &name, |_| Ok(true))?;
    ensure_absent(&exporter.scrape()?, "listener_")
}

fn without_a_tracer_no_namespace_has_ages_or_listeners(_: &Namespace) -> Result<()> {
    let elsewhere = Other::new()?;
    let _listener = elsewhere.listen(7_000, 4)?;
    let mut exporter = all_namespaces(&[&OFTEN[..], &["--tracer=off"]].concat()).start()?;
    elsewhere.await_name(&mut exporter)?;
    let scrape = exporter.scrape()?;
    ensure_absent(&scrape, "listener_")?;
    ensure_absent(&scrape, "close_wait_")
}

fn before_5_12_one_line_says_that_nothing_is_shown(_: &Namespace) -> Result<()> {
    let elsewhere = Other::new()?;
    let _listener = elsewhere.listen(7_000, 4)?;
    let mut exporter = all_namespaces(&OFTEN).start()?;
    elsewhere.await_name(&mut exporter)?;
    let words = "other network namespaces are not shown from now on: iter/task_file: ";
    exporter.wait_log(words)?;
    let _newest = await_search(&mut exporter)?;
    let log = exporter.log();
    ensure!(log.matches(words).count() == 1, "{log}");
    let name = elsewhere.await_name(&mut exporter)?;
    let numbers = numbers_of(&exporter.scrape()?, &name);
    ensure_absent(&numbers, "listener_")?;
    ensure_absent(&numbers, "close_wait_")
}

fn ensure_absent(scrape: &Scrape, words: &str) -> Result<()> {
    let found = scrape.samples.iter().find(|sample| sample.name.contains(words));
    ensure!(found.is_none(), "{found:?}");
    Ok(())
}
