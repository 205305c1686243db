//! Real containers, run by runc: with the cgroup paths that a kubelet or docker gives them, and a resident in
//! each.

use std::env;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cgroups::remove_cgroup;
use crate::deadline::{DEADLINE, Progress, wait_until};
use crate::resident::{self, Resident};

/// Where a container finds the program of the test.
const PROGRAM: &str = "/program";

/// The libraries of this machine, for the program: the root of a container is empty.
const LIBRARIES: [&str; 3] = ["/lib", "/lib64", "/usr/lib"];

/// Who makes the container's cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Maker {
    /// A kubelet with the cgroup driver `cgroupfs`, for the pod of this UID.
    Kubelet(String),
    /// One with the driver `systemd` and containerd.
    KubeletWithSystemd(String),
    /// docker with the driver `cgroupfs`.
    Docker,
    /// docker with the driver `systemd`.
    DockerWithSystemd,
}

impl Maker {
    /// The UID of the pod.
    #[must_use]
    pub fn pod_uid(&self) -> Option<&str> {
        match self {
            Self::Kubelet(uid) | Self::KubeletWithSystemd(uid) => Some(uid),
            Self::Docker | Self::DockerWithSystemd => None,
        }
    }

    /// The path of the pod's cgroup, or that of a container without a pod.
    fn scope_path(&self, id: &str) -> String {
        match self {
            Self::Kubelet(uid) => format!("/kubepods/burstable/pod{uid}"),
            Self::KubeletWithSystemd(uid) => {
                let slice = format!("kubepods-burstable-pod{}.slice", uid.replace('-', "_"));
                format!("/kubepods.slice/kubepods-burstable.slice/{slice}")
            }
            Self::Docker => format!("/docker/{id}"),
            Self::DockerWithSystemd => format!("/system.slice/docker-{id}.scope"),
        }
    }

    fn cgroup(&self, id: &str) -> String {
        let path = self.scope_path(id);
        match self {
            Self::Kubelet(_) => format!("{path}/{id}"),
            Self::KubeletWithSystemd(_) => format!("{path}/cri-containerd-{id}.scope"),
            Self::Docker | Self::DockerWithSystemd => path,
        }
    }
}

/// A running container. Dropping it ends and removes it, with its cgroups.
#[derive(Debug)]
pub struct Container {
    /// Its first process.
    pub resident: Resident,
    id: String,
    maker: Maker,
    folder: TempDir,
}

impl Container {
    /// Runs one with a network namespace of its own.
    ///
    /// # Errors
    /// Fails when runc does, or when it is missing.
    pub fn run(maker: Maker) -> Result<Self> {
        Self::run_with(maker, &json!({ "type": "network" }))
    }

    /// Runs one in the network namespace of another, as the containers of a pod are.
    ///
    /// # Errors
    /// As [`Container::run`].
    pub fn beside(&self) -> Result<Self> {
        let network = json!({ "type": "network", "path": self.resident.namespace_file() });
        Self::run_with(self.maker.clone(), &network)
    }

    /// Its ID: 64 hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Who makes its cgroup.
    #[must_use]
    pub fn maker(&self) -> &Maker {
        &self.maker
    }

    /// The path of its pod's cgroup, or without a pod its own.
    #[must_use]
    pub fn scope_path(&self) -> String {
        self.maker.scope_path(&self.id)
    }

    fn run_with(maker: Maker, network: &Value) -> Result<Self> {
        let (folder, id) = (tempfile::tempdir()?, random_digits(64));
        let bundle = folder.path().join("bundle");
        fs::create_dir_all(bundle.join("rootfs"))?;
        let config = config(&maker.cgroup(&id), network)?;
        fs::write(bundle.join("config.json"), config.to_string())?;
        let pid_file = folder.path().join("pid");
        let mut command = runc(folder.path());
        command.arg("run").arg("--bundle").arg(&bundle).arg("--pid-file").arg(&pid_file).arg(&id);
        let mut resident = Resident::run(&mut command).context("run a container by runc")?;
        resident.set_pid(read_pid(&pid_file)?);
        Ok(Self { resident, id, maker, folder })
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // runc removes the container at the end of its process. If it does not end, runc ends it.
        if let Err(error) = self.resident.await_end() {
            eprintln!("container {}: {error:#}", self.id);
            let mut delete = runc(self.folder.path());
            let _ = delete.args(["delete", "--force"]).arg(&self.id).status();
        }
        // runc leaves the parents.
        remove_cgroup(&self.maker.cgroup(&self.id));
    }
}

/// A UID as the API server makes them.
#[must_use]
pub fn random_uid() -> String {
    [8, 4, 4, 4, 12].map(random_digits).join("-")
}

fn runc(folder: &Path) -> Command {
    let mut command = Command::new("runc");
    command.arg("--root").arg(folder.join("state")).stderr(Stdio::inherit());
    command
}

/// No limits, which some machines refuse to set, and no capabilities.
fn config(cgroup: &str, network: &Value) -> Result<Value> {
    let mut mounts = vec![
        json!({ "destination": "/proc", "type": "proc", "source": "proc" }),
        bind(&env::current_exe()?, Path::new(PROGRAM)),
    ];
    let libraries = LIBRARIES.map(Path::new).into_iter().filter(|folder| folder.is_dir());
    mounts.extend(libraries.map(|folder| bind(folder, folder)));
    let mut namespaces =
        ["pid", "ipc", "uts", "mount"].map(|kind| json!({ "type": kind })).to_vec();
    namespaces.push(network.clone());
    Ok(json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": [PROGRAM],
            "env": [format!("{}=1", resident::VARIABLE)],
            "cwd": "/",
            "noNewPrivileges": true,
        },
        "root": { "path": "rootfs" },
        "mounts": mounts,
        "linux": { "cgroupsPath": cgroup, "namespaces": namespaces },
    }))
}

fn bind(source: &Path, destination: &Path) -> Value {
    json!({
        "source": source,
        "destination": destination,
        "type": "bind",
        "options": ["rbind", "ro"],
    })
}

fn read_pid(file: &PathBuf) -> Result<u32> {
    wait_until("process id of a container", DEADLINE, || {
        let text = fs::read_to_string(file).unwrap_or_default();
        Ok(match text.trim().parse() {
            Ok(pid) => Progress::Done(pid),
            Err(_) => Progress::NotYet(text),
        })
    })
}

fn random_digits(digits: usize) -> String {
    let words = std::iter::repeat_with(|| format!("{:016x}", RandomState::new().hash_one(0)));
    let mut text: String = words.take(digits.div_ceil(16)).collect();
    text.truncate(digits);
    text
}
