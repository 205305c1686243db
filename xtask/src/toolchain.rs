//! The rustc that builds for BPF: one with the sources of `core` at its sysroot, and new enough.
//!
//! A rustup nightly with `rust-src` and Debian's packages have the same layout under their sysroot, so
//! both are used in the same way: by the paths of their own cargo and rustc, past rustup's proxies.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fmt};

use rustc_version::{Channel, Version, VersionMeta};

use crate::{cargo, files};

const SYSTEM: &str = "/usr";

/// Debian's packages of a whole chain: rustc, the sources of core, and cargo.
pub(crate) const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "rust-web-src", "cargo-web"];

/// The remedy that needs no Debian.
pub(crate) const RUSTUP_REMEDY: &str = "`rustup toolchain install nightly --component rust-src`";

/// A toolchain that can build `core`.
#[derive(Debug)]
pub(crate) struct Toolchain {
    sysroot: PathBuf,
    version: VersionMeta,
}

impl Toolchain {
    /// Those that are installed, the preferred one first.
    pub(crate) fn installed() -> Vec<Self> {
        let rustup_home = env::var_os("RUSTUP_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(env::home_dir()?.join(".rustup")))
            .unwrap_or_default();
        let minimum = Version::parse(concat!(env!("CARGO_PKG_RUST_VERSION"), ".0-0"));
        let minimum = minimum.expect("the manifest has a major and a minor version");
        sysroots(&rustup_home, Path::new(SYSTEM))
            .into_iter()
            .filter_map(|sysroot| {
                let mut command = Command::new(sysroot.join("bin/rustc"));
                cargo::forget_caller(&mut command);
                Some(Self { version: VersionMeta::for_command(command).ok()?, sysroot })
            })
            .filter(|toolchain| toolchain.version.semver >= minimum && toolchain.llvm() > 0)
            .collect()
    }

    /// Whether it is the system's, not a nightly of rustup.
    pub(crate) fn is_system(&self) -> bool {
        self.sysroot == Path::new(SYSTEM)
    }

    pub(crate) fn cargo(&self) -> PathBuf {
        self.sysroot.join("bin/cargo")
    }

    pub(crate) fn rustc(&self) -> PathBuf {
        self.sysroot.join("bin/rustc")
    }

    /// The major version of rustc's LLVM, which the linker's must not be older than; 0 if it is not known.
    pub(crate) fn llvm(&self) -> u64 {
        self.version.llvm_version.as_ref().map_or(0, |llvm| llvm.major)
    }

    /// Whether `-Z` options need `RUSTC_BOOTSTRAP=1`.
    pub(crate) fn is_stable(&self) -> bool {
        self.version.channel != Channel::Nightly
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = match self.is_system() {
            false => "rustup",
            true if Path::new("/etc/debian_version").exists() => "Debian",
            true => "system",
        };
        write!(f, "{origin} rustc {}", self.version.semver)
    }
}

/// The sysroots with cargo, rustc and the sources of core: the undated nightly, dated ones from the
/// newest on, the system's.
fn sysroots(rustup_home: &Path, system: &Path) -> Vec<PathBuf> {
    let mut found = files::entries(&rustup_home.join("toolchains")).unwrap_or_default();
    found.retain(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("nightly"))
    });
    // By name backwards: `nightly-x86_64-...` sorts behind `nightly-2026-...`.
    found.sort_unstable_by(|a, b| b.cmp(a));
    found.push(system.to_owned());
    let needed = ["bin/rustc", "bin/cargo", "lib/rustlib/src/rust/library/core/Cargo.toml"];
    found.retain(|sysroot| needed.iter().all(|file| sysroot.join(file).is_file()));
    found
}
