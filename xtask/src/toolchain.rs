//! The rustc that builds for BPF: one with the sources of `core` at its sysroot, and new enough.
//!
//! A rustup nightly with `rust-src` and Debian's packages have the same layout under their sysroot, so
//! both are used alike: by the paths of their own cargo and rustc, past rustup's proxies.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fmt, fs};

use crate::process;

/// Debian's packages of a whole chain: rustc, the sources of core, and cargo.
pub(crate) const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "rust-web-src", "cargo-web"];

/// The remedy that needs no Debian.
pub(crate) const RUSTUP_REMEDY: &str = "`rustup toolchain install nightly --component rust-src`";

/// A toolchain that can build `core`.
#[derive(Debug)]
pub(crate) struct Toolchain {
    origin: Origin,
    sysroot: PathBuf,
    version: Version,
}

/// Where a toolchain comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A nightly of rustup.
    Rustup,
    /// The system's packages.
    System,
}

/// What `rustc -vV` says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Version {
    /// Such as `1.96.0` or `1.97.0-nightly`.
    pub(crate) release: String,
    /// The triple that this rustc runs on.
    pub(crate) host: String,
    /// The major version of its LLVM.
    pub(crate) llvm: u32,
}

impl Toolchain {
    /// Those that are installed, the preferred one first.
    pub(crate) fn installed() -> Vec<Self> {
        let rustup_home = env::var_os("RUSTUP_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(env::home_dir()?.join(".rustup")))
            .unwrap_or_default();
        sysroots(&rustup_home, Path::new("/usr"))
            .into_iter()
            .filter_map(|(origin, sysroot)| {
                let version = Version::of(&sysroot.join("bin/rustc"))?;
                let minimum = env!("CARGO_PKG_RUST_VERSION");
                version.is_at_least(minimum).then_some(Self { origin, sysroot, version })
            })
            .collect()
    }

    /// Whether it is the system's.
    pub(crate) fn is_system(&self) -> bool {
        self.origin == Origin::System
    }

    /// This toolchain's cargo.
    pub(crate) fn cargo(&self) -> PathBuf {
        self.sysroot.join("bin/cargo")
    }

    /// This toolchain's rustc.
    pub(crate) fn rustc(&self) -> PathBuf {
        self.sysroot.join("bin/rustc")
    }

    /// The major version of rustc's LLVM: the least that the linker must have.
    pub(crate) fn llvm(&self) -> u32 {
        self.version.llvm
    }

    /// Whether `-Z` options need `RUSTC_BOOTSTRAP=1`.
    pub(crate) fn is_stable(&self) -> bool {
        !self.version.release.ends_with("-nightly")
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = match self.origin {
            Origin::Rustup => "rustup",
            Origin::System if Path::new("/etc/debian_version").exists() => "Debian",
            Origin::System => "system",
        };
        write!(f, "{origin} rustc {}", self.version.release)
    }
}

impl Version {
    /// The version of that rustc, if it runs and has an LLVM.
    pub(crate) fn of(rustc: &Path) -> Option<Self> {
        let mut command = Command::new(rustc);
        command.arg("-vV");
        crate::cargo::forget_caller(&mut command);
        Self::parse(&process::probe(&mut command)?)
    }

    fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        let llvm = field("LLVM version: ")?;
        Some(Self {
            release: field("release: ")?.to_owned(),
            host: field("host: ")?.to_owned(),
            llvm: llvm.split('.').next()?.parse().ok()?,
        })
    }

    fn is_at_least(&self, minimum: &str) -> bool {
        leading_numbers(&self.release) >= leading_numbers(minimum)
    }
}

