//! Each filter lets through exactly the transitions that match it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, bail, ensure};
use tcpstat_tests::calls::Call;
use tcpstat_tests::cgroups::Cgroup;
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::event_record::{Endpoint, Transition, summary, transitions};
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::{Namespace, current_inum};
use tcpstat_tests::resident::{Order, Resident};
use tcpstat_tests::scopes::counts_of;
use tcpstat_tests::tcp::{Family, State};
use tcpstat_tests::transition_stream::Stream;

use crate::scene::{ATTEMPTS, Scene, await_no_full_socket};

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        filters_by_port_and_address_let_through_what_matches,
        filters_by_namespace_and_cgroup_let_through_what_matches
    ]
}

/// These filters are comparisons, which no kernel makes in another way.
pub(crate) fn host_tests() -> Vec<Test> {
    kernel_tests![
        filters_by_state_transition_and_cause_let_through_what_matches,
        several_filters_let_through_what_matches_all
    ]
}

const ALL_NAMESPACES: &str = "--netns=all";

/// Whether a transition matches the filter of these arguments.
struct Filter {
    args: Vec<String>,
    matches: Box<dyn Fn(&Transition) -> bool>,
}

fn filter(args: &[&str], matches: impl Fn(&Transition) -> bool + 'static) -> Filter {
    let mut args: Vec<_> = args.iter().map(|&arg| arg.to_owned()).collect();
    if !args.iter().any(|arg| arg.starts_with("--netns")) {
        args.push(ALL_NAMESPACES.to_owned());
    }
    Filter { args, matches: Box::new(matches) }
}

/// Where something happens: these processes are in two namespaces, and one client has a cgroup of its own.
struct Stage {
    orderly: Scene,
    reset: Scene,
    refused: Scene,
    other: Resident,
    cgroup: Cgroup,
}

impl Stage {
    fn new(namespace: &Namespace) -> Result<Self> {
        // No socket in TIME_WAIT keeps its ports from the next attempt.
        namespace.set_sysctl("net.ipv4.tcp_max_tw_buckets", 0)?;
        let mut refused = Scene::new(Family::Ipv4, 2)?;
        refused.client_address = (Ipv4Addr::new(127, 5, 0, 7), 8_002).into();
        let stage = Self {
            orderly: Scene::new(Family::Ipv4, 0)?,
            reset: Scene::new(Family::Ipv6, 1)?,
            refused,
            other: Resident::in_new_namespace()?,
            cgroup: Cgroup::new("events")?,
        };
        stage.cgroup.take(stage.orderly.client.pid())?;
        Ok(stage)
    }

    /// All transitions are made when it returns.
    fn play(&mut self) -> Result<()> {
        self.orderly.orderly()?;
        self.reset.connect()?;
        self.reset.client.call(Call::Reset)?;
        self.reset.server.call(Call::AwaitReset)?;
        self.reset.server.call(Call::Close)?;
        self.reset.server.call(Call::CloseListener)?;
        let Scene { client, client_address, server_address, .. } = &mut self.refused;
        client.call(Call::ConnectRefused(*client_address, *server_address))?;
        self.other.order(&Order::Leak(2))?;
        self.other.order(&Order::Close)?;
        await_no_full_socket()?;
        wait_until("end of all sockets elsewhere", DEADLINE, || {
            let counts = counts_of(self.other.pid())?;
            let full = [State::Established, State::CloseWait, State::LastAck, State::Listen];
            let is_over = full.iter().all(|state| counts[state] == 0);
            Ok(if is_over { Progress::Done(()) } else { Progress::NotYet(format!("{counts:?}")) })
        })
    }
}

/// Plays with one stream for each filter. The reference is what streams without another filter show of the two
/// namespaces. Other tests make transitions elsewhere meanwhile: a filtered stream may show those that match. If
/// something is lost, it plays again.
fn assert_filtered(stage: &mut Stage, filters: &[Filter]) -> Result<()> {
    for _ in 0..ATTEMPTS {
        if play_filtered(stage, filters)? {
            return Ok(());
        }
    }
    bail!("events were lost in each of {ATTEMPTS} attempts")
}

/// Whether nothing was lost.
fn play_filtered(stage: &mut Stage, filters: &[Filter]) -> Result<bool> {
    let inums = [current_inum()?, stage.other.inum()?];
    let mut all = Vec::new();
    for inum in inums {
        all.push(Stream::start(&[&format!("--netns={inum}")])?);
    }
    let start = |filter: &Filter| {
        let args: Vec<_> = filter.args.iter().map(String::as_str).collect();
        Stream::start(&args).with_context(|| format!("{args:?}"))
    };
    let mut streams = filters.iter().map(start).collect::<Result<Vec<_>>>()?;
    stage.play()?;
    let (mut reference, mut lost) = (Vec::new(), 0);
    for stream in &mut all {
        let (records, end) = stream.stop()?;
        reference.extend(transitions(records));
        lost += end.lost;
    }
    let is_here = |one: &Transition| one.netns.inode.is_some_and(|inode| inums.contains(&inode));
    ensure!(reference.iter().all(is_here), "{reference:#?}");
    for (Filter { args, matches }, stream) in filters.iter().zip(&mut streams) {
        let wanted = keys(reference.iter().filter(|one| matches(one)));
        let (records, end) = stream.stop()?;
        let shown = transitions(records);
        let others: Vec<_> = shown.iter().filter(|one| !matches(one)).collect();
        ensure!(others.is_empty(), "{args:?} lets through {others:#?}");
        lost += end.lost;
        if lost == 0 {
            ensure!(!wanted.is_empty() && wanted.len() < reference.len(), "{args:?}: {wanted:#?}");
            assert_eq!(keys(shown.iter().filter(|one| is_here(one))), wanted, "{args:?}");
        }
    }
    Ok(lost == 0)
}

