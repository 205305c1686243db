//! What the name of one directory says, given the directory that it is in.

use super::container_id::ContainerId;
use super::pod_uid::{PodUid, is_hex, is_uuid};
use super::runtime::{self, Runtime};
use super::unit::{self, UnitName};

/// What a directory is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A pod.
    Pod(PodUid),
    /// A pod's container, in one directory.
    PodContainer(PodUid, ContainerId, Option<Runtime>),
    Container(ContainerId, Option<Runtime>),
    /// A container with an init system, or a virtual machine.
    Machine(String, Option<Runtime>),
    /// The process that watches over a container from outside: not one within a container that has given
    /// itself such a cgroup.
    Monitor,
    /// The process that watches over the machine whose directory this is in.
    Supervisor,
    /// The systemd manager of a user, who chooses all names below it.
    User(u32),
    Unit(UnitName),
    /// Anything else.
    Other,
}

/// Where a directory is, as far as that decides what its name means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the root of the hierarchy.
    Root,
    /// Next to the reader's own cgroup, or above it.
    Reader,
    /// In the cgroup of a container or machine.
    Inside,
    /// In the cgroup of a unit.
    Unit,
    /// In `kubepods` or one of its classes of service.
    Kubepods,
    /// In the cgroup of a pod.
    Pod,
    Docker,
    /// In the directory of a containerd namespace.
    Containerd,
    BuildKit,
    Ecs,
    Garden,
    Nomad,
    Mesos,
    Lxc,
    LxcMonitor,
    /// In the cgroup of `systemd-nspawn@.service`.
    Nspawn,
    Qemu,
    /// In any other directory.
    Other,
}

/// What `name` means in `place`.
pub(super) fn meaning(name: &str, place: Place) -> Meaning {
    pod(name, place)
        .or_else(|| runtime::is_monitor(name).then_some(Meaning::Monitor))
        .or_else(|| runtime::prefixed(name).map(|(id, runtime)| Meaning::Container(id, runtime)))
        .or_else(|| by_place(name, place))
        .or_else(|| machine(name))
        .or_else(|| user(name).map(Meaning::User))
        .or_else(|| UnitName::parse(name).map(Meaning::Unit))
        .unwrap_or(Meaning::Other)
}

impl Place {
    /// Where the directories in `name` are, which is in `self` and means `meaning`.
    pub(super) fn below(self, name: &str, meaning: &Meaning) -> Self {
        match meaning {
            Meaning::Pod(_) => Self::Pod,
            Meaning::Machine(_, Some(Runtime::Nspawn)) => Self::Nspawn,
            Meaning::PodContainer(..) | Meaning::Container(..) | Meaning::Machine(..) => {
                Self::Inside
            }
            Meaning::Unit(_) | Meaning::User(_) | Meaning::Monitor | Meaning::Supervisor => {
                Self::Unit
            }
            Meaning::Other => self.below_other(name),
        }
    }

    fn below_other(self, name: &str) -> Self {
        let is_top = matches!(self, Self::Root | Self::Reader);
        match name {
            ".." => Self::Reader,
            "burstable" | "besteffort" | "guaranteed" if is_top => Self::Kubepods,
            "docker" => Self::Docker,
            "buildkit" => Self::BuildKit,
            "lxc" | "lxc.payload" if is_top || self == Self::Inside => Self::Lxc,
            "lxc.monitor" if is_top || self == Self::Inside => Self::LxcMonitor,
            "garden" if is_top || self == Self::Unit => Self::Garden,
            "default" | "k8s.io" | "moby" if self == Self::Root => Self::Containerd,
            "ecs" if is_top => Self::Ecs,
            "mesos" if is_top => Self::Mesos,
            "nomad" | "nomad.slice" if is_top => Self::Nomad,
            "qemu.slice" if is_top => Self::Qemu,
            _ if is_kubepods(name) => Self::Kubepods,
            // Parts between the directory and the containers in it.
            _ if matches!(self, Self::Kubepods | Self::Ecs | Self::Garden | Self::Nomad) => self,
            "payload" if self == Self::Nspawn => Self::Inside,
            _ if self == Self::Inside => Self::Inside,
            _ => Self::Other,
        }
    }
}

/// Whether the directory holds pods or classes of service: `kubepods`, `kubepods-burstable.slice`, with the
/// slices of a `--cgroup-root` before it.
fn is_kubepods(name: &str) -> bool {
    let name = name.strip_suffix(".slice").unwrap_or(name);
    after_kubepods(name).is_some_and(|class| matches!(class, "" | "-burstable" | "-besteffort"))
}

/// What follows `kubepods` as a part of its own.
fn after_kubepods(name: &str) -> Option<&str> {
    let at = name.find("kubepods")?;
    (at == 0 || name[..at].ends_with('-')).then(|| &name[at + "kubepods".len()..])
}

fn pod(name: &str, place: Place) -> Option<Meaning> {
    // An OCI runtime without systemd that gets the path for systemd takes it as one name.
    let mut parts = name.splitn(3, ':');
    if let (Some(slice), Some(prefix), Some(id)) = (parts.next(), parts.next(), parts.next()) {
        let id = ContainerId::parse(id.strip_suffix(".scope").unwrap_or(id))?;
        let runtime = runtime::by_prefix(prefix);
        return match pod_slice(slice) {
            Some(uid) => Some(Meaning::PodContainer(uid, id, runtime)),
            None if slice.strip_suffix(".slice").is_some() && runtime.is_some() => {
                Some(Meaning::Container(id, runtime))
            }
            None => None,
        };
    }
    if let Some(uid) = pod_slice(name) {
        return Some(Meaning::Pod(uid));
    }
    let uid = name.strip_prefix("pod")?;
    let uid = match place {
        Place::Kubepods => PodUid::parse(uid),
        _ => PodUid::parse_certain(uid),
    };
    uid.map(Meaning::Pod)
}

