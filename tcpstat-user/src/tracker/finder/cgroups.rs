//! What the cgroups of the processes of a namespace say, remembered between two finds.

use std::{collections::HashMap, sync::Arc};

use memchr::memchr;

use super::{census::Members, is_due, tasks::Ids};
use crate::{kernel::NetnsKey, procfs::Processes, scopes::CgroupName};

/// Most names that are remembered by each of the two keys. Others are read in each find.
const MOST_REMEMBERED: usize = 8_192;

/// What the cgroups of the last find say.
///
/// Where there is only version 2, the id of the cgroup is enough: the kernel gives no id again. With version 1,
/// processes with the same id of version 2 can be in different cgroups, and change theirs: then it is
/// remembered for the process.
#[derive(Default)]
pub(super) struct Cgroups {
    by_id: HashMap<u64, Remembered>,
    by_process: HashMap<(NetnsKey, u32), Remembered>,
    /// The number of the find.
    find: u64,
}

struct Remembered {
    name: Arc<CgroupName>,
    finds: u32,
    last_find: u64,
}

impl Cgroups {
    /// What the cgroups of a namespace say. Reads the file of a process for each that is not known.
    pub(super) fn names(&mut self, ids: &Ids<'_>, members: &Members) -> Vec<Arc<CgroupName>> {
        let each = members.cgroups.iter();
        each.filter_map(|&(id, pid)| {
            let shown = || ids.same || ids.shows(pid, members.inum);
            self.name(id, (members.key, pid), || shown().then(|| read(ids.processes, pid))?)
        })
        .collect()
    }

    /// The name for the id of a cgroup and a process in it. `read` gives the text of the process.
    fn name(
        &mut self,
        id: u64,
        process: (NetnsKey, u32),
        read: impl FnOnce() -> Option<Vec<u8>>,
    ) -> Option<Arc<CgroupName>> {
        if let Some(known) = self.by_id.get_mut(&id) {
            return Some(known.seen(self.find));
        }
        if let Some(known) = self.by_process.get_mut(&process)
            && !is_due(known.finds, process.1)
        {
            return Some(known.seen(self.find));
        }
        let text = read()?;
        let name = Arc::new(CgroupName::of_process(&text));
        let finds = self.by_process.get(&process).map_or(1, |known| known.finds.saturating_add(1));
        let remembered = Remembered { name: Arc::clone(&name), finds, last_find: self.find };
        if is_unified(&text) {
            if self.by_id.len() < MOST_REMEMBERED {
                self.by_id.insert(id, remembered);
            }
        } else if self.by_process.len() < MOST_REMEMBERED {
            self.by_process.insert(process, remembered);
        }
        Some(name)
    }

    /// Ends a find: forgets what it did not need.
    pub(super) fn end_find(&mut self) {
        let find = self.find;
        self.by_id.retain(|_, known| known.last_find == find);
        self.by_process.retain(|_, known| known.last_find == find);
        self.find += 1;
    }
}

impl Remembered {
    fn seen(&mut self, find: u64) -> Arc<CgroupName> {
        self.last_find = find;
        self.finds = self.finds.saturating_add(1);
        Arc::clone(&self.name)
    }
}

fn read(processes: &Processes, pid: u32) -> Option<Vec<u8>> {
    processes.cgroups(pid).ok()
}

/// Whether there is only the hierarchy of version 2.
fn is_unified(text: &[u8]) -> bool {
    text.starts_with(b"0::") && memchr(b'\n', text).is_none_or(|end| end + 1 == text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIFIED: &[u8] = b"0::/system.slice/web.service\n";
    const BOTH: &[u8] = b"4:memory:/docker\n0::/system.slice/web.service\n";

    /// The path of the name, and whether the file was read.
    fn name(cgroups: &mut Cgroups, id: u64, pid: u32, text: &[u8]) -> (String, bool) {
        let mut was_read = false;
        let name = cgroups.name(id, (1, pid), || {
            was_read = true;
            Some(text.to_vec())
        });
        (name.unwrap().path.clone(), was_read)
    }

    #[test]
    fn a_cgroup_of_version_2_is_read_once_for_all_its_processes() {
        let mut cgroups = Cgroups::default();
        let path = "/system.slice/web.service".to_owned();
        assert_eq!(name(&mut cgroups, 7, 100, UNIFIED), (path.clone(), true));
        assert_eq!(name(&mut cgroups, 7, 101, b"0::/other\n"), (path, false));
        assert_eq!(name(&mut cgroups, 8, 101, b"0::/other\n"), ("/other".into(), true));
    }

    #[test]
    fn with_version_1_each_process_is_read_and_later_again() {
        let mut cgroups = Cgroups::default();
        assert!(name(&mut cgroups, 7, 100, BOTH).1);
        assert!(name(&mut cgroups, 7, 101, BOTH).1);
        let mut read = 0;
        for _ in 0..64 {
            cgroups.end_find();
            read += u32::from(name(&mut cgroups, 7, 100, BOTH).1);
        }
        assert!((6..=9).contains(&read), "{read}");
    }

    #[test]
    fn what_a_find_does_not_need_is_forgotten() {
        let mut cgroups = Cgroups::default();
        name(&mut cgroups, 7, 100, UNIFIED);
        name(&mut cgroups, 8, 101, BOTH);
        cgroups.end_find();
        assert_eq!((cgroups.by_id.len(), cgroups.by_process.len()), (1, 1));
        cgroups.end_find();
        assert_eq!((cgroups.by_id.len(), cgroups.by_process.len()), (0, 0));
    }

    #[test]
    fn no_more_than_a_number_of_names_is_remembered() {
        let mut cgroups = Cgroups::default();
        for number in 0..u32::try_from(MOST_REMEMBERED).unwrap() + 10 {
            name(&mut cgroups, number.into(), number, UNIFIED);
            name(&mut cgroups, u64::MAX - u64::from(number), number, BOTH);
        }
        assert_eq!(cgroups.by_id.len(), MOST_REMEMBERED);
        assert_eq!(cgroups.by_process.len(), MOST_REMEMBERED);
    }
}
