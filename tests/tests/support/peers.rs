//! Every function of [`states`], with every kind of address, makes one socket in its state and no other.

use std::io::{Read, Write};

use anyhow::{Result, ensure};
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::harness::{Test, kernel_test};
use tcpstat_tests::held::Addressing;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::proc_view::{self, Connections, Queues};
use tcpstat_tests::segment::Flags;
use tcpstat_tests::states::{self, Hold};
use tcpstat_tests::tcp::{Family, State};
use tcpstat_tests::wire::Wire;

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = kernel_tests![
        every_state_at_once,
        queued_bytes_are_seen,
        a_refused_connection_is_gone,
        data_and_end_arrive_in_order
    ];
    for (name, hold) in states::ALL {
        for addressing in Addressing::ALL {
            tests.push(kernel_test(
                format!("one_socket::{name}::{addressing:?}"),
                move |namespace| one_socket(namespace, name, hold, addressing),
            ));
        }
    }
    tests
}

/// The state a function of [`states`] promises, by the function's name.
fn promised(name: &str) -> State {
    match name {
        "accepted" => State::Established,
        "fin_wait2_orphan" => State::FinWait2,
        "time_wait_after_closing" => State::TimeWait,
        name => State::from_word(name).expect("a function is named after its state"),
    }
}

/// Sockets a function of [`states`] makes: the one in its state, and the listener a half-open
/// request must have.
fn expected(name: &str, family: Family) -> Connections {
    let mut expected = proc_view::no_connections();
    expected.insert((family, promised(name)), 1);
    if name == "syn_recv" {
        expected.insert((family, State::Listen), 1);
    }
    expected
}

fn one_socket(namespace: &Namespace, name: &str, make: Hold, addressing: Addressing) -> Result<()> {
    let wire = Wire::open(namespace)?;
    let held = make(&wire, addressing)?;
    let view = proc_view::await_quiet(DEADLINE)?;
    assert_eq!(view.connections, expected(name, addressing.family()));

    let timewait = matches!(name, "fin_wait2_orphan" | "time_wait" | "time_wait_after_closing");
    let request = name == "syn_recv";
    let row = held.row()?.expect("its row");
    assert_eq!(row.full, !timewait && !request);
    assert_eq!(view.sockstat.tw, u64::from(timewait));
    let inuse = u64::from(!timewait);
    assert_eq!(view.sockstat.inuse[&addressing.family()], inuse, "{:?}", view.sockstat);

    held.end()?;
    let view = proc_view::await_quiet(DEADLINE)?;
    assert_eq!(view.connections, proc_view::no_connections());
    assert_eq!(view.sockstat.tw, 0);
    Ok(())
}

fn every_state_at_once(namespace: &Namespace) -> Result<()> {
    let wire = Wire::open(namespace)?;
    let mut held = Vec::new();
    let mut all = proc_view::no_connections();
    for (name, hold) in states::ALL {
        for addressing in Addressing::ALL {
            held.push(hold(&wire, addressing)?);
            for (key, count) in expected(name, addressing.family()) {
                *all.entry(key).or_default() += count;
            }
        }
    }
    assert_eq!(proc_view::await_quiet(DEADLINE)?.connections, all);
    drop(held);
    proc_view::await_connections("end of all", DEADLINE, |now| {
        *now == proc_view::no_connections()
    })?;
    Ok(())
}

fn queued_bytes_are_seen(namespace: &Namespace) -> Result<()> {
    let wire = Wire::open(namespace)?;
    let mut held = states::established(&wire, Addressing::Ipv6)?;
    held.remote()?.send(b"nobody reads this")?;
    held.socket()?.write_all(b"nobody acknowledges this")?;
    held.remote()?.wait_for(Flags::ACK)?;
    let wanted = Queues { receive: 17, send: 24 };
    wait_until("the queued bytes", DEADLINE, || {
        let queues = proc_view::queues()?;
        if queues[&Family::Ipv6] == wanted && queues[&Family::Ipv4] == Queues::default() {
            return Ok(Progress::Done(()));
        }
        Ok(Progress::NotYet(format!("{queues:?}")))
    })
}

fn a_refused_connection_is_gone(namespace: &Namespace) -> Result<()> {
    let wire = Wire::open(namespace)?;
    for addressing in Addressing::ALL {
        let mut held = states::syn_sent(&wire, addressing)?;
        held.remote()?.rst()?;
        let error = wait_until("error of the socket", DEADLINE, || {
            let error = held.socket()?.take_error()?;
            Ok(error.map_or(Progress::NotYet("none".to_owned()), Progress::Done))
        })?;
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
        assert_eq!(held.row()?, None);
    }
    Ok(())
}

fn data_and_end_arrive_in_order(namespace: &Namespace) -> Result<()> {
    let wire = Wire::open(namespace)?;
    for addressing in Addressing::ALL {
        let mut held = states::accepted(&wire, addressing)?;
        held.remote()?.send(b"all ")?;
        held.remote()?.send(b"of it")?;
        held.remote()?.fin()?;
        held.await_state(State::CloseWait)?;
        let mut text = String::new();
        let mut socket = held.socket()?;
        socket.read_to_string(&mut text)?;
        assert_eq!(text, "all of it");
        socket.write_all(b"answer")?;
        socket.shutdown(std::net::Shutdown::Write)?;
        // The FIN may be in the same segment as the answer.
        let mut answer = Vec::new();
        while answer.len() < 6 {
            answer.extend(held.remote()?.wait_for(Flags::ACK)?.payload);
        }
        ensure!(answer == b"answer", "{answer:?}");
        held.await_state(State::LastAck)?;
    }
    Ok(())
}