fn ends(transition: &Transition) -> impl Iterator<Item = &Endpoint> {
    [&transition.local].into_iter().chain(&transition.remote)
}

/// What two streams show alike of a transition.
fn keys<'a>(transitions: impl Iterator<Item = &'a Transition>) -> Vec<String> {
    let key = |one: &Transition| {
        let without_socket = summary(one).split_once(' ').map(|(_, rest)| rest.to_owned());
        format!("{} {:?} {}", one.netns.name, one.cgroup, without_socket.unwrap_or_default())
    };
    let mut keys: Vec<_> = transitions.map(key).collect();
    keys.sort();
    keys
}

fn filters_by_state_transition_and_cause_let_through_what_matches(own: &Namespace) -> Result<()> {
    let mut stage = Stage::new(own)?;
    assert_filtered(
        &mut stage,
        &[
            filter(&["--state=close_wait"], |one| {
                one.from == "close_wait" || one.to == "close_wait"
            }),
            filter(&["--state=listen"], |one| one.from == "listen" || one.to == "listen"),
            filter(&["--transition=established:close"], |one| {
                one.from == "established" && one.to == "close"
            }),
            filter(&["--cause=reset"], |one| one.cause.as_deref() == Some("reset")),
            filter(&["--cause=refused"], |one| one.cause.as_deref() == Some("refused")),
        ],
    )
}

fn filters_by_port_and_address_let_through_what_matches(own: &Namespace) -> Result<()> {
    let mut stage = Stage::new(own)?;
    let client = stage.orderly.client_address.port();
    let server = stage.reset.server_address.port();
    let has_port = |port| move |one: &Transition| ends(one).any(|end| end.port == port);
    let has_address = |wanted: fn(IpAddr) -> bool| {
        move |one: &Transition| ends(one).any(|end| end.address.parse().is_ok_and(wanted))
    };
    assert_filtered(
        &mut stage,
        &[
            filter(&[&format!("--port={client}")], has_port(client)),
            filter(&[&format!("--port={server}")], has_port(server)),
            filter(&["--address=127.5.0.7"], has_address(|ip| ip == Ipv4Addr::new(127, 5, 0, 7))),
            filter(&["--address=::1"], has_address(|ip| ip.is_ipv6() && ip.is_loopback())),
            filter(
                &["--address=127.4.0.0/14"],
                has_address(|ip| matches!(ip, IpAddr::V4(ip) if ip.octets()[..2] == [127, 5])),
            ),
            filter(&["--address=::/0"], has_address(|ip| ip.to_canonical().is_ipv6())),
            filter(&["--address=0.0.0.0/0"], has_address(|ip| ip.to_canonical().is_ipv4())),
            filter(
                &["--address=::/0,127.5.0.7"],
                has_address(|ip| ip.to_canonical().is_ipv6() || ip == Ipv4Addr::new(127, 5, 0, 7)),
            ),
            // A listener has no remote address, which is not the same as 0.0.0.0 or ::.
            filter(
                &["--address=0.0.0.0/8,::,127.5.0.7"],
                has_address(|ip| ip.is_unspecified() || ip == Ipv4Addr::new(127, 5, 0, 7)),
            ),
        ],
    )
}

fn filters_by_namespace_and_cgroup_let_through_what_matches(own: &Namespace) -> Result<()> {
    let mut stage = Stage::new(own)?;
    let (own, other) = (own.inum(), stage.other.inum()?);
    let path = stage.other.namespace_file();
    let path = path.to_str().context("a path")?;
    let cgroup = stage.cgroup.path();
    assert_filtered(
        &mut stage,
        &[
            filter(&["--netns=self"], move |one| one.netns.inode == Some(own)),
            filter(&[&format!("--netns={path}")], move |one| one.netns.inode == Some(other)),
            filter(&[&format!("--cgroup={}", cgroup.clone())], move |one| {
                one.cgroup.as_deref() == Some(&cgroup)
            }),
        ],
    )
}

fn several_filters_let_through_what_matches_all(own: &Namespace) -> Result<()> {
    let mut stage = Stage::new(own)?;
    let SocketAddr::V4(client) = stage.orderly.client_address else { unreachable!("IPv4") };
    let port = client.port();
    let args = ["--netns=self", "--state=established", &format!("--port={port}")];
    assert_filtered(
        &mut stage,
        &[filter(&args, move |one| {
            ends(one).any(|end| end.port == port)
                && (one.from == "established" || one.to == "established")
        })],
    )
}
