//! The flags that choose the network namespaces to count.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, ValueHint, builder::TypedValueParser};

use super::{ProcfsArgs, contradiction, values};
use crate::{
    kernel::{self, Namespaces},
    procfs::Procfs,
    tracker::NetnsChoice,
};

/// The default of `--scopes-max`.
pub(super) const SCOPES_MAX: u32 = 256;

/// The default of `--path.pods`.
const PODS: &str = "/var/log/pods";

/// Flags that choose network namespaces.
#[derive(Args, Clone, Debug)]
pub(super) struct NetnsArgs {
    /// Network namespaces to count: self, the one that tcpstat runs in; all, each of the others as a scope, which is a
    /// part of the sockets that is also counted separately; or the path of one, such as /run/netns/NAME
    #[arg(
        long = "netns",
        default_value = "self",
        value_name = "WHICH",
        env = "TCPSTAT_NETNS",
        value_parser = choice(),
        value_hint = ValueHint::FilePath,
        help_heading = "Scopes"
    )]
    pub(super) netns: NetnsChoice,

    /// Directory whose entries name the Kubernetes pods of this host, NAMESPACE_NAME_UID; need not exist; only with
    /// --netns all [default: /var/log/pods]
    #[arg(
        long = "path.pods",
        value_name = "DIR",
        env = "TCPSTAT_PATH_PODS",
        value_parser = values::path(),
        value_hint = ValueHint::DirPath,
        help_heading = "Scopes"
    )]
    pods: Option<PathBuf>,

    /// Most scopes of each kind: namespaces besides tcpstat's own, cgroups, ports. The first namespaces and cgroups get
    /// them, and the rest count in the scope `other`; more ports are refused
    #[arg(
        long = "scopes-max",
        default_value_t = SCOPES_MAX,
        value_name = "NUMBER",
        env = "TCPSTAT_SCOPES_MAX",
        value_parser = values::number::<u32>(1..=4096),
        help_heading = "Scopes"
    )]
    pub(super) scopes_max: u32,
}

/// The names of pods, for commands that always name network namespaces.
#[derive(Args, Clone, Debug)]
pub(super) struct PodsArgs {
    /// Directory whose entries name the Kubernetes pods of this host, NAMESPACE_NAME_UID; need not exist
    #[arg(
        long = "path.pods",
        default_value = PODS,
        value_name = "DIR",
        env = "TCPSTAT_PATH_PODS",
        value_parser = values::path(),
        value_hint = ValueHint::DirPath,
        help_heading = "Snapshots"
    )]
    pods: PathBuf,
}

impl PodsArgs {
    /// # Errors
    /// If this exists and is not a directory.
    pub(super) fn folder(&self) -> anyhow::Result<PathBuf> {
        check_pods(&self.pods)?;
        Ok(self.pods.clone())
    }
}

impl NetnsArgs {
    /// The procfs that lists the own namespace. Enters the namespace first, if there is a path to it.
    ///
    /// # Errors
    /// Those of [`ProcfsArgs::procfs`]; if the flags contradict each other; if the namespace cannot be entered.
    pub(super) fn procfs(&self, args: &ProcfsArgs) -> anyhow::Result<Procfs> {
        let procfs = self.check(args)?;
        match &self.netns {
            NetnsChoice::Path(path) => {
                kernel::enter(path, &procfs).map_err(|error| anyhow::anyhow!("--netns {error}"))
            }
            NetnsChoice::Own | NetnsChoice::All => Ok(procfs),
        }
    }

    /// The procfs of `--path.procfs`, after a check of everything about these flags but whether the namespace can be entered.
    ///
    /// # Errors
    /// Those of [`ProcfsArgs::procfs`]; if the flags contradict each other.
    pub(super) fn check(&self, args: &ProcfsArgs) -> anyhow::Result<Procfs> {
        if self.pods.is_some() && self.netns != NetnsChoice::All {
            let remedy =
                "--path.pods: pods are named with --netns all only: add that, or leave it out";
            return Err(contradiction(remedy).into());
        }
        match &self.netns {
            NetnsChoice::Own => args.procfs(),
            NetnsChoice::All => {
                let procfs = args.procfs()?;
                check_mount(&procfs).context("--netns all")?;
                check_pods(&self.pods())?;
                Ok(procfs)
            }
            NetnsChoice::Path(path) => {
                let procfs = args.existing()?;
                check_mount(&procfs).with_context(|| format!("--netns {}", path.display()))?;
                Ok(procfs)
            }
        }
    }

    /// The directory of `--path.pods`, or its default.
    pub(super) fn pods(&self) -> PathBuf {
        self.pods.clone().unwrap_or_else(|| PODS.into())
    }

    /// The namespaces that a tracer counts.
    pub(super) fn namespaces(&self) -> Namespaces {
        match self.netns {
            NetnsChoice::All => Namespaces::All { others: self.scopes_max },
            NetnsChoice::Own | NetnsChoice::Path(_) => Namespaces::Own,
        }
    }

    /// Whether a thread enters another namespace.
    pub(super) fn enters(&self) -> bool {
        matches!(self.netns, NetnsChoice::Path(_))
    }

    /// Number of threads that these flags need.
    pub(super) fn threads(&self) -> usize {
        usize::from(self.enters())
    }
}

/// # Errors
/// If this is the directory of one process, or a folder.
fn check_mount(procfs: &Procfs) -> anyhow::Result<()> {
    if !procfs.is_mount() {
        let path = procfs.root().display();
        bail!(
            "--path.procfs {path} is not the mount point of a procfs: leave one of the flags out, or use \
             the mount point"
        );
    }
    Ok(())
}

/// # Errors
/// If this exists and is not a directory.
fn check_pods(path: &Path) -> anyhow::Result<()> {
    if path.metadata().is_ok_and(|metadata| !metadata.is_dir()) {
        bail!(
            "--path.pods {}: this is not a directory: use one whose entries are named NAMESPACE_NAME_UID, such as \
             /var/log/pods",
            path.display()
        );
    }
    Ok(())
}

fn choice() -> impl TypedValueParser<Value = NetnsChoice> {
    values::path().try_map(|path| match path.to_str() {
        Some("self") => Ok(NetnsChoice::Own),
        Some("all") => Ok(NetnsChoice::All),
        _ if path.as_os_str().as_encoded_bytes().contains(&b'/') => Ok(NetnsChoice::Path(path)),
        _ => Err("write self, all, or a path such as /run/netns/NAME or /proc/PID/ns/net"),
    })
}
