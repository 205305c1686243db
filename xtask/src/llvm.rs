//! The LLVM that bpf-linker is built against: Debian's, no older than the LLVM of the rustc whose
//! bitcode it links, and of a version that bpf-linker knows.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::apt::Apt;

/// The versions that bpf-linker has a feature for.
const KNOWN: RangeInclusive<u32> = 21..=23;

/// An LLVM with what is needed to link against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Llvm {
    major: u32,
}

impl Llvm {
    /// An LLVM for a rustc with `at_least`: installed, or installed now. Nothing if none can be had.
    pub(crate) fn obtain(apt: Option<&Apt<'_>>, at_least: u32) -> Result<Option<Self>> {
        if let Some(llvm) = nearest(at_least, Self::is_installed) {
            return Ok(Some(llvm));
        }
        let Some(apt) = apt else { return Ok(None) };
        let packages: Vec<String> = suitable(at_least).map(Self::package).collect();
        let offered = apt.offered(&packages)?;
        let Some(llvm) = nearest(at_least, |llvm| offered.contains(&llvm.package())) else {
            return Ok(None);
        };
        apt.install(&[&llvm.package()], "")?;
        if !llvm.is_installed() {
            bail!("{} is installed, but {} is not there", llvm.package(), llvm.prefix().display());
        }
        Ok(Some(llvm))
    }

    /// The feature of bpf-linker.
    pub(crate) fn feature(self) -> String {
        format!("llvm-{}", self.major)
    }

    /// Where it lies.
    pub(crate) fn prefix(self) -> PathBuf {
        Path::new("/usr/lib").join(format!("llvm-{}", self.major))
    }

    /// The variable that tells llvm-sys the prefix.
    pub(crate) fn sys_prefix_variable(self) -> String {
        // Releases of LLVM begin at 1, such as 22.1.
        format!("LLVM_SYS_{}1_PREFIX", self.major)
    }

    /// Debian's package of it.
    pub(crate) fn package(self) -> String {
        format!("llvm-{}-dev", self.major)
    }

    fn is_installed(self) -> bool {
        self.prefix().join("lib/libLLVM.so").exists()
    }
}

/// What to install by hand for a rustc with LLVM `at_least`, as one line.
pub(crate) fn remedy(at_least: u32) -> String {
    match suitable(at_least).next() {
        Some(llvm) => format!("install {}", llvm.package()),
        None => format!(
            "bpf-linker knows LLVM up to {}, this rustc has {at_least}: use an older one",
            KNOWN.end()
        ),
    }
}

fn suitable(at_least: u32) -> impl Iterator<Item = Llvm> {
    KNOWN.map(|major| Llvm { major }).filter(move |llvm| llvm.major >= at_least)
}

fn nearest(at_least: u32, accept: impl Fn(Llvm) -> bool) -> Option<Llvm> {
    suitable(at_least).find(|llvm| accept(*llvm))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_major_else_the_nearest_greater() {
        assert_eq!(nearest(22, |_| true), Some(Llvm { major: 22 }));
        assert_eq!(nearest(22, |llvm| llvm.major != 22), Some(Llvm { major: 23 }));
        assert_eq!(nearest(20, |_| true), Some(Llvm { major: 21 }));
        assert_eq!(nearest(22, |llvm| llvm.major < 22), None);
        assert_eq!(nearest(24, |_| true), None);
    }

    #[test]
    fn the_remedy_names_a_package_or_the_limit() {
        assert_eq!(remedy(22), "install llvm-22-dev");
        assert!(remedy(24).contains("up to 23"));
    }
}
