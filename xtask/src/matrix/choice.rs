//! Which kernels the matrix is made of, and which packages they are.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::fmt;

use anyhow::{Context, Result};

use crate::matrix::flavour::Flavour;

/// Major and minor number of a kernel.
pub(crate) type Series = (u64, u64);

/// A kernel as a suite lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) flavour: Flavour,
    /// It begins with the kernel's own.
    pub(crate) version: String,
    /// All packages that it comes in: one, or since 6.19 an empty one and others.
    pub(crate) parts: Vec<String>,
}

impl Package {
    pub(crate) fn series(&self) -> Series {
        let numbers = self.numbers();
        let number = |at| numbers.get(at).copied().unwrap_or_default();
        (number(0), number(1))
    }

    /// The version of the kernel, such as `6.1.192`.
    pub(crate) fn upstream(&self) -> &str {
        self.version.split('-').next().unwrap_or_default()
    }

    /// The numbers of the version, in their order, without what follows a tilde.
    fn numbers(&self) -> Vec<u64> {
        let version = self.version.split('~').next().unwrap_or_default();
        version.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
    }
}

/// The flavour of the kernel that a package has; `None` for other packages, and for a metapackage for the newest of a
/// series.
pub(crate) fn flavour(name: &str) -> Option<Flavour> {
    let rest = name.strip_prefix("linux-image-")?;
    let is_kernel = |version: &str| {
        version.starts_with(|c: char| c.is_ascii_digit()) && version.split('.').count() > 2
    };
    let mut flavours = Flavour::ALL.into_iter();
    flavours.find(|flavour| rest.strip_suffix(flavour.package()).is_some_and(is_kernel))
}

/// The kernels in the output of `apt-cache show`, with those of their parts that are `listed`: some suites
/// list a kernel without its linux-base, which then has only its configuration.
pub(crate) fn parse(shown: &str, listed: &HashSet<&str>) -> Vec<Package> {
    let kernel = |stanza: &str| {
        let field = |name| stanza.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let name = field("Package:")?.to_owned();
        let flavour = flavour(&name)?;
        let others = ["base", "binary", "modules"].map(|part| name.replacen("image", part, 1));
        let parts = others.into_iter().filter(|part| listed.contains(part.as_str()));
        let parts = [name.clone()].into_iter().chain(parts).collect();
        Some(Package { name, flavour, version: field("Version:")?.to_owned(), parts })
    };
    shown.split("\n\n").filter_map(kernel).collect()
}

/// A kernel that is asked for: the newest that fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) flavour: Flavour,
    age: Age,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Age {
    Series(Series),
    /// Of that series, else of the nearest one with the same major number.
    Near(Series),
    /// Of all.
    Newest,
}

/// The kernels of the matrix: the long-term series that Debian has, and its newest. For ARM64 one without hooks,
/// and the newest with the larger pages.
pub(crate) const MATRIX: [Wanted; 7] = [
    Wanted { flavour: Flavour::Amd64, age: Age::Series((5, 10)) },
    Wanted { flavour: Flavour::Amd64, age: Age::Series((6, 1)) },
    Wanted { flavour: Flavour::Amd64, age: Age::Series((6, 12)) },
    Wanted { flavour: Flavour::Amd64, age: Age::Near((6, 18)) },
    Wanted { flavour: Flavour::Amd64, age: Age::Newest },
    Wanted { flavour: Flavour::Arm64, age: Age::Series((6, 1)) },
    Wanted { flavour: Flavour::Arm64Pages16k, age: Age::Newest },
];

