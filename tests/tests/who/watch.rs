//! The answer again and again.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::process::{ChildStderr, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tcpstat_tests::binary::path_from;
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::harness::Test;
use tcpstat_tests::holder::Holder;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::owned_child::OwnedChild;
use tcpstat_tests::tcp::State;
use tcpstat_tests::who::Who;

use crate::links::{accepted, half_close, links};

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        with_watch_each_line_is_a_new_answer_until_a_signal,
        watch_goes_on_when_its_namespace_is_back
    ]
}

struct Watch {
    child: OwnedChild,
    lines: BufReader<ChildStdout>,
    errors: BufReader<ChildStderr>,
}

impl Watch {
    fn start(netns: &str) -> Result<Self> {
        let mut command = Command::new(path_from("TCPSTAT_BIN")?);
        command.args(["who", "close_wait", "--netns", netns, "--json", "--watch=1s"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("start who")?;
        let lines = BufReader::new(child.stdout.take().context("no standard output")?);
        let errors = BufReader::new(child.stderr.take().context("no standard error")?);
        Ok(Self { child: child.into(), lines, errors })
    }

    fn next(&mut self) -> Result<Who> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        serde_json::from_str(&line).with_context(|| line.clone())
    }

    /// The first answer that `wanted` accepts, of the next few.
    fn find(&mut self, wanted: impl Fn(&Who) -> bool) -> Result<Who> {
        let mut last = self.next()?;
        for _ in 0..5 {
            if wanted(&last) {
                break;
            }
            last = self.next()?;
        }
        ensure!(wanted(&last), "{last:#?}");
        Ok(last)
    }
}

fn with_watch_each_line_is_a_new_answer_until_a_signal(_: &Namespace) -> Result<()> {
    let mut watch = Watch::start("self")?;
    let first = watch.next()?;
    assert_eq!(first.sockets, 0);
    let mut holder = Holder::start("leaker")?;
    let links = links(7_000, 3)?;
    half_close(&links)?;
    let (served, _clients) = accepted(links);
    holder.take(&served)?;
    drop(served);
    let leaking = watch.find(|who| who.sockets == 3 && who.holders.len() == 1)?;
    leaking.row_of(&[holder.pid()])?.ensure_states(&[(State::CloseWait, 3)])?;
    holder.close()?;
    let last = watch.find(|who| who.sockets == 0)?;
    let times = [&first.time, &leaking.time, &last.time];
    // In this form the order of the texts is that of the times.
    ensure!(times.is_sorted() && times[0] < times[2], "{times:?}");
    kill(Pid::from_raw(watch.child.id().try_into()?), Signal::SIGTERM)?;
    wait_until("end of who", DEADLINE, || {
        let ended = watch.child.try_wait()?;
        Ok(ended.map_or(Progress::NotYet("it runs".to_owned()), |_| Progress::Done(())))
    })
}

/// The path of the namespace is gone meanwhile, as when a container starts again.
fn watch_goes_on_when_its_namespace_is_back(_: &Namespace) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("shop");
    symlink("/proc/self/ns/net", &path)?;
    let mut watch = Watch::start(path.to_str().context("a path")?)?;
    watch.next()?;
    fs::remove_file(&path)?;
    let mut line = String::new();
    while !line.contains(&*path.to_string_lossy()) {
        line.clear();
        ensure!(watch.errors.read_line(&mut line)? > 0, "who has ended");
    }
    symlink("/proc/self/ns/net", &path)?;
    // Some lines can be there from before.
    for _ in 0..3 {
        watch.next()?;
    }
    Ok(())
}
