//! The name of a network namespace, and the labels that say what it belongs to.

use super::cgroup_name::{CgroupName, Identity};
use super::label::{LONGEST_NAME, label_value};
use super::named_netns::NamedNetns;
use super::pod_names::{PodName, PodNames};
use super::pod_uid::PodUid;

/// What a network namespace belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NetnsKind {
    /// The host: all processes that have no namespace of their own.
    Host,
    /// A Kubernetes pod.
    Pod,
    /// A container, or a machine.
    Container,
    /// A name in /run/netns, or a service with a namespace of its own (`PrivateNetwork=`).
    Named,
    /// Nothing that is known: the name is the inode.
    Unnamed,
}

impl NetnsKind {
    /// The value of the label `kind`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Pod => "pod",
            Self::Container => "container",
            Self::Named => "named",
            Self::Unnamed => "unnamed",
        }
    }
}

/// The name of a network namespace and its labels. All texts are label values; those that do not apply
/// are empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetnsName {
    /// `host`, `NAMESPACE/POD`, the UID of a pod whose name is not known, the short ID or the name of a
    /// container, an `ip netns` name, the name of a machine or of a service, else the inode. `OUTER/` comes
    /// before it for what is in another container, and `user-UID/` for what a user's systemd runs. At most
    /// [`LONGEST_NAME`] characters and `...`.
    ///
    /// Two namespaces can have the same: [`UniqueNames`](super::UniqueNames) makes label values of it.
    pub name: String,
    /// What it belongs to.
    pub kind: NetnsKind,
    /// The number of the namespace's inode; 0 if it is not known.
    pub inode: u64,
    /// The namespace of the pod, in the sense of Kubernetes. This, `pod` and `pod_uid` are filled in for pods
    /// of the host's own kubelet, and for containers in these.
    pub namespace: String,
    /// Its name.
    pub pod: String,
    /// Its UID.
    pub pod_uid: String,
    /// The whole ID or the name of the container, or the name of the machine. Empty for a pod, whose
    /// containers share the namespace.
    pub container: String,
    /// The cgroup path of the pod or container, else that of a process.
    pub cgroup: String,
}

impl NetnsName {
    /// The host's network namespace.
    #[must_use]
    pub fn host(inode: u64) -> Self {
        Self { name: "host".into(), kind: NetnsKind::Host, ..Self::unnamed(inode) }
    }

    /// The number of the inode, if it is known.
    #[must_use]
    pub fn known_inode(&self) -> Option<u64> {
        (self.inode != 0).then_some(self.inode)
    }

