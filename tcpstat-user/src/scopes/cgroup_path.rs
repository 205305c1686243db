//! Cgroup paths as /proc/PID/cgroup has them.
//!
//! Bounds and facts of the kernel (`kernel/cgroup/cgroup.c`): `proc_cgroup_show` writes one line for each
//! hierarchy, `ID:CONTROLLERS:PATH`, the unified one as `0::PATH`; a path has less than `PATH_MAX` bytes; a
//! name has no line feed (`cgroup_mkdir`), any other byte is possible; ` (deleted)` follows the path of a
//! removed cgroup. A path is relative to the cgroup namespace of the reader, and begins with `/..` where it
//! is not below it (cgroup_namespaces(7)).

/// Longest path in bytes: `PATH_MAX`. What is behind it is not read.
const LONGEST: usize = 4096;

/// Most lines that are read: cgroup v1 has some 15 controllers, and named hierarchies are rare.
const MOST_LINES: usize = 64;

/// A cgroup path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CgroupPath<'a>(&'a [u8]);

/// One directory of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Directory<'a> {
    /// The name. One that is not UTF-8 is empty here: no program that is known makes such a name.
    pub(super) name: &'a str,
    /// Bytes of the path up to its end.
    pub(super) end: usize,
}

impl<'a> CgroupPath<'a> {
    /// The path in `bytes`.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let bytes = bytes.strip_suffix(b" (deleted)").unwrap_or(bytes);
        Self(&bytes[..bytes.len().min(LONGEST)])
    }

    /// Its bytes, at most 4096.
    pub(super) fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// Its directories from the root on, or from the reader's cgroup on, then with a `..` for each level
    /// above it.
    pub(super) fn directories(self) -> impl Iterator<Item = Directory<'a>> {
        let mut end = 0;
        let names = self.0.split(|&byte| byte == b'/').map(move |name| {
            let start = end;
            end = start + name.len() + 1;
            Directory { name: str::from_utf8(name).unwrap_or_default(), end: end - 1 }
        });
        names.filter({
            let bytes = self.0;
            move |directory| directory.end > 0 && bytes[directory.end - 1] != b'/'
        })
    }
}

/// The paths in the text of a /proc/PID/cgroup: that of the unified hierarchy first, then that of systemd,
/// then the others. Lines of another form are left out.
pub(super) fn paths_of_process(text: &[u8]) -> impl Iterator<Item = CgroupPath<'_>> {
    let lines =
        || text.split(|&byte| byte == b'\n').take(MOST_LINES).filter_map(controllers_and_path);
    let of = move |wanted: fn(&[u8]) -> bool| {
        lines().filter(move |(controllers, _)| wanted(controllers)).map(|(_, path)| path)
    };
    of(<[u8]>::is_empty)
        .chain(of(|controllers| controllers == b"name=systemd"))
        .chain(of(|controllers| !controllers.is_empty() && controllers != b"name=systemd"))
}

fn controllers_and_path(line: &[u8]) -> Option<(&[u8], CgroupPath<'_>)> {
    let mut fields = line.splitn(3, |&byte| byte == b':');
    let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    path.starts_with(b"/").then(|| (controllers, CgroupPath::new(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: &[u8]) -> Vec<&str> {
        CgroupPath::new(path).directories().map(|directory| directory.name).collect()
    }

    #[test]
    fn a_path_is_its_directories() {
        assert_eq!(names(b"/a.slice/b.scope"), ["a.slice", "b.scope"]);
        assert_eq!(names(b"/../../a"), ["..", "..", "a"]);
        assert_eq!(names(b"/a/b (deleted)"), ["a", "b"]);
        assert_eq!(names(b"//a///b/"), ["a", "b"]);
        assert_eq!(names(b"/a/\xff/b"), ["a", "", "b"]);
        assert!(names(b"/").is_empty());
        assert!(names(b"").is_empty());
    }

    #[test]
    fn the_end_of_a_directory_is_where_its_path_ends() {
        let path = CgroupPath::new(b"/a.slice/b");
        let up_to: Vec<_> = path.directories().map(|at| &path.bytes()[..at.end]).collect();
        assert_eq!(up_to, [&b"/a.slice"[..], b"/a.slice/b"]);
    }

    #[test]
    fn a_path_is_bounded() {
        let long = [b"/a".repeat(LONGEST), b"/end".to_vec()].concat();
        assert_eq!(CgroupPath::new(&long).bytes().len(), LONGEST);
        assert_eq!(names(&long).len(), LONGEST / 2);
    }

    #[test]
    fn the_unified_hierarchy_comes_first_and_broken_lines_are_left_out() {
        let text =
            b"4:pids:/p\n1:name=systemd:/s:x\nrubbish\n11:hugetlb\n2:cpu:relative\n\n0::/u\n";
        let paths: Vec<_> = paths_of_process(text).map(CgroupPath::bytes).collect();
        assert_eq!(paths, [&b"/u"[..], b"/s:x", b"/p"]);
        assert_eq!(paths_of_process(&b"0::/a\n".repeat(1_000)).count(), MOST_LINES);
    }
}
