//! The flags of scopes inside the own network namespace: cgroups and ports.

use std::{fmt, ops::RangeInclusive, str::FromStr, sync::Arc};

use anyhow::bail;
use clap::Args;
use thiserror::Error;
use tracing::{info, warn};

use super::{contradiction, netns::NetnsArgs, values};
use crate::{
    procfs::{AutomaticPorts, CgroupHierarchy, PortList, Procfs, ProcfsError},
    scopes::CgroupPattern,
    tracker::{NetnsChoice, OwnScopes},
};

/// Flags of the scopes inside the own namespace.
#[derive(Args, Clone, Debug)]
pub(super) struct ScopeArgs {
    /// Also count sockets of tcpstat's own namespace by cgroup (v2), each as a scope: a unit such as *.service, or a
    /// path such as /system.slice/*, with commas between; needs a tracer
    #[arg(
        long = "cgroups",
        value_name = "GLOB",
        env = "TCPSTAT_CGROUPS",
        value_delimiter = ',',
        value_parser = values::parsed::<CgroupPattern>,
        help_heading = "Scopes"
    )]
    cgroups: Vec<CgroupPattern>,

    /// Also count sockets of tcpstat's own namespace by local port, each as a scope: a list such as
    /// 80,443,8000-8010; needs a tracer
    #[arg(
        long = "ports",
        value_name = "LIST",
        env = "TCPSTAT_PORTS",
        value_delimiter = ',',
        value_parser = values::parsed::<PortRange>,
        help_heading = "Scopes"
    )]
    ports: Vec<PortRange>,
}

/// A port, or a range of ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PortRange(pub(super) RangeInclusive<u16>);

/// Why a text is no port and no range of ports.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(super) enum PortRangeError {
    #[error("write a port from 1 to 65535, or a range such as 8000-8010")]
    NotAPort,
    #[error("the first port of a range is above the last one")]
    Reversed,
}

impl FromStr for PortRange {
    type Err = PortRangeError;

    fn from_str(text: &str) -> Result<Self, PortRangeError> {
        let port = |text: &str| match text.trim().parse::<u16>() {
            Ok(port) if port != 0 => Ok(port),
            _ => Err(PortRangeError::NotAPort),
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (port(first)?, port(last)?);
        if first > last {
            return Err(PortRangeError::Reversed);
        }
        Ok(Self(first..=last))
    }
}

impl ScopeArgs {
    /// Whether cgroups are asked for.
    pub(super) fn cgroups(&self) -> bool {
        !self.cgroups.is_empty()
    }

    /// What the tracer has to count in the namespace that `netns` chooses and `procfs` lists; `None` for nothing. A
    /// kind that is impossible here is off, with one line in the log.
    ///
    /// # Errors
    /// A port that the kernel gives to any socket.
    pub(super) fn scopes(
        &self,
        procfs: &Procfs,
        netns: &NetnsArgs,
    ) -> anyhow::Result<Option<OwnScopes>> {
        let ports = self.ports(procfs, netns)?;
        let cgroups = if self.cgroups.is_empty() {
            None
        } else if procfs.lists_own_namespace() {
            match CgroupHierarchy::find() {
                Ok(hierarchy) => {
                    if !hierarchy.is_whole() {
                        warn!(
                            "--cgroups: {} does not show all cgroups of the host, because tcpstat is in a cgroup namespace: those it does not show count in `other`; share the host's cgroup namespace (docker run --cgroupns=host, cgroup: host in a compose file), or mount its /sys/fs/cgroup",
                            hierarchy.root().display()
                        );
                    }
                    Some((self.cgroups.clone(), hierarchy))
                }
                Err(error) => {
                    warn!("--cgroups is off: {error}");
                    None
                }
            }
        } else {
            warn!(
                "--cgroups is off: the iterator does not list the network namespace that is counted, because it is not that of this process"
            );
            None
        };
        let scopes = OwnScopes { cgroups, ports, max: netns.scopes_max };
        Ok(scopes.kinds().any().then_some(scopes))
    }

    /// # Errors
    /// More ports than `--scopes-max`.
    pub(super) fn check(&self, netns: &NetnsArgs) -> Result<(), clap::Error> {
        let (ports, max) = (self.listed_ports().len(), netns.scopes_max);
        if ports > max as usize {
            let remedy = format!(
                "--ports: {ports} ports, and at most {max} are counted: list fewer, or raise --scopes-max"
            );
            return Err(contradiction(&remedy));
        }
        Ok(())
    }

