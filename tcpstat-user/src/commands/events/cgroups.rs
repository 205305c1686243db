//! Paths of cgroups, and which of them are shown.

use std::{collections::HashMap, sync::Arc, time::Instant};

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
    /// Whether the programs have the verdict.
    is_passed: bool,
}

/// What the programs get after the hierarchy was listed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Verdicts {
    /// Cgroups that were removed.
    forgotten: Vec<u64>,
    new: Vec<(u64, bool)>,
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
        let paths = hierarchy.paths();
        let Verdicts { forgotten, new } = self.take(paths);
        // First: there is room for 16,384.
        for id in forgotten {
            stream.forget_cgroup(id);
        }
        for (id, wanted) in new {
            stream.set_cgroup(id, wanted);
        }
        self.pace.ended(start);
        let none = || !self.known.values().flatten().any(|known| known.wanted);
        if !std::mem::replace(&mut self.has_listed, true) && self.known.len() > 1 && none() {
            warn!(
                "--cgroup: no cgroup fits now; tcpstat shows those that fit as soon as they are made"
            );
        }
    }

    /// Keeps the paths of new cgroups, and those of removed ones: sockets can outlive their cgroup.
    fn take(&mut self, mut paths: HashMap<u64, Arc<str>>) -> Verdicts {
        let mut verdicts = Verdicts::default();
        for (&id, known) in &mut self.known {
            let Some(known) = known.as_mut().filter(|known| known.is_passed) else { continue };
            if !paths.contains_key(&id) {
                known.is_passed = false;
                verdicts.forgotten.push(id);
            }
        }
        if self.known.len() + paths.len() > MAX_PATHS {
            self.known.clear();
        }
        paths.retain(|id, _| !matches!(self.known.get(id), Some(Some(_))));
        let is_passed = !self.patterns.is_empty();
        for (id, path) in paths {
            let wanted = !is_passed || counting_cgroup(&self.patterns, &path).is_some();
            if is_passed {
                verdicts.new.push((id, wanted));
            }
            let path = Text::new(label_value(path.as_bytes(), LONGEST_PATH));
            self.known.insert(id, Some(Known { path, wanted, is_passed }));
        }
        verdicts
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

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(all: &[(u64, &str)]) -> HashMap<u64, Arc<str>> {
        all.iter().map(|&(id, path)| (id, path.into())).collect()
    }

    fn cgroups(patterns: &[&str]) -> Cgroups {
        Cgroups {
            patterns: patterns.iter().map(|pattern| pattern.parse().unwrap()).collect(),
            hierarchy: None,
            known: HashMap::new(),
            pace: Pace::default(),
            has_listed: false,
        }
    }

    #[test]
    fn the_verdict_of_a_removed_cgroup_leaves_the_map_and_its_path_stays() {
        let mut cgroups = cgroups(&["/web*"]);
        let new = Verdicts { forgotten: vec![], new: vec![(1, true)] };
        assert_eq!(cgroups.take(paths(&[(1, "/web1")])), new);
        let changed = Verdicts { forgotten: vec![1], new: vec![(2, false)] };
        assert_eq!(cgroups.take(paths(&[(2, "/db")])), changed);
        assert_eq!(cgroups.take(paths(&[(2, "/db")])), Verdicts::default());
        assert_eq!(cgroups.path(Some(1)).unwrap().plain, "/web1");
    }

    #[test]
    fn without_patterns_the_programs_get_no_verdicts() {
        let mut cgroups = cgroups(&[]);
        assert_eq!(cgroups.take(paths(&[(1, "/web1")])), Verdicts::default());
        assert_eq!(cgroups.take(paths(&[])), Verdicts::default());
        assert_eq!(cgroups.path(Some(1)).unwrap().plain, "/web1");
    }
}
