//! The answer again and again.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tcpstat_tests::binary::path_from;
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::harness::Test;
use tcpstat_tests::holder::Holder;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::tcp::State;
use tcpstat_tests::who::Who;

use crate::links::{accepted, half_close, links};

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![with_watch_each_line_is_a_new_answer_until_a_signal]
}

/// Dropping it ends it.
struct Watch {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Watch {
    fn start() -> Result<Self> {
        let mut command = Command::new(path_from("TCPSTAT_BIN")?);
        command.args(["who", "close_wait", "--netns=self", "--json", "--watch=1"]);
        let mut child = command.stdout(Stdio::piped()).spawn().context("start who")?;
        let lines = BufReader::new(child.stdout.take().context("no standard output")?);
        Ok(Self { child, lines })
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

impl Drop for Watch {
    fn drop(&mut self) {
        // Both fail only for a process that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn with_watch_each_line_is_a_new_answer_until_a_signal(_: &Namespace) -> Result<()> {
    let mut watch = Watch::start()?;
    assert_eq!(watch.next()?.sockets, 0);
    let mut holder = Holder::start("leaker")?;
    let links = links(7_000, 3)?;
    half_close(&links)?;
    let (served, _clients) = accepted(links);
    holder.take(&served)?;
    drop(served);
    let leaking = watch.find(|who| who.sockets == 3 && who.holders.len() == 1)?;
    leaking.row_of(&[holder.pid()])?.ensure_states(&[(State::CloseWait, 3)])?;
    holder.close()?;
    watch.find(|who| who.sockets == 0)?;
    kill(Pid::from_raw(watch.child.id().try_into()?), Signal::SIGTERM)?;
    wait_until("end of who", DEADLINE, || {
        let ended = watch.child.try_wait()?;
        Ok(ended.map_or(Progress::NotYet("it runs".to_owned()), |_| Progress::Done(())))
    })
}
