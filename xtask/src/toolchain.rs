//! The rustc that builds for BPF: one with the sources of `core` at its sysroot, and new enough.
//!
//! A rustup nightly with `rust-src` and Debian's packages have the same layout under their sysroot, so
//! both are used alike: by the paths of their own cargo and rustc, past rustup's proxies.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fmt};

use crate::{cargo, files, process};

const SYSTEM: &str = "/usr";

/// Debian's packages of a whole chain: rustc, the sources of core, and cargo.
pub(crate) const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "rust-web-src", "cargo-web"];

/// The remedy that needs no Debian.
pub(crate) const RUSTUP_REMEDY: &str = "`rustup toolchain install nightly --component rust-src`";

/// A toolchain that can build `core`.
#[derive(Debug)]
pub(crate) struct Toolchain {
    sysroot: PathBuf,
    version: Version,
}

/// What `rustc -vV` says.
#[derive(Debug, PartialEq, Eq)]
struct Version {
    /// Such as `1.96.0` or `1.97.0-nightly`.
    release: String,
    /// The major version of its LLVM.
    llvm: u32,
}

impl Toolchain {
    /// Those that are installed, the preferred one first.
    pub(crate) fn installed() -> Vec<Self> {
        let rustup_home = env::var_os("RUSTUP_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(env::home_dir()?.join(".rustup")))
            .unwrap_or_default();
        let version = |sysroot: &Path| {
            let mut command = Command::new(sysroot.join("bin/rustc"));
            cargo::forget_caller(&mut command);
            Version::parse(&process::probe(command.arg("-vV"))?)
        };
        let minimum = leading_numbers(env!("CARGO_PKG_RUST_VERSION"));
        sysroots(&rustup_home, Path::new(SYSTEM))
            .into_iter()
            .filter_map(|sysroot| Some(Self { version: version(&sysroot)?, sysroot }))
            .filter(|toolchain| leading_numbers(&toolchain.version.release) >= minimum)
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
        let origin = match self.is_system() {
            false => "rustup",
            true if Path::new("/etc/debian_version").exists() => "Debian",
            true => "system",
        };
        write!(f, "{origin} rustc {}", self.version.release)
    }
}

impl Version {
    fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        let llvm = field("LLVM version: ")?.split('.').next()?.parse().ok()?;
        Some(Self { release: field("release: ")?.to_owned(), llvm })
    }
}

/// Major and minor of a version.
pub(crate) fn leading_numbers(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// The sysroots with cargo, rustc and the sources of core: the undated nightly, dated ones from the
/// newest on, the system's.
fn sysroots(rustup_home: &Path, system: &Path) -> Vec<PathBuf> {
    let is_nightly = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("nightly"))
    };
    let mut found = files::entries(&rustup_home.join("toolchains")).unwrap_or_default();
    found.retain(is_nightly);
    // By name backwards: `nightly-x86_64-...` sorts behind `nightly-2026-...`.
    found.sort_unstable_by(|a, b| b.cmp(a));
    found.push(system.to_owned());
    found.retain(|sysroot| {
        ["bin/rustc", "bin/cargo"].iter().all(|tool| process::is_executable(&sysroot.join(tool)))
            && sysroot.join("lib/rustlib/src/rust/library/core/Cargo.toml").is_file()
    });
    found
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

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
            ("nightly-2026-01-02-x86_64", true),
            ("nightly-2026-03-04-x86_64", true),
            ("nightly-2026-05-06-x86_64", false),
            ("nightly-x86_64", true),
            ("stable-x86_64", true),
        ] {
            fake(&rustup.join("toolchains").join(name), sources);
        }
        let found = sysroots(&rustup, &usr);
        let names = found.iter().map(|path| path.file_name().unwrap().to_str().unwrap());
        let expected =
            ["nightly-x86_64", "nightly-2026-03-04-x86_64", "nightly-2026-01-02-x86_64", "usr"];
        assert_eq!(names.collect::<Vec<_>>(), expected);
        assert_eq!(sysroots(root.path(), root.path()), [""; 0].map(PathBuf::from));
    }

    #[test]
    fn rustc_tells_release_and_llvm() {
        let debian = "rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)\n\
            host: x86_64-unknown-linux-gnu\nrelease: 1.96.0\nLLVM version: 22.1.8\n";
        let version = Version { release: "1.96.0".to_owned(), llvm: 22 };
        assert_eq!(Version::parse(debian), Some(version));
        assert_eq!(Version::parse("rustc 1.63.0"), None);
    }

    #[test]
    fn versions_compare_by_number() {
        assert_eq!(leading_numbers("1.97.0-nightly"), Some((1, 97)));
        assert_eq!(leading_numbers("1.100"), Some((1, 100)));
        assert_eq!(leading_numbers("what"), None);
    }
}
