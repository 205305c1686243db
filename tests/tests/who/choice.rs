//! The flags that choose and order rows.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tcpstat_tests::binary::tcpstat;
use tcpstat_tests::harness::Test;
use tcpstat_tests::holder::Holder;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::resident::{Order, Resident};
use tcpstat_tests::tcp::State;
use tcpstat_tests::who::who;

use crate::links::{accepted, half_close, links};

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        a_port_chooses_the_sockets_with_that_local_port,
        a_list_of_ports_chooses_the_sockets_with_one_of_them,
        a_process_id_chooses_the_sockets_of_that_process,
        a_namespace_chooses_its_sockets_alone,
        rows_are_sorted_as_asked_and_the_rest_is_counted,
        wrong_usage_names_the_argument_and_the_correct_form,
        states_have_the_words_of_ss_too,
        an_age_of_states_without_one_is_wrong_usage
    ]
}

fn a_port_chooses_the_sockets_with_that_local_port(_: &Namespace) -> Result<()> {
    let mut holder = Holder::start("server")?;
    let (one, _clients) = accepted(links(7_000, 2)?);
    let (two, _other_clients) = accepted(links(7_001, 3)?);
    holder.take(one.iter().chain(&two))?;
    drop((one, two));
    let who = who(&["established", "--port=7001", "--netns=self"])?;
    let row = who.row_of(&[holder.pid()])?;
    row.ensure_states(&[(State::Established, 3)])?;
    ensure!(row.local_ports.iter().all(|port| port.port == 7_001), "{row:?}");
    // The other ends, which this process holds, have the port as their peer's.
    assert_eq!((who.holders.len(), who.sockets), (1, 3));
    Ok(())
}

fn a_list_of_ports_chooses_the_sockets_with_one_of_them(_: &Namespace) -> Result<()> {
    let mut holder = Holder::start("server")?;
    let ports = [(7_000, 1), (7_001, 2), (7_002, 3), (7_010, 4)];
    let links = ports.map(|(port, number)| Ok::<_, anyhow::Error>(accepted(links(port, number)?)));
    let links = links.into_iter().collect::<Result<Vec<_>>>()?;
    holder.take(links.iter().flat_map(|(served, _)| served))?;
    for (list, sockets) in [("7000,7002", 4), ("7001-7009", 5), ("7002,7000-7001,7002-7003", 6)] {
        let pid = holder.pid().to_string();
        let who = who(&["established", "--port", list, "--netns=self", "--pid", &pid])?;
        assert_eq!(who.sockets, sockets, "{list}");
    }
    Ok(())
}

fn a_process_id_chooses_the_sockets_of_that_process(_: &Namespace) -> Result<()> {
    let (mut one, mut two) = (Holder::start("one")?, Holder::start("two")?);
    let (served, clients) = accepted(links(7_000, 2)?);
    one.take(&served)?;
    two.take(&clients)?;
    drop((served, clients));
    let of_one = who(&["--pid", &one.pid().to_string()])?;
    of_one.row_of(&[one.pid()])?.ensure_states(&[(State::Established, 2)])?;
    assert_eq!((of_one.holders.len(), of_one.sockets), (1, 2));
    let of_init = who(&["close_wait", "--pid=1", "--netns=self"])?;
    assert_eq!((of_init.holders.len(), of_init.sockets), (0, 0));
    Ok(())
}

fn a_namespace_chooses_its_sockets_alone(own: &Namespace) -> Result<()> {
    let mut resident = Resident::in_new_namespace()?;
    resident.order(&Order::Leak(4))?;
    let mut holder = Holder::start("here")?;
    let here = links(7_000, 2)?;
    half_close(&here)?;
    let (served, _clients) = accepted(here);
    holder.take(&served)?;
    drop(served);
    let path = resident.namespace_file();
    let there = who(&["close_wait", "--netns", path.to_str().context("a path")?])?;
    there.row_of(&[resident.pid()])?.ensure_states(&[(State::CloseWait, 4)])?;
    assert_eq!((there.holders.len(), there.sockets), (1, 4));
    let here = who(&["close_wait", "--netns=self"])?;
    here.row_of(&[holder.pid()])?.ensure_states(&[(State::CloseWait, 2)])?;
    assert_eq!((here.in_namespace(own.inum()).len(), here.holders.len(), here.sockets), (1, 1, 2));
    Ok(())
}

