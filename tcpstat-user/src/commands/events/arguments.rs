//! The flags of `tcpstat events`.

use std::{path::Path, time::Duration};

use anyhow::{anyhow, bail};
use clap::{
    ArgAction, Args, ValueEnum, ValueHint,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
};
use tcpstat_ebpf::Cause;
use tracing::warn;

use super::{NetnsNames, chosen::ChosenNetns};
use crate::{
    commands::{
        ProcfsArgs, contradiction,
        counting::{TracerChoice, programs},
        netns::PodsArgs,
        scopes::PortRange,
        values,
    },
    detailed::cause_word,
    kernel::Program,
    procfs::Procfs,
    scopes::CgroupPattern,
    states::State,
    stream::{Filter, NO_TIME_WAIT, Prefix, STATES, StatePair},
    text::{self, plain},
    tracker::{NetnsSelector, inode_at},
};

pub(crate) const EXAMPLES: &str = "Examples:
  tcpstat events
  tcpstat events --state close_wait --port 8080
  tcpstat events --transition syn_sent:close --netns all    connects that fail, on this host
  tcpstat events --cause reset,timed_out --address 10.0.0.0/8 --duration 30s
  tcpstat events --json --count 1000 | jq -r '.remote.address // empty' | sort | uniq -c";

/// Most prefixes of `--address`.
const MAX_ADDRESSES: usize = 1_024;

/// Flags of `tcpstat events`. The filters and the limits are the question that is asked, so they have no variables; and Kubernetes sets
/// `TCPSTAT_PORT` beside a service with the name tcpstat.
#[derive(Args, Debug)]
pub(crate) struct EventsArgs {
    /// Show transitions from or to these states, with commas between
    #[arg(
        long = "state",
        value_name = "STATE",
        value_delimiter = ',',
        value_parser = state(),
        ignore_case = true,
        help_heading = "Filters"
    )]
    states: Vec<State>,

    /// Show these transitions, with commas between; * stands for any state
    #[arg(
        long = "transition",
        value_name = "FROM:TO",
        value_delimiter = ',',
        value_parser = StatePair::parse,
        help_heading = "Filters"
    )]
    transitions: Vec<StatePair>,

    /// Show sockets that close for these causes, with commas between, and no other transitions
    #[arg(
        long = "cause",
        value_name = "CAUSE",
        value_delimiter = ',',
        value_parser = cause(),
        ignore_case = true,
        help_heading = "Filters"
    )]
    causes: Vec<Cause>,

    /// Local or remote ports: a list such as 443,8000-8010
    #[arg(
        long = "port",
        value_name = "LIST",
        value_delimiter = ',',
        value_parser = values::parsed::<PortRange>,
        help_heading = "Filters"
    )]
    ports: Vec<PortRange>,

    /// Local ports
    #[arg(
        long = "local-port",
        value_name = "LIST",
        value_delimiter = ',',
        value_parser = values::parsed::<PortRange>,
        help_heading = "Filters"
    )]
    local_ports: Vec<PortRange>,

    /// Remote ports
    #[arg(
        long = "remote-port",
        value_name = "LIST",
        value_delimiter = ',',
        value_parser = values::parsed::<PortRange>,
        help_heading = "Filters"
    )]
    remote_ports: Vec<PortRange>,

    /// Local or remote addresses, or prefixes such as 10.0.0.0/8, with commas between; an IPv4 address is also that of
    /// v4-mapped sockets; 0.0.0.0/0 is all of IPv4, ::/0 all of IPv6
    #[arg(
        long = "address",
        value_name = "ADDRESS",
        value_delimiter = ',',
        value_parser = values::parsed::<Prefix>,
        help_heading = "Filters"
    )]
    addresses: Vec<Prefix>,

    /// Cgroups (v2) of the sockets, with those below them: a unit such as *.service, or a path such as /system.slice/*, with
    /// commas between
    #[arg(
        long = "cgroup",
        value_name = "GLOB",
        value_delimiter = ',',
        value_parser = values::parsed::<CgroupPattern>,
        help_heading = "Filters"
    )]
    cgroups: Vec<CgroupPattern>,

    /// Network namespaces: self, the one that tcpstat runs in; all; the name of one as tcpstat shows it; its path, such as
    /// /run/netns/NAME; or the number of its inode
    #[arg(
        long = "netns",
        default_value = "self",
        value_name = "WHICH",
        env = "TCPSTAT_NETNS",
        value_parser = values::netns(),
        value_hint = ValueHint::FilePath,
        help_heading = "Filters"
    )]
    netns: NetnsSelector,

    #[command(flatten)]
    procfs: ProcfsArgs,

    #[command(flatten)]
    pods: PodsArgs,

    /// The BPF program that writes the transitions; or several with commas between, to try in this order
    #[arg(
        long = "tracer",
        default_value = "auto",
        value_name = "PROGRAM",
        env = "TCPSTAT_TRACER",
        value_delimiter = ',',
        value_parser = program(),
        help_heading = "Output"
    )]
    tracer: Vec<TracerChoice>,

    /// Print an object of JSON on each line
    #[arg(
        long,
        value_name = "YES|NO",
        num_args = 0..=1,
        require_equals = true,
        action = ArgAction::Set,
        default_value = "no",
        default_missing_value = "yes",
        value_parser = values::switch,
        help_heading = "Output"
    )]
    pub(super) json: bool,

    /// End after this time
    #[arg(
        long = "duration",
        value_name = "TIME",
        value_parser = duration,
        help_heading = "Output"
    )]
    pub(super) duration: Option<Duration>,

    /// End after this number of transitions
    #[arg(
        long = "count",
        value_name = "NUMBER",
        value_parser = values::number::<u64>(1..=u64::MAX),
        help_heading = "Output"
    )]
    pub(super) count: Option<u64>,

    /// Kernel memory for transitions that are not written yet, 64KiB to 256MiB, rounded up to a power of two; what does not fit
    /// is lost, and counted
    #[arg(
        long = "buffer",
        value_name = "SIZE",
        default_value = "8MiB",
        value_parser = buffer,
        help_heading = "Output"
    )]
    pub(super) buffer: u32,
}

