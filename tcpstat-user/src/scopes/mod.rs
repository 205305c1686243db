//! Scopes: sets of sockets that are counted separately, and the names that they are shown under.
//!
//! This part is pure: it takes what /proc, /var/log/pods and /run/netns say as values, and reads nothing.
//!
//! - [`CgroupName`]: what a cgroup path says about a process: pod, container, machine, systemd unit, user.
//! - [`PodNames`], [`NamedNetns`]: names by pod UID, and by the inode of a network namespace.
//! - [`NetnsName`]: the name and the labels of a network namespace, from all of these.
//! - [`UniqueNames`]: label values that differ, for namespaces whose names do not.
//!
//! # Names that a user can choose
//!
//! A user makes cgroups of any name below its own systemd manager, and so does the root of a container below
//! the container's cgroup. A name from there comes after the name of that user or container
//! (`user-1000/3f2a9c1b04de`), and a pod UID from there is not looked up. So nobody can take the name of
//! another's pod or container. A service that an administrator gave a subtree (`Delegate=`) is trusted.
//! All names are escaped ([`label_value`]) and bounded.

mod cgroup_filter;
mod cgroup_name;
mod cgroup_path;
mod component;
mod container_id;
mod label;
mod named_netns;
mod netns_name;
mod pod_names;
mod pod_uid;
mod runtime;
mod unique;
mod unit;

pub use cgroup_filter::{CgroupPattern, PatternError, counting_cgroup};
pub use cgroup_name::{CgroupName, Identity};
pub use container_id::ContainerId;
pub use label::{LONGEST_NAME, LONGEST_PATH, label_value};
pub use named_netns::NamedNetns;
pub use netns_name::{NetnsKind, NetnsName};
pub use pod_names::{PodName, PodNames};
pub use pod_uid::PodUid;
pub use runtime::Runtime;
pub use unique::UniqueNames;
pub use unit::UnitName;

#[cfg(test)]
mod tests;