/// The series of a kernel's release, such as `6.18.44-cloud-amd64`.
pub(crate) fn series(release: &str) -> Option<Series> {
    let mut numbers = release.split(['.', '-']).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

impl Wanted {
    /// Whether it asks for that series, of this machine's architecture.
    pub(crate) fn names(self, series: Series) -> bool {
        let is_it = matches!(self.age, Age::Series(wanted) | Age::Near(wanted) if wanted == series);
        is_it && self.flavour == Flavour::Amd64
    }

    /// `newest`, or a series such as `5.10`; `arm64-` or `arm64-16k-` can be before it.
    pub(crate) fn parse(name: &str) -> Result<Self> {
        // The longest prefix first: it begins with another.
        let named = Flavour::ALL
            .into_iter()
            .rev()
            .find_map(|flavour| Some((flavour, name.strip_prefix(flavour.prefix())?)));
        let (flavour, rest) = named.unwrap_or((Flavour::Amd64, name));
        let numbers = || {
            let (major, minor) = rest.split_once('.')?;
            Some(Age::Series((major.parse().ok()?, minor.parse().ok()?)))
        };
        let age = if rest == "newest" { Some(Age::Newest) } else { numbers() };
        age.map(|age| Self { flavour, age }).with_context(|| {
            format!(
                "{name}: a kernel is `newest` or a series such as 5.10; for ARM64 `arm64-newest` or `arm64-6.1`, with \
                 pages of 16 KiB `arm64-16k-newest`"
            )
        })
    }

    /// The package that fits best; none of a series that is `taken`.
    pub(crate) fn best<'a>(self, offered: &'a [Package], taken: &[Series]) -> Option<&'a Package> {
        let fits = |(major, minor): Series| match self.age {
            Age::Series(wanted) => (major, minor) == wanted,
            Age::Near(wanted) => major == wanted.0,
            Age::Newest => true,
        };
        let fitting = offered.iter().filter(|package| {
            let series = package.series();
            package.flavour == self.flavour && fits(series) && !taken.contains(&series)
        });
        fitting.min_by_key(|package| {
            let distance = match self.age {
                Age::Near(wanted) => package.series().1.abs_diff(wanted.1),
                Age::Series(_) | Age::Newest => 0,
            };
            (distance, Reverse(package.numbers()))
        })
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.flavour.prefix())?;
        match self.age {
            Age::Series((major, minor)) => write!(f, "{major}.{minor}"),
            Age::Near((major, minor)) => write!(f, "{major}.{minor} or near"),
            Age::Newest => write!(f, "newest"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_a_series_or_the_nearest_series_comes_first() {
        let versions = "5.10.223-1 5.10.262-1 6.1.192-2 6.12.117-1~deb12u1 6.16.12-1 6.17.13-1 \
            7.0.4-1 7.3.4-1~bpo13+1 6.12.90-2 7.2.13-1";
        let package = |version: &str| Package {
            name: format!("linux-image-{version}"),
            flavour: Flavour::Amd64,
            version: version.to_owned(),
            parts: Vec::new(),
        };
        let mut offered: Vec<_> = versions.split(' ').map(package).collect();
        offered.push(Package { flavour: Flavour::Arm64, ..package("7.4.1-1") });
        let best = |age: Age, taken: &[Series]| {
            let wanted = Wanted { flavour: Flavour::Amd64, age };
            wanted.best(&offered, taken).map(|package| package.version.as_str())
        };
        assert_eq!(best(Age::Series((5, 10)), &[]), Some("5.10.262-1"));
        assert_eq!(best(Age::Series((6, 12)), &[]), Some("6.12.117-1~deb12u1"));
        assert_eq!(best(Age::Series((5, 15)), &[]), None);
        assert_eq!(best(Age::Near((6, 18)), &[]), Some("6.17.13-1"));
        assert_eq!(best(Age::Near((6, 18)), &[(6, 17)]), Some("6.16.12-1"));
        assert_eq!(best(Age::Newest, &[]), Some("7.3.4-1~bpo13+1"));
    }

    #[test]
    fn the_series_of_this_machine_is_found_in_the_matrix() {
        let here = series("6.18.44-fc-v669").unwrap();
        let named: Vec<_> = MATRIX.into_iter().filter(|wanted| wanted.names(here)).collect();
        assert_eq!(named, [Wanted { flavour: Flavour::Amd64, age: Age::Near((6, 18)) }]);
        assert_eq!(series("6.1.0-56-cloud-amd64"), Some((6, 1)));
        assert_eq!(series("7.4-rc1"), Some((7, 4)));
        assert_eq!(series("unknown"), None);
        assert!(!MATRIX.into_iter().any(|wanted| wanted.names((7, 4))));
    }

    #[test]
    fn a_kernel_comes_in_one_package_or_in_several() {
        let shown = "Package: linux-image-5.10.0-46-cloud-amd64\nSource: x\nVersion: 5.10.262-1\n\n\
            Package: linux-image-7.3.4+deb13-cloud-amd64\nVersion: 7.3.4-1~bpo13+1\n";
        let others =
            ["linux-binary-7.3.4+deb13-cloud-amd64", "linux-modules-7.3.4+deb13-cloud-amd64"];
        let packages = parse(shown, &HashSet::from(others));
        assert_eq!(packages[0].parts, ["linux-image-5.10.0-46-cloud-amd64"]);
        assert_eq!((packages[0].series(), packages[0].upstream()), ((5, 10), "5.10.262"));
        assert_eq!(packages[1].parts[1..], others);
        assert!(packages.iter().all(|package| package.flavour == Flavour::Amd64));
        for name in ["linux-image-6.1-cloud-amd64", "linux-image-6.1.0-56-amd64", others[0]] {
            assert_eq!(flavour(name), None, "{name}");
        }
    }

    #[test]
    fn arm64_has_kernels_with_pages_of_two_sizes() {
        for (name, expected) in [
            ("linux-image-6.1.0-56-cloud-arm64", Some(Flavour::Arm64)),
            ("linux-image-6.12.90+deb13.1-cloud-arm64", Some(Flavour::Arm64)),
            ("linux-image-7.3.4+deb13-arm64-16k", Some(Flavour::Arm64Pages16k)),
            ("linux-image-6.12-arm64-16k", None),
            ("linux-image-7.3.4+deb13-arm64", None),
            ("linux-image-7.3.4+deb13-rt-arm64", None),
        ] {
            assert_eq!(flavour(name), expected, "{name}");
        }
    }

    #[test]
    fn a_name_has_a_flavour_and_a_series() {
        for name in ["5.10", "newest", "arm64-6.1", "arm64-newest", "arm64-16k-newest"] {
            assert_eq!(Wanted::parse(name).unwrap().to_string(), name);
        }
        for name in ["arm64", "arm64-", "arm64-16k", "riscv64-6.1", "6"] {
            let error = Wanted::parse(name).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{name}: ")), "{error}");
        }
    }
}
