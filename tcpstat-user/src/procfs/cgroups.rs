//! The cgroup hierarchy (v2) as this process sees it: which path a cgroup id has.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs, io,
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::MetadataExt,
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use thiserror::Error;

/// The mounted hierarchy.
#[derive(Clone, Debug)]
pub(crate) struct CgroupHierarchy {
    root: PathBuf,
}

/// Why there are no cgroups.
#[derive(Debug, Error)]
pub(crate) enum CgroupError {
    /// The mounts cannot be read.
    #[error("{MOUNTS}: {0}")]
    Mounts(io::Error),
    /// Only v1 is mounted, or nothing.
    #[error(
        "no cgroup hierarchy of version 2 is mounted: mount cgroup2, or boot with systemd.unified_cgroup_hierarchy=1"
    )]
    NotMounted,
}

const MOUNTS: &str = "/proc/self/mountinfo";

/// The id of the root.
const ROOT_ID: u64 = 1;

/// Maximum number of cgroups that are listed: their paths take some megabytes.
const MAX_CGROUPS: usize = 20_000;

/// Maximum number of components of a path.
const MAX_DEPTH: usize = 32;

impl CgroupHierarchy {
    /// The mount that shows the whole hierarchy, else the first one.
    ///
    /// # Errors
    /// [`CgroupError`].
    pub(crate) fn find() -> Result<Self, CgroupError> {
        let mounts = fs::read(MOUNTS).map_err(CgroupError::Mounts)?;
        let mounts: Vec<_> = mount_points(&mounts).into_iter().map(|root| Self { root }).collect();
        let whole = mounts.iter().find(|mount| mount.is_whole()).or(mounts.first());
        whole.cloned().ok_or(CgroupError::NotMounted)
    }

    /// Whether the mount shows all cgroups of the host. That of a container with a cgroup namespace of its own shows those
    /// below its own cgroup.
    pub(crate) fn is_whole(&self) -> bool {
        inode(&self.root) == Some(ROOT_ID)
    }

    /// Where it is mounted.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The path of each cgroup by its id, which is the inode number of its directory. At most 20,000 are listed.
    pub(crate) fn paths(&self) -> HashMap<u64, Arc<str>> {
        let mut paths = HashMap::new();
        let mut folders = vec![(self.root.clone(), String::new(), 0)];
        while let Some((folder, path, depth)) = folders.pop() {
            if paths.len() >= MAX_CGROUPS {
                break;
            }
            // A cgroup can be removed meanwhile.
            let Some(id) = inode(&folder) else { continue };
            paths.insert(id, Arc::from(if path.is_empty() { "/" } else { &path }));
            let Ok(entries) = fs::read_dir(&folder) else { continue };
            for entry in entries.flatten() {
                let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
                if is_folder && depth < MAX_DEPTH {
                    let path = format!("{path}/{}", text(entry.file_name().as_bytes()));
                    folders.push((entry.path(), path, depth + 1));
                }
            }
        }
        paths
    }

    /// The id of the cgroup with this path now; `None` if there is none.
    pub(crate) fn id(&self, path: &str) -> Option<u64> {
        inode(&self.folder(path))
    }

    /// The directory of the cgroup with this path.
    pub(crate) fn folder(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }
}

/// A name, with `\xHH` for each byte that is not UTF-8, so that different names stay different.
fn text(name: &[u8]) -> String {
    let mut text = String::new();
    for chunk in name.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    text
}

fn inode(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|folder| folder.ino())
}

/// The mount points of cgroup2, in the order of the file.
fn mount_points(mounts: &[u8]) -> Vec<PathBuf> {
    let lines = mounts.split(|&byte| byte == b'\n');
    let of_line = |line: &[u8]| {
        // The number of fields before the hyphen varies.
        let mut fields = line.split(|&byte| byte == b' ');
        let path = fields.clone().nth(4)?;
        let kind = fields.by_ref().skip_while(|&field| field != b"-").nth(1)?;
        (kind == b"cgroup2").then(|| PathBuf::from(OsString::from_vec(unescaped(path))))
    };
    lines.filter_map(of_line).collect()
}

/// The kernel writes a space, a tab, a line feed, and a backslash as `\` and three octal digits.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| byte == b'\\');
        let number =
            digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(number.unwrap_or(byte));
        rest = if number.is_some() { &after[3..] } else { after };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mounts_of_version_2_are_found() {
        let mounts = b"36 31 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw
50 31 0:38 / /mnt/a\\040b rw - cgroup2 none rw
51 31 0:39 / /cgroup2 rw - tmpfs tmpfs rw
";
        let found = mount_points(mounts);
        assert_eq!(found, [Path::new("/sys/fs/cgroup/unified"), Path::new("/mnt/a b")]);
        assert_eq!(
            mount_points(b"31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw"),
            [""; 0].map(PathBuf::from)
        );
    }

    #[test]
    fn names_that_are_not_utf_8_stay_different() {
        assert_eq!(text(b"web\xff.service"), "web\\xff.service");
        assert_eq!(text(b"web\xfe.service"), "web\\xfe.service");
        assert_eq!(text("\u{fc}.service".as_bytes()), "\u{fc}.service");
    }

    #[test]
    fn each_cgroup_has_the_path_below_the_root() {
        let folder = tempfile::tempdir().unwrap();
        let unit = folder.path().join("system.slice/nginx.service");
        fs::create_dir_all(&unit).unwrap();
        fs::write(unit.join("cgroup.procs"), "").unwrap();
        let hierarchy = CgroupHierarchy { root: folder.path().to_owned() };
        let mut paths: Vec<_> = hierarchy.paths().into_iter().collect();
        paths.sort_by(|one, other| one.1.cmp(&other.1));
        let names: Vec<_> = paths.iter().map(|(_, path)| &**path).collect();
        assert_eq!(names, ["/", "/system.slice", "/system.slice/nginx.service"]);
        for (id, path) in &paths {
            assert_eq!(hierarchy.id(path), Some(*id), "{path}");
        }
        assert_eq!(hierarchy.id("/user.slice"), None);
    }
}