    /// Whether `name` is its name, or its name and inode number as [`UniqueNames`](super::UniqueNames) joins them.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        let inode = name.strip_prefix(&self.name).and_then(|rest| rest.strip_prefix('@'));
        name == self.name || inode.is_some_and(|inode| inode.parse() == Ok(self.inode))
    }

    /// The network namespace with this inode, given what the cgroups of the processes in it say, in any
    /// order.
    ///
    /// Processes of several containers can be in one namespace. It belongs to the least nested of them: a
    /// container within another one can join the outer one's namespace. Among equals, a pod comes before a
    /// container, a container before a machine, and then the first path by its bytes, so that the name does
    /// not depend on the order.
    ///
    /// The name of a service is given only where every process belongs to a service or to a login session: in a
    /// namespace that something else made, a process of a service is a guest.
    #[must_use]
    pub fn new<'a>(
        inode: u64,
        cgroups: impl IntoIterator<Item = &'a CgroupName>,
        named: &NamedNetns,
        pods: &PodNames,
    ) -> Self {
        let mut netns = Self::unnamed(inode);
        let cgroups: Vec<_> = cgroups.into_iter().collect();
        let of_services = cgroups.iter().all(|cgroup| of_service(cgroup));
        let owner = cgroups.into_iter().min_by_key(|cgroup| rank(cgroup));
        if let Some(owner) = owner {
            netns.cgroup.clone_from(&owner.path);
        }
        let identity = owner.and_then(identity);
        if let (Some(owner), Some(identity)) = (owner, identity) {
            netns.belongs_to(owner, identity, pods);
        }
        let is_machine = matches!(identity, Some(Identity::Machine { .. }));
        if identity.is_none() || is_machine {
            if let Some(name) = named.get(inode) {
                netns.take_name(name, NetnsKind::Named);
            } else if let Some(service) =
                owner.filter(|_| of_services && !is_machine).and_then(service)
            {
                netns.take_name(service, NetnsKind::Named);
            }
        }
        netns
    }

    /// A network namespace without processes, which the tracer knows by its key: a socket, a mount or a thread
    /// keeps it alive. Its name is `cookie-KEY`, its inode 0.
    #[must_use]
    pub fn without_process(key: u64) -> Self {
        Self { name: format!("cookie-{key}"), ..Self::unnamed(0) }
    }

    /// The same as [`Self::new`] for a namespace whose inode number cannot be read: where the name would be
    /// that, it is `procfs-TABLE`, with the inode number of the file net/tcp that lists the namespace. The
    /// inode is 0.
    #[must_use]
    pub fn without_inode<'a>(
        table: u64,
        cgroups: impl IntoIterator<Item = &'a CgroupName>,
        pods: &PodNames,
    ) -> Self {
        let mut netns = Self::new(0, cgroups, &NamedNetns::default(), pods);
        if netns.kind == NetnsKind::Unnamed {
            netns.name = format!("procfs-{table}");
        }
        netns
    }

    fn unnamed(inode: u64) -> Self {
        Self {
            name: inode.to_string(),
            kind: NetnsKind::Unnamed,
            inode,
            namespace: String::new(),
            pod: String::new(),
            pod_uid: String::new(),
            container: String::new(),
            cgroup: String::new(),
        }
    }

    fn belongs_to(&mut self, owner: &CgroupName, identity: &Identity, pods: &PodNames) {
        let host_pod = host_pod(owner);
        let pod_name = host_pod.and_then(|uid| pods.get(uid));
        let mut parts = Vec::new();
        parts.extend(owner.user.map(|user| format!("user-{user}")));
        parts.extend(owner.outer.as_ref().map(|outer| short_name(outer, pod_name)));
        parts.extend(owner.inner.as_ref().map(|inner| short_name(inner, None)));
        let (kind, container) = match identity {
            Identity::Pod { .. } => (NetnsKind::Pod, ""),
            Identity::Container { id, .. } => (NetnsKind::Container, id.as_str()),
            Identity::Machine { name, .. } => (NetnsKind::Container, name.as_str()),
        };
        self.take_name(&parts.join("/"), kind);
        self.container = label_value(container.as_bytes(), LONGEST_NAME);
        host_pod.map_or("", PodUid::as_str).clone_into(&mut self.pod_uid);
        if let Some(pod) = pod_name {
            self.namespace.clone_from(&pod.namespace);
            self.pod.clone_from(&pod.name);
        }
    }

    fn take_name(&mut self, name: &str, kind: NetnsKind) {
        self.name = label_value(name.as_bytes(), LONGEST_NAME);
        self.kind = kind;
    }
}

/// The identity that a process in a namespace shows it to belong to: not that of a container that the
/// process watches over from outside.
fn identity(cgroup: &CgroupName) -> Option<&Identity> {
    cgroup.identity().filter(|_| !cgroup.monitor)
}

/// The service whose namespace it can be. One of a user is none: the user chose its name.
fn service(cgroup: &CgroupName) -> Option<&str> {
    let unit = cgroup.unit.as_ref().filter(|unit| unit.is_service() && cgroup.user.is_none());
    unit.filter(|_| !cgroup.monitor).map(super::UnitName::as_str)
}

/// Whether a process can be in the namespace of a service: it belongs to one, watches over a container, or a person at a
/// login looks in (`nsenter`).
fn of_service(cgroup: &CgroupName) -> bool {
    let of_login = || cgroup.path.split('/').any(|part| part == "user.slice");
    cgroup.monitor || service(cgroup).is_some() || of_login()
}

/// The lowest is the one whose name a namespace gets.
fn rank(cgroup: &CgroupName) -> (bool, usize, u8, bool, &str) {
    let identity = identity(cgroup);
    let kind = match identity {
        Some(Identity::Pod { .. }) => 0,
        Some(Identity::Container { .. }) => 1,
        Some(Identity::Machine { .. }) | None => 2,
    };
    (identity.is_none(), cgroup.depth(), kind, service(cgroup).is_none(), &cgroup.path)
}

/// The UID of the pod that a process belongs to, where the host's own kubelet runs it: below a user or a
/// container the UID is what they chose, and can be that of another pod.
fn host_pod(cgroup: &CgroupName) -> Option<&PodUid> {
    match &cgroup.outer {
        Some(Identity::Pod { uid, .. }) if cgroup.user.is_none() => Some(uid),
        _ => None,
    }
}

fn short_name(identity: &Identity, pod: Option<&PodName>) -> String {
    match (identity, pod) {
        (Identity::Pod { .. }, Some(pod)) => format!("{}/{}", pod.namespace, pod.name),
        (Identity::Pod { uid, .. }, None) => uid.as_str().to_owned(),
        (Identity::Container { id, .. }, _) => id.short().to_owned(),
        (Identity::Machine { name, .. }, _) => name.clone(),
    }
}

#[cfg(test)]
mod tests;
