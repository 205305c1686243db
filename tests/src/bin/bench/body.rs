//! The time of the tracer's own work, without the kernel's work to run it: its time as the kernel measures it, less
//! that of a program that does nothing at the same events.

use std::env;

use anyhow::Result;
use nix::sys::signal::Signal;
use tcpstat_tests::empty_program::{EmptyProgram, Runs, Statistics};
use tcpstat_tests::exporter::{Exporter, Options};
use tcpstat_tests::loopback::{Churn, Churned};
use tcpstat_tests::netns::{Elsewhere, elsewhere};
use tcpstat_tests::resident::Resident;
use tcpstat_tests::scopes::{await_info, await_search};
use tcpstat_tests::tcp::Family;

use crate::Effort;
use crate::samples::Samples;

/// A round counts if other sockets of this machine make less than this share of its events.
const FOREIGN_SHARE: f64 = 0.02;

/// Turns that a round has to count.
const TURNS: usize = 10;

/// Whose events are measured.
#[derive(Clone, Copy)]
enum Events {
    /// Those of the exporter's own namespace.
    Own,
    /// Those of another namespace, whose tag is set.
    Tagged,
    /// Those of another namespace while user space cannot set tags.
    Untagged,
}

/// What is measured: the name of its samples, what the table calls it, and its target in nanoseconds above the default.
#[derive(Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// The samples without scopes, and the most that this may take above them.
    pub(crate) above: Option<(&'static str, f64)>,
    program: &'static str,
    flags: &'static [&'static str],
    events: Events,
}

const fn measured(
    name: &'static str,
    what: &'static str,
    above: Option<(&'static str, f64)>,
    program: &'static str,
    flags: &'static [&'static str],
    events: Events,
) -> Measured {
    Measured { name, what, above, program, flags, events }
}

/// The samples of the default run.
pub(crate) const DEFAULT: &str = "program_body";
pub(crate) const CLASSIC: &str = "tracepoint_body";

const BTF_FLAG: &str = "--tracer=btf";
const CLASSIC_FLAG: &str = "--tracer=tracepoint";
const NETNS: &[&str] = &["--netns=all"];
const ALL_KINDS: &[&str] = &["--netns=all", "--cgroups=*", "--ports=80,443"];

pub(crate) const CASES: [Measured; 14] = [
    measured(DEFAULT, "the default", None, BTF_FLAG, &[], Events::Own),
    measured(
        "program_body_netns",
        "--netns all",
        Some((DEFAULT, 5.0)),
        BTF_FLAG,
        NETNS,
        Events::Own,
    ),
    measured(
        "program_body_tagged",
        "the same, another namespace by its tag",
        Some((DEFAULT, 5.0)),
        BTF_FLAG,
        NETNS,
        Events::Tagged,
    ),
    measured(
        "program_body_untagged",
        "the same, another namespace without a tag",
        None,
        BTF_FLAG,
        NETNS,
        Events::Untagged,
    ),
    measured(
        "program_body_kinds",
        "namespaces, cgroups and ports",
        Some((DEFAULT, 40.0)),
        BTF_FLAG,
        ALL_KINDS,
        Events::Own,
    ),
    measured("program_body_dwell", "--dwell established", None, BTF_FLAG, DWELL, Events::Own),
    measured(
        "program_body_dwell_others",
        "--dwell closing, events of other states",
        None,
        BTF_FLAG,
        DWELL_OTHER,
        Events::Own,
    ),
    measured(CLASSIC, "tracepoint: the default", None, CLASSIC_FLAG, &[], Events::Own),
    measured(
        "tracepoint_body_netns",
        "tracepoint: --netns all",
        Some((CLASSIC, 5.0)),
        CLASSIC_FLAG,
        NETNS,
        Events::Own,
    ),
    measured(
        "tracepoint_body_tagged",
        "tracepoint: another namespace by its tag",
        None,
        CLASSIC_FLAG,
        NETNS,
        Events::Tagged,
    ),
    measured(
        "tracepoint_body_untagged",
        "tracepoint: another namespace without a tag",
        None,
        CLASSIC_FLAG,
        NETNS,
        Events::Untagged,
    ),
    measured(
        "tracepoint_body_kinds",
        "tracepoint: namespaces, cgroups and ports",
        Some((CLASSIC, 110.0)),
        CLASSIC_FLAG,
        ALL_KINDS,
        Events::Own,
    ),
    measured(
        "tracepoint_body_dwell",
        "tracepoint: --dwell established",
        None,
        CLASSIC_FLAG,
        DWELL,
        Events::Own,
    ),
    measured(
        "tracepoint_body_dwell_others",
        "tracepoint: --dwell closing, events of other states",
        None,
        CLASSIC_FLAG,
        DWELL_OTHER,
        Events::Own,
    ),
];

