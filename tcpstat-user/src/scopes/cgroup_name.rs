//! What a cgroup path says about the process in it.

use super::cgroup_path::{self, CgroupPath};
use super::component::{Meaning, Place, meaning};
use super::container_id::ContainerId;
use super::label::{LONGEST_PATH, label_value};
use super::pod_uid::PodUid;
use super::runtime::Runtime;
use super::unit::UnitName;

/// A thing that a cgroup is made for, and that has a network namespace of its own as a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A Kubernetes pod. Its containers share one network namespace.
    Pod {
        /// The pod's UID.
        uid: PodUid,
        /// The container within the pod; none for the cgroup of the pod itself.
        container: Option<ContainerId>,
        /// The container's runtime, where the path shows it.
        runtime: Option<Runtime>,
    },
    /// A container without a pod.
    Container {
        /// Its ID, or its name with runtimes that have only that.
        id: ContainerId,
        /// Its runtime, where the path shows it.
        runtime: Option<Runtime>,
    },
    /// A container with an init system (LXC, systemd-nspawn), or a virtual machine.
    Machine {
        /// Its name, without escapes. Any characters but `/` and controls.
        name: String,
        /// What runs it, where the path shows it.
        runtime: Option<Runtime>,
    },
}

/// What a cgroup path says. Each part is empty where the path does not have it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CgroupName {
    /// The user whose systemd manager is on the path: this user chose all names below it.
    pub user: Option<u32>,
    /// The first identity on the path.
    pub outer: Option<Identity>,
    /// The last one, if there are several: a container in a container, a pod of a cluster in a container.
    /// The root of the outer one chose its name.
    pub inner: Option<Identity>,
    /// The innermost unit of the host's systemd, or of the user's, that is not one of the identities.
    pub unit: Option<UnitName>,
    /// Whether the process watches over a container from outside (conmon, the monitor of LXC): its network
    /// namespace is not the container's.
    pub monitor: bool,
    /// The path as a label value, up to the directory of the last identity, so that it is the same for all
    /// containers of a pod; the whole path where there is none. Relative to the cgroup namespace of the
    /// reader.
    pub path: String,
}

impl CgroupName {
    /// What the path in `bytes` says: the third field of a line of /proc/PID/cgroup.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        Self::of(CgroupPath::new(bytes))
    }

    /// What the text of a /proc/PID/cgroup says: the path with most identities, that of a pod first; the
    /// unified hierarchy before that of systemd, and both before the others.
    ///
    /// With cgroup v1 the hierarchies differ: containerd's service may be in one, the container in others.
    #[must_use]
    pub fn of_process(text: &[u8]) -> Self {
        Self::chosen(text).map(|(name, _)| name).unwrap_or_default()
    }

    /// The whole path that [`CgroupName::of_process`] takes, as a label value; empty if there is none.
    #[must_use]
    pub(crate) fn whole_path(text: &[u8]) -> String {
        let path = Self::chosen(text).map_or(&[][..], |(_, path)| path.bytes());
        label_value(path, LONGEST_PATH)
    }

    fn chosen(text: &[u8]) -> Option<(Self, CgroupPath<'_>)> {
        let mut best: Option<(Self, CgroupPath<'_>)> = None;
        let mut last = None;
        for path in cgroup_path::paths_of_process(text) {
            if last.replace(path) == Some(path) {
                continue;
            }
            let name = Self::of(path);
            let is_better =
                |(best, _): &(Self, _)| best.path.is_empty() || name.says() > best.says();
            if best.as_ref().is_none_or(is_better) {
                best = Some((name, path));
            }
        }
        best
    }

    /// The innermost identity.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        self.inner.as_ref().or(self.outer.as_ref())
    }

    /// How many of user, outer and inner identity the path has: each can choose the names below it.
    #[must_use]
    pub fn depth(&self) -> usize {
        [self.user.is_some(), self.outer.is_some(), self.inner.is_some()]
            .into_iter()
            .filter(|&has| has)
            .count()
    }

    fn of(path: CgroupPath<'_>) -> Self {
        let mut name = Self::default();
        let mut place = Place::Root;
        let mut end = None;
        for directory in path.directories() {
            let meaning = meaning(directory.name, place);
            place = place.below(directory.name, &meaning);
            if name.take(meaning) {
                end = Some(directory.end);
            }
        }
        let bytes = path.bytes();
        name.path = label_value(&bytes[..end.unwrap_or(bytes.len())], LONGEST_PATH);
        name
    }

    /// Adds what the next directory is for. Whether that is an identity of its own.
    fn take(&mut self, meaning: Meaning) -> bool {
        match meaning {
            Meaning::Pod(uid) => self.push(Identity::Pod { uid, container: None, runtime: None }),
            Meaning::PodContainer(uid, id, runtime) => {
                self.push(Identity::Pod { uid, container: Some(id), runtime });
            }
            Meaning::Container(id, runtime) => {
                if let Some(Identity::Pod {
                    container: container @ None, runtime: of_pod, ..
                }) = self.inner.as_mut().or(self.outer.as_mut())
                {
                    (*container, *of_pod) = (Some(id), runtime);
                    return false;
                }
                self.push(Identity::Container { id, runtime });
            }
            Meaning::Machine(name, runtime) => self.push(Identity::Machine { name, runtime }),
            Meaning::User(user) if self.outer.is_none() => {
                self.user.get_or_insert(user);
                return false;
            }
            Meaning::Unit(unit) if self.outer.is_none() => {
                self.unit = Some(unit);
                return false;
            }
            Meaning::Monitor => {
                let outside =
                    matches!(self.identity(), None | Some(Identity::Pod { container: None, .. }));
                self.monitor |= outside;
                return false;
            }
            Meaning::Supervisor => {
                self.monitor = true;
                return false;
            }
            Meaning::User(_) | Meaning::Unit(_) | Meaning::Other => return false,
        }
        true
    }

    fn push(&mut self, identity: Identity) {
        let place = if self.outer.is_none() { &mut self.outer } else { &mut self.inner };
        *place = Some(identity);
    }

    /// How much it says, to compare paths of one process.
    fn says(&self) -> (usize, bool, bool) {
        let identities = usize::from(self.outer.is_some()) + usize::from(self.inner.is_some());
        let pod = matches!(self.identity(), Some(Identity::Pod { .. }));
        (identities, pod, self.unit.is_some())
    }
}
