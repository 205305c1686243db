//! A namespace belongs to one thread, and is left when it is dropped.

use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::thread;

use anyhow::{Result, bail, ensure};
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::{Namespace, current_inum, elsewhere};
use tcpstat_tests::network::Network;
use tcpstat_tests::proc_view;
use tcpstat_tests::tcp::{Family, State};

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        a_fresh_namespace_has_no_sockets,
        dropping_a_namespace_returns_to_the_previous_one,
        threads_and_children_inherit,
        a_sysctl_is_the_namespaces_own,
        both_loopback_addresses_work_at_once,
        sockets_of_another_namespace_are_not_seen,
        a_failure_in_another_namespace_is_returned,
        work_runs_in_another_namespace_repeatedly,
        the_hosts_of_a_network_reach_one_another
    ]
}

fn a_fresh_namespace_has_no_sockets(_: &Namespace) -> Result<()> {
    let view = proc_view::view()?;
    assert_eq!(view.connections, proc_view::no_connections());
    assert_eq!(view.sockstat.inuse[&Family::Ipv4] + view.sockstat.inuse[&Family::Ipv6], 0);
    assert_eq!(view.sockstat.tw, 0);
    Ok(())
}

fn dropping_a_namespace_returns_to_the_previous_one(outer: &Namespace) -> Result<()> {
    let inner = Namespace::enter()?;
    assert_ne!(inner.inum(), outer.inum());
    assert_eq!(current_inum()?, inner.inum());
    drop(inner);
    assert_eq!(current_inum()?, outer.inum());
    Ok(())
}

fn threads_and_children_inherit(namespace: &Namespace) -> Result<()> {
    let Ok(in_thread) = thread::spawn(current_inum).join() else { bail!("the thread panicked") };
    assert_eq!(in_thread?, namespace.inum());
    let child = Command::new("readlink").arg("/proc/self/ns/net").output()?;
    let link = String::from_utf8(child.stdout)?;
    assert_eq!(link.trim(), format!("net:[{}]", namespace.inum()));
    Ok(())
}

fn a_sysctl_is_the_namespaces_own(namespace: &Namespace) -> Result<()> {
    let name = "net.ipv4.tcp_fin_timeout";
    let before = namespace.sysctl(name)?;
    let inner = Namespace::enter()?;
    inner.set_sysctl(name, 7)?;
    assert_eq!(inner.sysctl(name)?, "7");
    drop(inner);
    assert_eq!(namespace.sysctl(name)?, before);
    ensure!(namespace.set_sysctl("kernel.hostname", "x").is_err(), "a sysctl of the machine");
    Ok(())
}

fn both_loopback_addresses_work_at_once(_: &Namespace) -> Result<()> {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        TcpListener::bind(address)?;
    }
    Ok(())
}

fn sockets_of_another_namespace_are_not_seen(namespace: &Namespace) -> Result<()> {
    let listen = |_: &Namespace| {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let seen = proc_view::connections()?[&(Family::Ipv4, State::Listen)];
        ensure!(seen == 1, "{seen} listeners seen beside the listener");
        Ok(listener)
    };
    let kept = elsewhere(listen)?;
    assert_ne!(kept.inum(), namespace.inum());
    assert_eq!(current_inum()?, namespace.inum());
    assert_eq!(proc_view::connections()?, proc_view::no_connections());
    Ok(())
}

fn a_failure_in_another_namespace_is_returned(_: &Namespace) -> Result<()> {
    let Err(error) = elsewhere(|_| -> Result<()> { bail!("on purpose") }) else {
        bail!("nothing failed")
    };
    ensure!(error.to_string() == "on purpose", "{error:#}");
    Ok(())
}

fn work_runs_in_another_namespace_repeatedly(_: &Namespace) -> Result<()> {
    let kept = elsewhere(|_| Ok(()))?;
    assert_eq!(kept.run(current_inum)?, kept.inum());
    let listener = kept.run(|| Ok(TcpListener::bind("127.0.0.1:0")?))?;
    // This thread holds the listener; the socket is in the other namespace.
    assert_eq!(kept.run(proc_view::connections)?[&(Family::Ipv4, State::Listen)], 1);
    assert_eq!(proc_view::connections()?, proc_view::no_connections());
    drop(listener);
    let failed = kept.run(|| -> Result<()> { bail!("on purpose") });
    ensure!(failed.is_err_and(|error| error.to_string() == "on purpose"), "nothing failed");
    assert_eq!(kept.run(proc_view::connections)?, proc_view::no_connections());
    Ok(())
}

fn the_hosts_of_a_network_reach_one_another(namespace: &Namespace) -> Result<()> {
    let mut network = Network::create(namespace)?;
    let (first, second) = (network.host()?, network.host()?);
    let bind = first.address;
    let listener = first.inside.run(move || Ok(TcpListener::bind((bind, 0))?))?;
    let address = listener.local_addr()?;
    let from_host = second.inside.run(move || Ok(TcpStream::connect(address)?))?;
    assert_eq!(from_host.local_addr()?.ip(), second.address);
    let from_here = TcpStream::connect(address)?;
    assert_eq!(from_here.local_addr()?.ip(), Network::ADDRESS);
    Ok(())
}