/// The benchmark's connections enter ESTABLISHED and leave it, and are never in CLOSING.
const DWELL: &[&str] = &["--dwell=established"];
const DWELL_OTHER: &[&str] = &["--dwell=closing"];

/// The path of another version's binary. The bodies of its default runs are measured beside the others.
const BEFORE_VARIABLE: &str = "TCPSTAT_BIN_BEFORE";

/// The samples of the other version with each program, and those of this version.
pub(crate) const BEFORE: [(&str, &str); 2] =
    [("program_body_before", DEFAULT), ("tracepoint_body_before", CLASSIC)];

/// Every case in each round, one exporter at a time.
pub(crate) fn measure(effort: Effort, samples: &mut Samples) -> Result<()> {
    eprintln!("the program's body ...");
    let (rounds, connections) = if effort.short { (1, 200) } else { (15, 4_000) };
    let _statistics = Statistics::enable()?;
    let empty = EmptyProgram::attach()?;
    for round in 1..=rounds {
        for case in &CASES {
            let mut exporter = Exporter::start(&case.flags())?;
            case.measure(&mut exporter, connections, &empty, samples)?;
        }
        if let Some(binary) = env::var_os(BEFORE_VARIABLE) {
            for (name, now) in BEFORE {
                let Some(case) = CASES.iter().find(|case| case.name == now) else { continue };
                let before = Measured { name, ..*case };
                let other = Options::default().binary(&binary).args(before.flags());
                before.measure(&mut other.start()?, connections, &empty, samples)?;
            }
        }
        eprintln!("    bodies: round {round} of {rounds}");
    }
    Ok(())
}

impl Measured {
    fn flags(&self) -> Vec<&'static str> {
        [&[self.program, "--snapshot-interval=1h"], self.flags].concat()
    }

    fn measure(
        &self,
        exporter: &mut Exporter,
        connections: usize,
        empty: &EmptyProgram,
        samples: &mut Samples,
    ) -> Result<()> {
        let other = self.prepare(exporter)?;
        for turn in 1..=TURNS {
            let before = (Runs::of_process(exporter.pid())?, empty.runs()?);
            let churned = churn(other.as_ref(), connections)?;
            let (program, nothing) = (Runs::of_process(exporter.pid())?, empty.runs()?);
            let events = churned.transitions().values().sum::<u64>() as f64;
            let all = (nothing.count - before.1.count) as f64;
            if all > events * (1.0 + FOREIGN_SHARE) && turn < TURNS {
                continue;
            }
            let program = Runs::each_of_busiest(&before.0, &program)?;
            let nothing = nothing.each_since(before.1)?;
            if self.name == DEFAULT {
                samples.add("program", 0, program * 1e-9);
                samples.add("program_empty", 0, nothing * 1e-9);
            }
            samples.add(self.name, 0, (program - nothing) * 1e-9);
            break;
        }
        exporter.signal(Signal::SIGCONT)
    }

    /// The namespace of the events; `None` for the exporter's own one.
    fn prepare(&self, exporter: &mut Exporter) -> Result<Option<Elsewhere>> {
        match self.events {
            Events::Own => Ok(None),
            Events::Tagged => {
                // A search finds a namespace by its processes.
                let other = elsewhere(|_| Resident::start())?;
                churn(Some(&other), 1)?;
                await_info(exporter, other.inum(), |_| true)?;
                // User space sets the tags before it searches again.
                await_search(exporter)?.end()?;
                Ok(Some(other))
            }
            Events::Untagged => {
                exporter.signal(Signal::SIGSTOP)?;
                let other = elsewhere(|_| Ok(()))?;
                // The first event gives the namespace its slot.
                churn(Some(&other), 1)?;
                Ok(Some(other))
            }
        }
    }
}

fn churn(other: Option<&Elsewhere>, connections: usize) -> Result<Churned> {
    let churn = Churn { threads: 1, connections, family: Family::Ipv4, resets: true };
    match other {
        None => churn.run(),
        Some(other) => other.run(move || churn.run()),
    }
}
