//! Paths of cgroups, and which of them are shown.

use std::{collections::HashMap, time::Instant};

use anyhow::{anyhow, bail};
use tracing::{debug, warn};

use super::{lines::Text, pace::Pace};
use crate::{
    kernel::TransitionStream,
    procfs::CgroupHierarchy,
    scopes::{CgroupPattern, LONGEST_PATH, counting_cgroup, label_value},
};

/// Most cgroups whose paths are kept.
const MAX_PATHS: usize = 65_536;

/// The cgroups of sockets. It lists the hierarchy when it meets an unknown one.
pub(super) struct Cgroups {
    patterns: Vec<CgroupPattern>,
    /// `None` if cgroups are not shown.
    hierarchy: Option<CgroupHierarchy>,
    /// By id; `None` for a cgroup that is not in the hierarchy: it was removed.
    known: HashMap<u64, Option<Known>>,
    pace: Pace,
    has_listed: bool,
}

struct Known {
    path: Text,
    wanted: bool,
}

/// Whether transitions of a cgroup are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Shown,
    LeftOut,
    /// There are patterns, and its path is not known.
    Unknown,
}

impl Cgroups {
    /// Cgroups that one of `patterns` fits, or one of their ancestors, are shown; all if there are no patterns.
    ///
    /// # Errors
    /// If there are patterns and no cgroups.
    pub(super) fn new(patterns: Vec<CgroupPattern>, read: bool) -> anyhow::Result<Self> {
        if !read && !patterns.is_empty() {
            bail!("--cgroup: sockets have no cgroups on this kernel: leave it out");
        }
        let hierarchy = match CgroupHierarchy::find() {
            Ok(hierarchy) => Some(hierarchy).filter(|_| read),
            Err(error) if patterns.is_empty() => {
                debug!("cgroups are not shown: {error}");
                None
            }
            Err(error) => return Err(anyhow!("--cgroup: {error}")),
        };
        Ok(Self {
            patterns,
            hierarchy,
            known: HashMap::new(),
            pace: Pace::default(),
            has_listed: false,
        })
    }

    /// Lists the hierarchy now, and passes the verdicts to the programs.
    pub(super) fn find(&mut self, stream: &mut TransitionStream) {
        let Some(hierarchy) = &self.hierarchy else { return };
        let start = Instant::now();
        let mut paths = hierarchy.paths();
        if self.known.len() + paths.len() > MAX_PATHS {
            self.known.clear();
        }
        paths.retain(|id, _| !matches!(self.known.get(id), Some(Some(_))));
        for (id, path) in paths {
            let wanted =
                self.patterns.is_empty() || counting_cgroup(&self.patterns, &path).is_some();
            if !self.patterns.is_empty() {
                stream.set_cgroup(id, wanted);
            }
            let path = Text::new(label_value(path.as_bytes(), LONGEST_PATH));
            self.known.insert(id, Some(Known { path, wanted }));
        }
        self.pace.ended(start);
        let none = || !self.known.values().flatten().any(|known| known.wanted);
        if !std::mem::replace(&mut self.has_listed, true) && self.known.len() > 1 && none() {
            warn!(
                "--cgroup: no cgroup fits now; tcpstat shows those that fit as soon as they are made"
            );
        }
    }

    /// Whether the transitions of its sockets are shown. Lists the hierarchy, if the cgroup is unknown and the last reading
    /// was long enough ago.
    pub(super) fn verdict(&mut self, id: Option<u64>, stream: &mut TransitionStream) -> Verdict {
        if let Some(id) = id
            && self.hierarchy.is_some()
            && !self.known.contains_key(&id)
        {
            if !self.pace.allows() {
                return if self.patterns.is_empty() { Verdict::Shown } else { Verdict::Unknown };
            }
            self.find(stream);
            if self.known.len() < MAX_PATHS {
                self.known.entry(id).or_insert(None);
            }
        }
        if self.patterns.is_empty() {
            return Verdict::Shown;
        }
        match id.map(|id| self.known.get(&id)) {
            Some(Some(Some(Known { wanted: true, .. }))) => Verdict::Shown,
            // It was removed before its path was read.
            Some(Some(None) | None) => Verdict::Unknown,
            Some(Some(Some(_))) | None => Verdict::LeftOut,
        }
    }

    /// The path of a cgroup; `None` for one that is unknown.
    pub(super) fn path(&self, id: Option<u64>) -> Option<&Text> {
        self.known.get(&id?)?.as_ref().map(|known| &known.path)
    }
}