impl EventsArgs {
    /// Which network namespaces are shown, for the last line. `own` is the name of that of tcpstat.
    pub(super) fn shown_namespaces(&self, own: &str) -> String {
        match &self.netns {
            NetnsSelector::All => "all network namespaces".to_owned(),
            NetnsSelector::Own => {
                format!("network namespace {own} only, --netns all shows the others too")
            }
            NetnsSelector::Inode(inode) => format!("network namespace {inode}"),
            NetnsSelector::Named(name) => {
                let name = name.to_string_lossy();
                format!("network namespace {}", plain(&name, text::VALUE))
            }
        }
    }

    pub(super) fn procfs(&self) -> anyhow::Result<Procfs> {
        self.procfs.procfs()
    }

    /// The programs to try, in order.
    ///
    /// # Errors
    /// None that can happen: each value of the flag is a program.
    pub(super) fn programs(&self) -> Result<Vec<Program>, clap::Error> {
        programs(&self.tracer)
    }

    /// # Errors
    /// Those of [`PodsArgs::folder`].
    pub(super) fn names(&self, procfs: &Procfs) -> anyhow::Result<NetnsNames> {
        Ok(NetnsNames::new(procfs, self.pods.folder()?))
    }

    /// What the programs evaluate, and the patterns of cgroups.
    ///
    /// # Errors
    /// If the filters contradict each other, or the network namespace is unknown.
    pub(super) fn filter(
        &self,
        procfs: &Procfs,
        names: &mut NetnsNames,
    ) -> anyhow::Result<(Filter, Vec<CgroupPattern>)> {
        // It must be readable for the names too.
        let own = procfs.netns_inum()?;
        let netns = match &self.netns {
            NetnsSelector::Own => Some(own),
            NetnsSelector::All => None,
            // 0 is that of none; the programs take it for all.
            NetnsSelector::Inode(inode) => match u32::try_from(*inode) {
                Ok(number @ 1..) => Some(number),
                _ => bail!(
                    "--netns {inode}: no network namespace has this inode number: `lsns -t net` shows the numbers"
                ),
            },
            NetnsSelector::Named(name) => Some(named(name, names)?),
        };
        if self.addresses.len() > MAX_ADDRESSES {
            let remedy = format!(
                "--address: {} prefixes, and at most {MAX_ADDRESSES} are compared: list fewer, or shorter prefixes",
                self.addresses.len()
            );
            return Err(contradiction(&remedy).into());
        }
        let ports = |ranges: &[PortRange]| ranges.iter().map(|range| range.0.clone()).collect();
        let mut filter = Filter {
            netns,
            causes: self.causes.clone(),
            ports: ports(&self.ports),
            local_ports: ports(&self.local_ports),
            remote_ports: ports(&self.remote_ports),
            addresses: self.addresses.clone(),
            by_cgroup: !self.cgroups.is_empty(),
            ..Filter::default()
        };
        filter.keep(&self.states, &self.transitions);
        if filter.is_contradiction() {
            let remedy =
                "--state, --transition, and --cause: no transition fits all of them; leave one out";
            return Err(contradiction(remedy).into());
        }
        Ok((filter, self.cgroups.clone()))
    }

