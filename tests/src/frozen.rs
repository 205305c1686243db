//! A file system that stops answering: a FUSE server (linux/fuse.h) that keeps one folder in memory, and
//! leaves requests unread while it is frozen. To the kernel it is a network file system whose server is gone.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tempfile::TempDir;

use crate::deadline::{DEADLINE, Progress, wait_until};
use crate::mounts::PrivateMounts;

const DEVICE: &str = "/dev/fuse";

/// The kernel refuses reads with a buffer smaller than a write and its header.
const BUFFER: usize = 1 << 20;

/// The pause between two checks whether the file system ends.
const PAUSE_MS: u16 = 20;

const ROOT: u64 = 1;

/// The request that opens a file.
const OPEN: u32 = 14;

/// See the module. Dropping it makes all waiting calls fail.
#[derive(Debug)]
pub struct FrozenFs {
    folder: TempDir,
    shared: Arc<Mutex<Shared>>,
    server: Option<JoinHandle<Result<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    frozen: bool,
    asked: bool,
    gone: bool,
    opened: usize,
}

impl FrozenFs {
    /// Mounts it for the calling thread and its children. It answers until it is frozen.
    ///
    /// # Errors
    /// Fails if the kernel has no FUSE.
    pub fn mount(_: &PrivateMounts) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let device = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(nix::libc::O_NONBLOCK | nix::libc::O_CLOEXEC)
            .open(DEVICE)
            .context(DEVICE)?;
        let options =
            format!("fd={},rootmode=40755,user_id=0,group_id=0,allow_other", device.as_raw_fd());
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("frozen"), folder.path(), Some("fuse"), flags, Some(options.as_str()))
            .context("mount a FUSE file system")?;
        let shared = Arc::<Mutex<Shared>>::default();
        let server = Server { device, files: Files::default(), shared: shared.clone() };
        let server = Some(thread::spawn(move || server.run()));
        Ok(Self { folder, shared, server })
    }

    /// Its folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Copies `other` into it, and returns the path.
    ///
    /// # Errors
    /// Fails when `other` cannot be read.
    pub fn copy(&self, other: &Path) -> Result<PathBuf> {
        let path = self.path().join(other.file_name().context("no name")?);
        fs::write(&path, fs::read(other)?).with_context(|| path.display().to_string())?;
        Ok(path)
    }

    /// Stops answering.
    pub fn freeze(&self) {
        locked(&self.shared).frozen = true;
    }

    /// Answers again, also the requests of the meantime.
    pub fn thaw(&self) {
        let mut shared = locked(&self.shared);
        shared.frozen = false;
        shared.asked = false;
    }

    /// The number of times that files have been opened.
    #[must_use]
    pub fn opened(&self) -> usize {
        locked(&self.shared).opened
    }

    /// Waits until a process waits for an answer.
    ///
    /// # Errors
    /// Fails if none does within [`DEADLINE`].
    pub fn wait_asked(&self) -> Result<()> {
        wait_until("request to the frozen file system", DEADLINE, || {
            let asked = locked(&self.shared).asked;
            Ok(if asked { Progress::Done(()) } else { Progress::NotYet("none".to_owned()) })
        })
    }
}

impl Drop for FrozenFs {
    fn drop(&mut self) {
        locked(&self.shared).gone = true;
        match self.server.take().map(JoinHandle::join) {
            Some(Ok(Ok(()))) | None => {}
            Some(ended) => eprintln!("the FUSE server ended: {ended:?}"),
        }
        if let Err(error) = umount2(self.folder.path(), MntFlags::MNT_DETACH) {
            eprintln!("umount {}: {error}", self.folder.path().display());
        }
    }
}

fn locked(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Server {
    device: File,
    files: Files,
    shared: Arc<Mutex<Shared>>,
}

impl Server {
    fn run(mut self) -> Result<()> {
        let mut buffer = vec![0; BUFFER];
        loop {
            let mut device = [PollFd::new(self.device.as_fd(), PollFlags::POLLIN)];
            poll(&mut device, PollTimeout::from(PAUSE_MS))?;
            let waiting = device[0].any().unwrap_or(false);
            // Held until the answer is written: after freeze() no request is read.
            let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
            if shared.gone {
                return Ok(());
            }
            if shared.frozen {
                shared.asked |= waiting;
                drop(shared);
                // The device stays readable; nothing else announces the end.
                thread::sleep(std::time::Duration::from_millis(PAUSE_MS.into()));
                continue;
            }
            if !waiting {
                continue;
            }
            match self.device.read(&mut buffer) {
                Ok(bytes) => {
                    shared.opened += usize::from(u32_at(&buffer, 4) == OPEN);
                    if let Some(answer) = self.files.answer(&buffer[..bytes]) {
                        let written = (&self.device).write(&answer);
                        // ENOENT: the request was interrupted.
                        if let Err(error) = written
                            && error.kind() != ErrorKind::NotFound
                        {
                            return Err(error).context("answer to the kernel");
                        }
                    }
                }
                // Interrupted before it was read, as above.
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotFound) => {}
                Err(error) => return Err(error).context(DEVICE),
            }
        }
    }
}

/// The files of the one folder, by name and by node.
#[derive(Default)]
struct Files {
    names: BTreeMap<Vec<u8>, u64>,
    nodes: BTreeMap<u64, Node>,
}

struct Node {
    data: Vec<u8>,
    mode: u32,
    /// Of the last write: a count, which serves as a time.
    modified: u64,
}