/// The UID in `kubepods-burstable-podUID.slice`. Some versions left the ending out.
fn pod_slice(name: &str) -> Option<PodUid> {
    let class = after_kubepods(name.strip_suffix(".slice").unwrap_or(name))?;
    let classes = ["-burstable", "-besteffort", "-guaranteed"];
    let class = classes.iter().find_map(|known| class.strip_prefix(known)).unwrap_or(class);
    class.strip_prefix("-pod").and_then(PodUid::parse_slice)
}

/// What only the directory around it makes a container or a machine.
fn by_place(name: &str, place: Place) -> Option<Meaning> {
    let container = |runtime| ContainerId::parse(name).map(|id| Meaning::Container(id, runtime));
    let certain = |runtime| {
        let id = ContainerId::parse_certain(name.strip_suffix(".scope").unwrap_or(name))?;
        Some(Meaning::Container(id, runtime))
    };
    match place {
        Place::Pod => certain(None).or_else(|| {
            // Older runtimes gave UUIDs, and Fargate a task and a number.
            let known = is_uuid(name, b'-') || is_task_and_number(name);
            known.then(|| container(None)).flatten()
        }),
        Place::Docker => certain(Some(Runtime::Docker)).or_else(|| {
            let step = is_build_step(name);
            step.then(|| container(Some(Runtime::BuildKit))).flatten()
        }),
        Place::Ecs => certain(Some(Runtime::Ecs))
            .or_else(|| is_task_and_number(name).then(|| container(Some(Runtime::Ecs))).flatten()),
        Place::Garden if !matches!(name, "good" | "bad") => container(Some(Runtime::Garden)),
        Place::Nomad => nomad(name),
        Place::Mesos => container(Some(Runtime::Mesos)),
        Place::Containerd => container(Some(Runtime::Containerd)),
        Place::BuildKit => container(Some(Runtime::BuildKit)),
        Place::Lxc => is_name(name).then(|| Meaning::Machine(name.into(), Some(Runtime::Lxc))),
        Place::LxcMonitor => Some(Meaning::Monitor),
        Place::Nspawn if name == "supervisor" => Some(Meaning::Supervisor),
        Place::Qemu => {
            let id = name.strip_suffix(".scope").filter(|id| is_name(id))?;
            Some(Meaning::Machine(id.into(), Some(Runtime::Qemu)))
        }
        _ => certain(None),
    }
}

/// `TASK-NUMBER` of Fargate, the task with 32 digits.
fn is_task_and_number(name: &str) -> bool {
    name.split_once('-').is_some_and(|(task, number)| {
        let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        is_hex(task, 32) && digits
    })
}

/// The ID of a step of a build: 25 letters and digits.
fn is_build_step(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.len() == 25 && name.bytes().all(fits)
}

/// `ALLOCATION.TASK` of Nomad.
fn nomad(name: &str) -> Option<Meaning> {
    let name = name.strip_suffix(".scope").unwrap_or(name);
    let allocation = name.split_once('.').map_or(name, |(allocation, _)| allocation);
    let id = is_uuid(allocation, b'-').then(|| ContainerId::parse(name)).flatten()?;
    Some(Meaning::Container(id, Some(Runtime::Nomad)))
}

/// Machines whose directory has its own form, wherever it is.
fn machine(name: &str) -> Option<Meaning> {
    let machine = |name: &str, runtime| Some(Meaning::Machine(name.to_owned(), runtime));
    if let Some(name) = name.strip_prefix("lxc.payload.").filter(|name| is_name(name)) {
        return machine(name, Some(Runtime::Lxc));
    }
    if name.starts_with("lxc.monitor.") {
        return Some(Meaning::Monitor);
    }
    if let Some(name) = name.strip_suffix(".libvirt-qemu").or(name.strip_suffix(".libvirt-lxc")) {
        let name = without_libvirt_id(name).unwrap_or(name);
        return is_name(name).then(|| machine(name, Some(Runtime::Libvirt))).flatten();
    }
    if let Some(escaped) = name.strip_prefix("systemd-nspawn@") {
        let name = unescaped(escaped.strip_suffix(".service")?)?;
        return machine(&name, Some(Runtime::Nspawn));
    }
    let name = unescaped(name.strip_prefix("machine-")?.strip_suffix(".scope")?)?;
    match without_libvirt_id(&name) {
        Some(name) if is_name(name) => machine(name, Some(Runtime::Libvirt)),
        _ => machine(&name, None),
    }
}

/// The name of a domain: libvirt puts the driver and a number before it, which each start increases.
fn without_libvirt_id(name: &str) -> Option<&str> {
    let rest = name.strip_prefix("qemu-").or_else(|| name.strip_prefix("lxc-"))?;
    let (number, name) = rest.split_once('-')?;
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    digits.then_some(name)
}

fn unescaped(name: &str) -> Option<String> {
    unit::unescape(name).filter(|name| is_name(name))
}

/// Whether it can be the name of a machine: not empty, in one directory, without control characters.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c == '/' || c.is_control())
}

/// The number of the user of `user@UID.service`.
fn user(name: &str) -> Option<u32> {
    name.strip_prefix("user@")?.strip_suffix(".service")?.parse().ok()
}