    /// Which namespace `filter` chooses. Logs it if that is not there, as far as tcpstat can see.
    pub(super) fn chosen(&self, filter: &Filter, names: &NetnsNames) -> ChosenNetns {
        let Some(inum) = filter.netns else { return ChosenNetns::All };
        if matches!(self.netns, NetnsSelector::Inode(_)) && !names.is_known(inum) {
            warn!(
                "--netns {inum}: no process that tcpstat sees is in a network namespace with this inode number: `lsns -t net` \
                 shows the numbers"
            );
        }
        names.key_of(inum).map_or(ChosenNetns::Next, ChosenNetns::Key)
    }
}

/// The number of the network namespace with this name or path.
fn named(name: &Path, names: &mut NetnsNames) -> anyhow::Result<u32> {
    let mut found = Vec::new();
    if !name.is_absolute() {
        names.find_once();
        found = name.to_str().map(|name| names.inodes_of(name)).unwrap_or_default();
    }
    match found[..] {
        [inode] => Ok(inode),
        [] => {
            let inode = inode_at(name).map_err(|error| anyhow!("--netns {error}"))?;
            Ok(u32::try_from(inode)?)
        }
        _ => Err(anyhow!(
            "--netns {}: {} network namespaces have this name: use NAME@INODE",
            name.display(),
            found.len()
        )),
    }
}

fn state() -> impl TypedValueParser<Value = State> {
    // Hidden, so that the error gives the reason.
    let time_wait = values::state(State::TimeWait).hide(true);
    let words = STATES.map(values::state).into_iter().chain([time_wait]);
    PossibleValuesParser::new(words).try_map(|word| {
        let state = values::state_named(&word).filter(|state| STATES.contains(state));
        state.ok_or(NO_TIME_WAIT)
    })
}

fn cause() -> impl TypedValueParser<Value = Cause> {
    let value = |cause| PossibleValue::new(cause_word(cause)).help(meaning(cause));
    PossibleValuesParser::new(Cause::ALL.map(value)).map(|word| {
        let is_named = |cause: &Cause| cause_word(*cause).eq_ignore_ascii_case(&word);
        let cause = Cause::ALL.into_iter().find(is_named);
        cause.unwrap_or(Cause::Other)
    })
}

fn meaning(cause: Cause) -> &'static str {
    match cause {
        Cause::None => {
            "No error: a close in order, or a connect that its owner gave up, as after a timeout of its own"
        }
        Cause::Reset => "The peer reset the connection",
        Cause::Refused => {
            "A connect was answered with a reset: nobody listens there, or a firewall rejects"
        }
        Cause::TimedOut => {
            "The kernel sent again until its limit, or sent keepalives, without an answer"
        }
        Cause::Unreachable => "No neighbour answered, or a router reported that there is no way",
        Cause::NoPort => "A connect found no free local port",
        Cause::Destroyed => "Another process ended the connection, as `ss -K` does",
        Cause::Other => "Another error",
    }
}

/// The choices that are programs.
fn program() -> impl TypedValueParser<Value = TracerChoice> {
    let programs = TracerChoice::value_variants().iter().filter(|it| **it != TracerChoice::Off);
    let words = programs.filter_map(ValueEnum::to_possible_value);
    PossibleValuesParser::new(words).try_map(|word| TracerChoice::from_str(&word, false))
}

fn duration(text: &str) -> Result<Duration, String> {
    values::duration(text, Duration::from_millis(1), Duration::from_hours(24 * 365))
}

fn buffer(text: &str) -> Result<u32, String> {
    let text = text.trim();
    let units = [("KiB", 1 << 10), ("MiB", 1 << 20)];
    let bytes = units.into_iter().find_map(|(unit, bytes)| {
        let number: u32 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
        number.checked_mul(bytes)
    });
    match bytes {
        Some(bytes @ 65_536..=268_435_456) => Ok(bytes),
        _ => Err("write it like 512KiB or 64MiB; at least 64KiB, at most 256MiB".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_has_a_unit_and_bounds() {
        assert_eq!(buffer("64KiB"), Ok(1 << 16));
        assert_eq!(buffer(" 256 MiB"), Ok(1 << 28));
        for text in ["", "8", "8MB", "63KiB", "257MiB", "-1MiB", "9999999999MiB", "KiB", "1.5MiB"] {
            assert!(buffer(text).is_err(), "{text}");
        }
    }
}