/// `fuse_out_header`, and what belongs to it.
fn answer(unique: u64, result: Result<Vec<u8>, Errno>) -> Vec<u8> {
    let (error, body) = match result {
        Ok(body) => (0, body),
        Err(error) => (-(error as i32), Vec::new()),
    };
    let length = u32::try_from(16 + body.len()).expect("an answer is small");
    [&length.to_ne_bytes()[..], &error.to_ne_bytes(), &unique.to_ne_bytes(), &body].concat()
}

impl Files {
    /// The answer to a request, if it has one.
    fn answer(&mut self, request: &[u8]) -> Option<Vec<u8>> {
        let (header, body) = request.split_at(40);
        let (opcode, unique, node) = (u32_at(header, 4), u64_at(header, 8), u64_at(header, 16));
        let result = match opcode {
            // FORGET, INTERRUPT, BATCH_FORGET.
            2 | 36 | 42 => return None,
            _ => self.handle(opcode, node, body),
        };
        Some(answer(unique, result))
    }

    fn handle(&mut self, opcode: u32, node: u64, body: &[u8]) -> Result<Vec<u8>, Errno> {
        match opcode {
            // LOOKUP
            1 => self
                .names
                .get(first_name(body))
                .ok_or(Errno::ENOENT)
                .and_then(|&node| self.entry(node)),
            // GETATTR
            3 => self.attributes(node),
            // SETATTR
            4 => {
                let (valid, size, mode) = (u32_at(body, 0), u64_at(body, 16), u32_at(body, 68));
                let file = self.nodes.get_mut(&node).ok_or(Errno::EPERM)?;
                if valid & 1 != 0 {
                    file.mode = mode;
                }
                if valid & 8 != 0 {
                    file.data.resize(usize::try_from(size).map_err(|_| Errno::EFBIG)?, 0);
                }
                self.attributes(node)
            }
            // UNLINK
            10 => self.names.remove(first_name(body)).map(|_| Vec::new()).ok_or(Errno::ENOENT),
            // RENAME, RENAME2
            12 | 45 => {
                let names = &body[if opcode == 12 { 8 } else { 16 }..];
                let old = first_name(names);
                let new = first_name(&names[old.len() + 1..]);
                let node = self.names.remove(old).ok_or(Errno::ENOENT)?;
                self.names.insert(new.to_vec(), node);
                Ok(Vec::new())
            }
            // OPENDIR
            OPEN | 27 => Ok(vec![0; 16]),
            // READ
            15 => {
                let (offset, size) = (u64_at(body, 8), u32_at(body, 16));
                let data = self.nodes.get(&node).ok_or(Errno::EISDIR)?.data.iter();
                let offset = usize::try_from(offset).map_err(|_| Errno::EFBIG)?;
                Ok(data.skip(offset).take(size as usize).copied().collect())
            }
            // WRITE
            16 => {
                let (offset, size) = (u64_at(body, 8), u32_at(body, 16));
                let offset = usize::try_from(offset).map_err(|_| Errno::EFBIG)?;
                let file = self.nodes.get_mut(&node).ok_or(Errno::EISDIR)?;
                let end = offset + size as usize;
                file.data.resize(file.data.len().max(end), 0);
                file.data[offset..end].copy_from_slice(&body[40..40 + size as usize]);
                file.modified += 1;
                Ok([size.to_ne_bytes(), [0; 4]].concat())
            }
            // STATFS
            17 => Ok(vec![0; 80]),
            // RELEASE, FLUSH, RELEASEDIR; READDIR: no entries.
            18 | 25 | 28 | 29 => Ok(Vec::new()),
            // INIT: version 7.31, no option.
            26 => {
                let numbers = [7, 31, u32_at(body, 8), 0, 0, 4096, 1, 0];
                let mut init: Vec<u8> = numbers.into_iter().flat_map(u32::to_ne_bytes).collect();
                init.resize(64, 0);
                Ok(init)
            }
            // CREATE
            35 => {
                let node = self.nodes.last_key_value().map_or(ROOT, |(&node, _)| node) + 1;
                let (mode, umask) = (u32_at(body, 4), u32_at(body, 8));
                self.names.insert(first_name(&body[16..]).to_vec(), node);
                self.nodes
                    .insert(node, Node { data: Vec::new(), mode: mode & !umask, modified: node });
                Ok([self.entry(node)?, vec![0; 16]].concat())
            }
            _ => Err(Errno::ENOSYS),
        }
    }

    /// `fuse_entry_out`; the kernel may not cache it.
    fn entry(&self, node: u64) -> Result<Vec<u8>, Errno> {
        let head: Vec<u8> = [node, 0, 0, 0, 0].into_iter().flat_map(u64::to_ne_bytes).collect();
        Ok([head, self.attribute(node)?].concat())
    }

    /// `fuse_attr_out`; the kernel may not cache it.
    fn attributes(&self, node: u64) -> Result<Vec<u8>, Errno> {
        Ok([vec![0; 16], self.attribute(node)?].concat())
    }

    /// `fuse_attr`.
    fn attribute(&self, node: u64) -> Result<Vec<u8>, Errno> {
        const DIRECTORY: u32 = 0o040_755;
        let (size, mode, modified) = match self.nodes.get(&node) {
            _ if node == ROOT => (0, DIRECTORY, 0),
            Some(file) => (file.data.len() as u64, 0o100_000 | (file.mode & 0o7777), file.modified),
            None => return Err(Errno::ENOENT),
        };
        let long = [node, size, 0, modified, modified, modified];
        // Nanoseconds, mode, links, user, group, device, block size, flags.
        let short = [0, 0, 0, mode, 1, 0, 0, 0, 4096, 0];
        let long = long.into_iter().flat_map(u64::to_ne_bytes);
        Ok(long.chain(short.into_iter().flat_map(u32::to_ne_bytes)).collect())
    }
}

/// The bytes up to the terminating zero.
fn first_name(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