/// The fewer sockets a process holds, the older they are.
fn rows_are_sorted_as_asked_and_the_rest_is_counted(_: &Namespace) -> Result<()> {
    let mut holders = Vec::new();
    let mut kept = Vec::new();
    for number in 1..=3 {
        let mut holder = Holder::start(format!("holder{number}"))?;
        let links = links(7_000 + number, number.into())?;
        half_close(&links)?;
        let (served, clients) = accepted(links);
        holder.take(&served)?;
        holders.push(holder);
        kept.push(clients);
        sleep(Duration::from_millis(200));
    }
    let by_sockets: Vec<_> = holders.iter().rev().map(Holder::pid).collect();
    let by_age: Vec<_> = holders.iter().map(Holder::pid).collect();
    for (flags, wanted) in
        [(&[][..], &by_sockets), (&["--sort=sockets"], &by_sockets), (&["--sort=oldest"], &by_age)]
    {
        let all = who(&[&["close_wait", "--netns=self"], flags].concat())?;
        let order: Vec<_> = all.holders.iter().map(|row| row.processes[0].pid).collect();
        assert_eq!((&order, all.more_holders, all.sockets), (wanted, 0, 6), "{flags:?}");
        let one = who(&[&["close_wait", "--netns=self", "--limit=1"], flags].concat())?;
        let order: Vec<_> = one.holders.iter().map(|row| row.processes[0].pid).collect();
        assert_eq!((&order[..], one.more_holders, one.sockets), (&wanted[..1], 2, 6), "{flags:?}");
    }
    Ok(())
}

fn wrong_usage_names_the_argument_and_the_correct_form(_: &Namespace) -> Result<()> {
    let wrong = [
        ("clos_wait", "close_wait"),
        ("CLOSEWAIT", "close_wait"),
        ("--pid=424242424", "no process has this id"),
        ("--netns=99", "no network namespace"),
        ("--port=70000", "65535"),
        ("--port=0", "from 1"),
        ("--port=8010-8000", "the first port of a range"),
        ("--pid=zero", "--pid"),
        ("--older-than=soon", "15s"),
        ("--older-than=50d", "49days"),
        ("--sort=color", "sockets"),
        ("--limit=-1", "--limit"),
        ("--netns=/no/such/file", "/no/such/file"),
        ("--path.pods=/etc/passwd", "not a directory"),
    ];
    for (argument, remedy) in wrong {
        let run = tcpstat(["who", argument])?;
        let is_missing =
            ["--netns", "--path", "--pid=4242"].iter().any(|it| argument.starts_with(it));
        let status = if is_missing { 1 } else { 2 };
        ensure!(run.status == Some(status) && run.stdout.is_empty(), "{argument}: {run:?}");
        let value = argument.rsplit('=').next().unwrap_or(argument);
        ensure!(run.stderr.contains(value) && run.stderr.contains(remedy), "{argument}: {run:?}");
    }
    Ok(())
}

fn states_have_the_words_of_ss_too(_: &Namespace) -> Result<()> {
    let mut holder = Holder::start("leaker")?;
    let links = links(7_000, 2)?;
    half_close(&links)?;
    let (served, _clients) = accepted(links);
    holder.take(&served)?;
    drop(served);
    for word in ["CLOSE-WAIT", "close-wait", "CLOSE_WAIT"] {
        let who = who(&[word, "--netns=self", "--local-port=7000"])?;
        who.row_of(&[holder.pid()])?.ensure_states(&[(State::CloseWait, 2)])?;
    }
    Ok(())
}

/// The answer would always be that there is none.
fn an_age_of_states_without_one_is_wrong_usage(_: &Namespace) -> Result<()> {
    let run = tcpstat(["who", "listen", "syn_sent", "--older-than=1m"])?;
    ensure!(run.status == Some(2) && run.stdout.is_empty(), "{run:?}");
    for part in ["--older-than", "listen, syn_sent", "Usage: tcpstat who"] {
        ensure!(run.stderr.contains(part), "{part}: {run:?}");
    }
    Ok(())
}
