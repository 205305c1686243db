//! The sockets that processes have descriptors of, and the names of processes.

use std::{
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use super::{
    Processes, Procfs, ProcfsError,
    file::{read_all, read_to_string},
    sockstat,
};

impl Processes {
    /// Where the descriptors of processes are, for reports.
    pub(crate) const DESCRIPTORS: &str = "/proc/PID/fd";

    /// Passes the inode number of each socket that a process has a descriptor of to `each`: once for each descriptor.
    /// Those that it closes meanwhile are left out.
    ///
    /// # Errors
    /// [`ProcfsError::Unreadable`] without the permission to trace the process, or if it has ended.
    pub(crate) fn each_socket_of(
        &self,
        pid: u32,
        mut each: impl FnMut(u64),
    ) -> Result<(), ProcfsError> {
        let path = self.directory(pid).join("fd");
        let unreadable = |cause| ProcfsError::Unreadable { path: path.clone(), cause };
        for entry in fs::read_dir(&path).map_err(unreadable)? {
            let target = match entry.and_then(|entry| fs::read_link(entry.path())) {
                Ok(target) => target,
                // The directory can be read after the process has begun a program that this process may not trace.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    return Err(unreadable(error));
                }
                Err(_) => continue,
            };
            if let Some(inode) = socket_inode(&target) {
                each(inode);
            }
        }
        Ok(())
    }

    /// Whether this is a thread of the kernel, which has no descriptors. False if that is not known.
    #[must_use]
    pub(crate) fn is_kernel_thread(&self, pid: u32) -> bool {
        let Ok(text) = read_all(&self.directory(pid).join("stat")) else { return false };
        // The name, which comes before, may have any characters.
        let rest = memchr::memrchr(b')', &text).map_or(&[][..], |at| &text[at..]);
        let rest = String::from_utf8_lossy(rest);
        let flags =
            rest.split_ascii_whitespace().nth(7).and_then(|flags| flags.parse::<u32>().ok());
        flags.is_some_and(|flags| flags & PF_KTHREAD != 0)
    }

    /// The name of a process, as it is in /proc/PID/comm: at most 15 bytes, which the process chooses.
    ///
    /// # Errors
    /// [`ProcfsError`]; also if the process has ended.
    pub(crate) fn command(&self, pid: u32) -> Result<Vec<u8>, ProcfsError> {
        let mut name = read_all(&self.directory(pid).join("comm"))?;
        name.pop_if(|byte| *byte == b'\n');
        Ok(name)
    }
}

impl Procfs {
    /// How many sockets of the whole host their owners have closed and TCP still has: `orphan` in net/sockstat.
    ///
    /// # Errors
    /// [`ProcfsError`].
    pub(crate) fn orphans(&self) -> Result<u64, ProcfsError> {
        let path: PathBuf = self.sockstat_path();
        sockstat::field(&path, &read_to_string(&path)?, "TCP:", "orphan")
    }
}

/// include/linux/sched.h
const PF_KTHREAD: u32 = 0x0020_0000;

/// The number in `socket:[NUMBER]`.
fn socket_inode(target: &Path) -> Option<u64> {
    let number = target.as_os_str().as_bytes().strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::fd::AsRawFd};

    use super::*;

    #[test]
    fn a_socket_of_this_process_is_listed_once_for_each_descriptor() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let duplicate = listener.try_clone().unwrap();
        let link = format!("/proc/self/fd/{}", duplicate.as_raw_fd());
        let inode = socket_inode(&fs::read_link(link).unwrap()).unwrap();
        let processes = Procfs::new(Procfs::DEFAULT_ROOT).processes().unwrap();
        let mut found = 0;
        let own = std::process::id();
        processes.each_socket_of(own, |listed| found += u32::from(listed == inode)).unwrap();
        assert_eq!(found, 2);
        let error = processes.each_socket_of(0, |_| {}).unwrap_err();
        assert!(error.is_of_ended_process(), "{error}");
    }

    #[test]
    fn this_process_is_no_kernel_thread() {
        let processes = Procfs::new(Procfs::DEFAULT_ROOT).processes().unwrap();
        assert!(!processes.is_kernel_thread(std::process::id()));
        let kthreadd = processes.command(2).is_ok_and(|name| name == b"kthreadd");
        assert!(!kthreadd || processes.is_kernel_thread(2));
    }

    #[test]
    fn only_links_to_sockets_have_an_inode() {
        for (target, inode) in [
            ("socket:[4026]", Some(4026)),
            ("socket:[x]", None),
            ("pipe:[4026]", None),
            ("/tmp/socket:[4026]", None),
            ("socket:[4026", None),
        ] {
            assert_eq!(socket_inode(Path::new(target)), inode, "{target}");
        }
    }

    #[test]
    fn the_name_of_a_process_is_without_the_line_break() {
        let processes = Procfs::new(Procfs::DEFAULT_ROOT).processes().unwrap();
        let name = processes.command(std::process::id()).unwrap();
        assert!(!name.is_empty() && !name.contains(&b'\n'), "{name:?}");
        Procfs::new(Procfs::DEFAULT_ROOT).orphans().unwrap();
    }
}