/// Major and minor of a version.
pub(crate) fn leading_numbers(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// The sysroots with cargo, rustc and the sources of core: the undated nightly, dated ones from the
/// newest on, the system's.
fn sysroots(rustup_home: &Path, system: &Path) -> Vec<(Origin, PathBuf)> {
    let mut nightlies: Vec<PathBuf> = fs::read_dir(rustup_home.join("toolchains"))
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("nightly"))
        })
        .collect();
    // By name backwards: `nightly-x86_64-...` sorts behind `nightly-2026-...`.
    nightlies.sort_unstable_by(|a, b| b.cmp(a));
    nightlies
        .into_iter()
        .map(|path| (Origin::Rustup, path))
        .chain([(Origin::System, system.to_owned())])
        .filter(|(_, sysroot)| is_complete(sysroot))
        .collect()
}

fn is_complete(sysroot: &Path) -> bool {
    process::is_executable(&sysroot.join("bin/rustc"))
        && process::is_executable(&sysroot.join("bin/cargo"))
        && sysroot.join("lib/rustlib/src/rust/library/core/Cargo.toml").is_file()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const DEBIAN: &str = "rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)\n\
        binary: rustc\nhost: x86_64-unknown-linux-gnu\nrelease: 1.96.0\nLLVM version: 22.1.8\n";

    fn fake(sysroot: &Path, with_sources: bool) {
        fs::create_dir_all(sysroot.join("bin")).unwrap();
        for tool in ["rustc", "cargo"] {
            let file = sysroot.join("bin").join(tool);
            fs::write(&file, "").unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        if with_sources {
            let core = sysroot.join("lib/rustlib/src/rust/library/core");
            fs::create_dir_all(&core).unwrap();
            fs::write(core.join("Cargo.toml"), "").unwrap();
        }
    }

    #[test]
    fn a_nightly_with_sources_comes_before_the_system() {
        let root = tempfile::tempdir().unwrap();
        let (rustup, usr) = (root.path().join("rustup"), root.path().join("usr"));
        fake(&usr, true);
        for (name, sources) in [
            ("nightly-2026-01-02-x86_64-unknown-linux-gnu", true),
            ("nightly-2026-03-04-x86_64-unknown-linux-gnu", true),
            ("nightly-x86_64-unknown-linux-gnu", true),
            ("stable-x86_64-unknown-linux-gnu", true),
        ] {
            fake(&rustup.join("toolchains").join(name), sources);
        }
        let names: Vec<_> = sysroots(&rustup, &usr)
            .into_iter()
            .map(|(_, path)| path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect();
        assert_eq!(
            names,
            [
                "nightly-x86_64-unknown-linux-gnu",
                "nightly-2026-03-04-x86_64-unknown-linux-gnu",
                "nightly-2026-01-02-x86_64-unknown-linux-gnu",
                "usr"
            ]
        );
    }

    #[test]
    fn a_toolchain_without_sources_is_none() {
        let root = tempfile::tempdir().unwrap();
        let (rustup, usr) = (root.path().join("rustup"), root.path().join("usr"));
        fake(&rustup.join("toolchains/nightly-x86_64-unknown-linux-gnu"), false);
        assert_eq!(sysroots(&rustup, &usr), []);
        fake(&usr, true);
        assert_eq!(sysroots(&rustup, &usr), [(Origin::System, usr)]);
    }

    #[test]
    fn rustc_tells_release_host_and_llvm() {
        let version = Version::parse(DEBIAN).unwrap();
        assert_eq!(version.release, "1.96.0");
        assert_eq!(version.host, "x86_64-unknown-linux-gnu");
        assert_eq!(version.llvm, 22);
        assert_eq!(Version::parse("rustc 1.63.0"), None);
    }

    #[test]
    fn versions_compare_by_number() {
        let version = Version::parse(DEBIAN).unwrap();
        assert!(version.is_at_least("1.95"));
        assert!(version.is_at_least("1.96"));
        assert!(!version.is_at_least("1.100"));
        assert_eq!(leading_numbers("1.97.0-nightly"), Some((1, 97)));
        assert_eq!(leading_numbers("what"), None);
    }
}
