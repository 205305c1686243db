//! The BPF objects that a process has open.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result};
use nix::libc;

use crate::bpf_call::open_by_id;

/// A kind of BPF object, as /proc/PID/fdinfo names its number, and the command of bpf(2) that opens one of that number
/// (include/uapi/linux/bpf.h).
const KINDS: [(&str, i32); 3] = [("prog_id", 13), ("map_id", 14), ("link_id", 30)];

/// A kind and a number.
pub type Object = (&'static str, u32);

/// All objects that the process has open.
///
/// # Errors
/// Fails if its descriptors cannot be read.
pub fn held_by(pid: u32) -> Result<BTreeSet<Object>> {
    let mut objects = BTreeSet::new();
    for text in infos(pid)? {
        // A link also names its program, which another descriptor may not.
        for line in text.lines() {
            let Some((name, number)) = line.split_once(':') else { continue };
            if let Some((kind, _)) = KINDS.iter().find(|(kind, _)| *kind == name) {
                let number = number.trim().parse();
                objects.insert((*kind, number.with_context(|| line.to_owned())?));
            }
        }
    }
    Ok(objects)
}

/// What /proc/PID/fdinfo says of each descriptor of the process.
///
/// # Errors
/// Fails if its descriptors cannot be listed.
pub(crate) fn infos(pid: u32) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // A descriptor can be closed meanwhile.
        texts.extend(fs::read_to_string(entry?.path()).ok());
    }
    Ok(texts)
}

/// Whether the kernel still has it.
///
/// # Errors
/// Fails if the kernel refuses to say so.
pub fn exists((kind, number): Object) -> Result<bool> {
    let (_, command) = KINDS.iter().find(|(name, _)| *name == kind).context("an unknown kind")?;
    match open_by_id(*command, number) {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