    /// Each port once.
    fn listed_ports(&self) -> Vec<u16> {
        let mut ports: Vec<u16> = self.ports.iter().flat_map(|range| range.0.clone()).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    fn ports(&self, procfs: &Procfs, netns: &NetnsArgs) -> anyhow::Result<Vec<u16>> {
        let ports = self.listed_ports();
        if ports.is_empty() {
            return Ok(ports);
        }
        match procfs.automatic_ports() {
            Ok(automatic) => check(&ports, &automatic)?,
            Err(error) => warn!("{}", unchecked(&error, &netns.netns)),
        }
        Ok(ports)
    }
}

/// The line that says why it is unknown which ports the kernel gives to any socket.
fn unchecked(error: &ProcfsError, netns: &NetnsChoice) -> String {
    let reason = match (error, netns) {
        (ProcfsError::ForeignNamespace { .. }, NetnsChoice::Path(path)) => format!(
            "a process reads net.ipv4.ip_local_port_range of its own network namespace only; for this one use \
             `nsenter --net={} sysctl net.ipv4.ip_local_port_range`",
            path.display()
        ),
        _ => error.to_string(),
    };
    format!(
        "--ports: tcpstat cannot check that the kernel gives these ports to no other socket: {reason}"
    )
}

/// Above so many characters a list is not written: an error that is cut would be a wrong remedy.
const MAX_LIST: usize = 600;

/// Refuses a port that the kernel may give to any socket that asks for none.
fn check(ports: &[u16], automatic: &AutomaticPorts) -> anyhow::Result<()> {
    let refused: Vec<_> = ports.iter().copied().filter(|&port| automatic.contains(port)).collect();
    let Some((first, others)) = refused.split_first() else { return Ok(()) };
    let others =
        if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
    let range = Range(automatic.range());
    let reserved = automatic.reserved();
    let list = reserved.with(&refused).to_string();
    let remedy = if list.len() > MAX_LIST {
        "reserve them in net.ipv4.ip_local_reserved_ports, besides those that are reserved now"
            .to_owned()
    } else {
        format!(
            "reserve with: sysctl -w net.ipv4.ip_local_reserved_ports={list}{}",
            kept(&reserved)
        )
    };
    bail!(
        "--ports: the kernel gives port {first}{others} to any socket that asks for none: it is in \
         net.ipv4.ip_local_port_range ({range}); {remedy}"
    )
}

/// Logs the patterns of cgroups that are counted and do not exist.
pub(super) fn log_unmatched(scopes: &OwnScopes) {
    let Some((patterns, hierarchy)) = &scopes.cgroups else { return };
    for pattern in unmatched(patterns, hierarchy.paths().values()) {
        info!("--cgroups: no cgroup fits {pattern} now; one that comes later is counted");
    }
}

/// The patterns that fit none of `paths`.
fn unmatched<'a, 'b>(
    patterns: &'a [CgroupPattern],
    paths: impl Iterator<Item = &'b Arc<str>> + Clone,
) -> impl Iterator<Item = &'a CgroupPattern> {
    patterns.iter().filter(move |pattern| !paths.clone().any(|path| pattern.fits(path)))
}

/// The setting replaces the list, so it also has what is reserved already.
fn kept(reserved: &PortList) -> &'static str {
    if reserved.is_empty() { "" } else { " (the list keeps the ports that are reserved now)" }
}

struct Range<'a>(&'a RangeInclusive<u16>);

impl fmt::Display for Range<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0.start(), self.0.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_that_fits_no_cgroup_is_found() {
        let paths = ["/", "/system.slice", "/system.slice/nginx.service"].map(Arc::from);
        let patterns = ["*.service", "ngnix.service", "/system.slice/*", "/kubepods/**", "/"]
            .map(|pattern| pattern.parse().unwrap());
        let found: Vec<_> = unmatched(&patterns, paths.iter()).map(ToString::to_string).collect();
        assert_eq!(found, ["ngnix.service", "/kubepods/**"]);
    }

    #[test]
    fn a_list_has_ports_and_ranges() {
        assert_eq!("443".parse(), Ok(PortRange(443..=443)));
        assert_eq!("8000-8010".parse(), Ok(PortRange(8000..=8010)));
        for text in ["", "0", "65536", "http", "80-", "-80", "0-5", "1-2-3"] {
            assert_eq!(text.parse::<PortRange>(), Err(PortRangeError::NotAPort), "{text}");
        }
        assert_eq!("90-80".parse::<PortRange>(), Err(PortRangeError::Reversed));
    }

    #[test]
    fn a_port_that_the_kernel_chooses_is_refused_with_the_range_and_the_remedy() {
        let automatic = AutomaticPorts::new(32768..=60999, vec![32770..=32771]);
        assert!(check(&[80, 443, 32770, 32771, 61000], &automatic).is_ok());
        let refused = |ports: &[u16]| check(ports, &automatic).unwrap_err().to_string();
        assert_eq!(
            refused(&[80, 32768, 32769, 40001]),
            "--ports: the kernel gives port 32768 and 2 more to any socket that asks for none: it is in \
             net.ipv4.ip_local_port_range (32768-60999); reserve with: sysctl -w \
             net.ipv4.ip_local_reserved_ports=32768-32771,40001 (the list keeps the ports that are reserved now)"
        );
        let scattered: Vec<_> = (0..200).map(|port| 40_000 + 2 * port).collect();
        let long = refused(&scattered);
        assert!(
            long.ends_with("ip_local_reserved_ports, besides those that are reserved now"),
            "{long}"
        );
        let none = AutomaticPorts::new(32768..=60999, Vec::new());
        let refused = check(&[50000], &none).unwrap_err().to_string();
        assert!(
            refused.ends_with(" sysctl -w net.ipv4.ip_local_reserved_ports=50000"),
            "{refused}"
        );
    }

    #[test]
    fn what_cannot_be_checked_is_named_with_the_command_that_shows_it() {
        let foreign = ProcfsError::ForeignNamespace { path: "/x/7/task/8".into() };
        assert_eq!(
            unchecked(&foreign, &NetnsChoice::Path("/run/netns/blue".into())),
            "--ports: tcpstat cannot check that the kernel gives these ports to no other socket: a process reads \
             net.ipv4.ip_local_port_range of its own network namespace only; for this one use \
             `nsenter --net=/run/netns/blue sysctl net.ipv4.ip_local_port_range`"
        );
        let unmounted = ProcfsError::NotMounted { path: "/x".into() };
        let line = unchecked(&unmounted, &NetnsChoice::Own);
        assert!(line.contains("to no other socket: /x: this is not a mounted procfs"), "{line}");
    }
}
