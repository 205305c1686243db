//! Container runtimes, and the prefixes that they give to the cgroups of their containers.

use super::container_id::ContainerId;

/// What made a container or machine, where the name of its cgroup shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the name of the runtime")]
pub enum Runtime {
    Docker,
    /// containerd, by way of the CRI or of nerdctl.
    Containerd,
    CriO,
    Podman,
    BuildKit,
    Runc,
    Crun,
    /// Apptainer or Singularity.
    Apptainer,
    Kata,
    /// LXC, LXD or Incus.
    Lxc,
    Nspawn,
    Libvirt,
    /// QEMU without libvirt, as Proxmox VE runs it.
    Qemu,
    /// Cloud Foundry's Garden.
    Garden,
    Nomad,
    Mesos,
    /// The agent of Amazon ECS, on EC2 or Fargate.
    Ecs,
}

impl Runtime {
    /// The runtime's word in reports.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Containerd => "containerd",
            Self::CriO => "cri-o",
            Self::Podman => "podman",
            Self::BuildKit => "buildkit",
            Self::Runc => "runc",
            Self::Crun => "crun",
            Self::Apptainer => "apptainer",
            Self::Kata => "kata",
            Self::Lxc => "lxc",
            Self::Nspawn => "nspawn",
            Self::Libvirt => "libvirt",
            Self::Qemu => "qemu",
            Self::Garden => "garden",
            Self::Nomad => "nomad",
            Self::Mesos => "mesos",
            Self::Ecs => "ecs",
        }
    }
}

/// Prefixes before the ID, the longer before those that they begin with. The ID is hexadecimal.
const BEFORE_AN_ID: [(&str, Runtime); 8] = [
    ("cri-containerd-", Runtime::Containerd),
    ("containerd-", Runtime::Containerd),
    ("nerdctl-", Runtime::Containerd),
    ("docker-", Runtime::Docker),
    ("crio-", Runtime::CriO),
    ("libpod-payload-", Runtime::Podman),
    ("libpod-", Runtime::Podman),
    ("kata_", Runtime::Kata),
];

/// Prefixes before a name, in scopes alone.
const BEFORE_A_NAME: [(&str, Runtime); 5] = [
    ("runc-", Runtime::Runc),
    ("crun-", Runtime::Crun),
    ("apptainer-", Runtime::Apptainer),
    ("singularity-oci-", Runtime::Apptainer),
    ("singularity-", Runtime::Apptainer),
];

/// The processes that watch over a container from outside have cgroups with these prefixes.
const MONITORS: [&str; 2] = ["crio-conmon-", "libpod-conmon-"];

/// The container that the name of a directory is for, by its prefix: `docker-ID.scope`, `crio-ID`,
/// `PREFIX-ID.scope` of an unknown runtime where the ID has 64 digits.
pub(super) fn prefixed(directory: &str) -> Option<(ContainerId, Option<Runtime>)> {
    let scope = directory.strip_suffix(".scope");
    let name = scope.unwrap_or(directory);
    for (prefix, runtime) in BEFORE_AN_ID {
        if let Some(id) = name.strip_prefix(prefix).and_then(ContainerId::parse_hex) {
            return Some((id, Some(runtime)));
        }
    }
    let scope = scope?;
    for (prefix, runtime) in BEFORE_A_NAME {
        if let Some(id) = scope.strip_prefix(prefix).and_then(ContainerId::parse) {
            return Some((id, Some(runtime)));
        }
    }
    let id = scope.rsplit_once('-').map_or(scope, |(_, id)| id);
    Some((ContainerId::parse_certain(id)?, None))
}

/// Whether the name of a directory is for the process that watches over a container.
pub(super) fn is_monitor(directory: &str) -> bool {
    MONITORS.iter().any(|prefix| directory.starts_with(prefix))
}

/// The runtime of a prefix as OCI runtimes write it in `SLICE:PREFIX:ID`.
pub(super) fn by_prefix(prefix: &str) -> Option<Runtime> {
    let mut known = BEFORE_AN_ID.iter().chain(&BEFORE_A_NAME);
    known.find(|(known, _)| known.strip_suffix('-') == Some(prefix)).map(|&(_, runtime)| runtime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_prefix_hides_a_longer_one() {
        for table in [&BEFORE_AN_ID[..], &BEFORE_A_NAME] {
            for (at, (prefix, _)) in table.iter().enumerate() {
                let hidden = table[..at].iter().any(|(earlier, _)| prefix.starts_with(earlier));
                assert!(!hidden, "{prefix}");
            }
        }
    }

    #[test]
    fn a_name_that_only_looks_like_a_container_is_none() {
        let id = "c".repeat(64);
        for directory in [
            "docker-compose.scope",
            "docker-.scope",
            "runc-.scope",
            "session-3.scope",
            "podman-6696.scope",
            "crun-web",
            "app-docker-desktop.scope",
            &format!("var-lib-docker-containers-{id}-mounts-shm.mount"),
            &format!("other-{id}"),
            &format!("libpod-conmon-{id}"),
        ] {
            assert_eq!(prefixed(directory), None, "{directory}");
        }
        assert_eq!(prefixed(&format!("new-runtime-{id}.scope")).unwrap().1, None);
    }

    #[test]
    fn a_monitor_is_no_container() {
        let id = "c".repeat(64);
        assert!(is_monitor(&format!("crio-conmon-{id}.scope")));
        assert!(!is_monitor(&format!("crio-{id}.scope")));
    }
}
