//! Lines for people, and wrong usage.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use tcpstat_tests::binary::{output, path_from, tcpstat};
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::tcp::Family;

use crate::scene::{OWN_NETNS, Scene};

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        a_line_has_the_states_the_addresses_and_the_process,
        a_filter_that_makes_no_sense_is_wrong_usage,
        variables_that_kubernetes_sets_are_ignored
    ]
}

fn a_line_has_the_states_the_addresses_and_the_process(_: &Namespace) -> Result<()> {
    let mut scene = Scene::new(Family::Ipv4, 0)?;
    let mut command = Command::new(path_from("TCPSTAT_BIN")?);
    command.args(["events", OWN_NETNS, "--transition=established:fin_wait1", "--count=1"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut log = BufReader::new(child.stderr.take().context("no standard error")?);
    log.read_line(&mut String::new())?;
    scene.orderly()?;
    let output = child.wait_with_output()?;
    let text = String::from_utf8(output.stdout)?;
    let mut last = String::new();
    log.read_to_string(&mut last)?;
    let whole = "1 transition in";
    ensure!(last.contains(whole) && last.contains("--netns all shows the others"), "{last}");
    let line = text.lines().find(|line| line.contains("fin_wait1")).context("no line")?;
    let parts = [
        "established".to_owned(),
        scene.client_address.to_string(),
        scene.server_address.to_string(),
        scene.client.pid().to_string(),
    ];
    for part in parts {
        ensure!(line.contains(&part), "{part} is not in {text}");
    }
    ensure!(output.status.success(), "{}", output.status);
    Ok(())
}

fn a_filter_that_makes_no_sense_is_wrong_usage(_: &Namespace) -> Result<()> {
    let wrong = [
        "--state=clos_wait",
        "--transition=established",
        "--transition=established:clos",
        "--port=70000",
        "--address=127.0.0.1/33",
        "--address=localhost",
        "--cause=because",
        "--count=-1",
        "--duration=soon",
        "--tracer=off",
    ];
    for arg in wrong {
        let run = tcpstat(["events", arg])?;
        let (flag, value) = arg.split_once('=').context("a flag with a value")?;
        ensure!(run.status == Some(2) && run.stdout.is_empty(), "{arg}: {run:?}");
        ensure!(run.stderr.contains(flag) && run.stderr.contains(value), "{arg}: {run:?}");
    }
    Ok(())
}

/// It sets them in each pod beside a Service of the name `tcpstat`.
fn variables_that_kubernetes_sets_are_ignored(_: &Namespace) -> Result<()> {
    let mut command = Command::new(path_from("TCPSTAT_BIN")?);
    command.args(["events", OWN_NETNS, "--duration=1ms"]);
    command.env("TCPSTAT_PORT", "tcp://10.1.2.3:10048");
    command.env("TCPSTAT_SERVICE_PORT", "10048").env("TCPSTAT_SERVICE_HOST", "10.1.2.3");
    let run = output(&mut command)?;
    ensure!(run.status == Some(0), "{run:?}");
    Ok(())
}
