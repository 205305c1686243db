//! The stream of one network namespace.

use anyhow::{Context, Result, bail, ensure};
use tcpstat_tests::calls::Call;
use tcpstat_tests::end_marks::EndMarks;
use tcpstat_tests::event_record::summary;
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_release::namespaces_have_cookies;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::resident::Resident;
use tcpstat_tests::transition_stream::Stream;

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        a_later_namespace_with_the_same_inode_number_is_not_shown,
        a_number_that_no_namespace_has_is_named_in_one_line
    ]
}

/// Other tests can take the number first.
const ATTEMPTS: usize = 5;

/// The kernel gives the lowest free number, so the number is among those of so many new namespaces.
const MOST_NEW: usize = 40;

const LISTENS: &str = "127.0.0.1:7100";

/// The kernel gives an inode number again at once: that of a container which ends is the next one's.
fn a_later_namespace_with_the_same_inode_number_is_not_shown(own: &Namespace) -> Result<()> {
    if !namespaces_have_cookies()? {
        // Nothing else tells two namespaces apart there.
        return Ok(());
    }
    for _ in 0..ATTEMPTS {
        let mut first = Resident::in_new_namespace()?;
        let inum = first.inum()?;
        let mut stream = Stream::start(&[&format!("--netns={inum}")])?;
        first.call(Call::Listen(LISTENS.parse()?))?;
        first.call(Call::CloseListener)?;
        stream.await_reported(2)?;
        let marks = EndMarks::place(own, std::slice::from_ref(&first))?;
        first.end()?;
        marks.await_end()?;
        let Some(mut later) = with_number(inum)? else { continue };
        later.call(Call::Listen(LISTENS.parse()?))?;
        later.call(Call::CloseListener)?;
        let (_, end) = stream.stop()?;
        ensure!(end.lost == 0, "{end:?}");
        let shown = stream.transitions(|_| true)?;
        let texts: Vec<_> = shown.iter().map(summary).collect();
        ensure!(shown.len() == 2 && end.events == 2, "{end:?}: {texts:#?}");
        return Ok(());
    }
    bail!("no number came again in {ATTEMPTS} attempts")
}

/// A new namespace with this inode number; `None` if another process was faster.
fn with_number(inum: u64) -> Result<Option<Resident>> {
    let mut others = Vec::new();
    while others.len() < MOST_NEW {
        let resident = Resident::in_new_namespace()?;
        if resident.inum()? == inum {
            return Ok(Some(resident));
        }
        others.push(resident);
    }
    Ok(None)
}

fn a_number_that_no_namespace_has_is_named_in_one_line(_: &Namespace) -> Result<()> {
    let mut stream = Stream::start(&["--netns=4294967295"])?;
    stream.stop()?;
    let log = stream.log();
    let is_meant = |line: &&str| line.contains("--netns 4294967295: no process");
    let line = log.lines().find(is_meant).with_context(|| log.clone())?;
    ensure!(line.contains("lsns -t net"), "{line}");
    let mut known = Stream::start(&["--netns=self"])?;
    known.stop()?;
    ensure!(!known.log().contains("no process"), "{}", known.log());
    Ok(())
}
