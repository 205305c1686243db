//! Which kernels the matrix is made of, and which packages are they.

use std::cmp::Reverse;
use std::fmt;

use anyhow::{Context, Result};

use crate::matrix::packages::{Package, Series};

/// A kernel that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The newest of that series.
    Series(Series),
    /// The newest of that series, else of the nearest one with the same major number.
    Near(Series),
    /// The newest of all.
    Newest,
}

impl Wanted {
    /// The kernels of the matrix: the long-term series that Debian has, and its newest.
    pub(crate) fn matrix() -> Vec<Self> {
        vec![
            Self::Series((5, 10)),
            Self::Series((6, 1)),
            Self::Series((6, 12)),
            Self::Near((6, 18)),
            Self::Newest,
        ]
    }

    /// `newest`, or a series such as `5.10`.
    pub(crate) fn parse(name: &str) -> Result<Self> {
        if name == "newest" {
            return Ok(Self::Newest);
        }
        let series = name
            .split_once('.')
            .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        let series = series
            .with_context(|| format!("{name}: a kernel is `newest` or a series such as 5.10"))?;
        Ok(Self::Series(series))
    }

    /// The packages that fit, the best first; none of a series that is `taken`.
    pub(crate) fn candidates(self, offered: &[Package], taken: &[Series]) -> Vec<Package> {
        let mut fitting: Vec<_> = offered
            .iter()
            .filter_map(|package| Some((package.series()?, package)))
            .filter(|(series, _)| !taken.contains(series))
            .filter(|(series, _)| match self {
                Self::Series(wanted) => *series == wanted,
                Self::Near(wanted) => series.0 == wanted.0,
                Self::Newest => true,
            })
            .collect();
        fitting.sort_by_key(|(series, package)| {
            let distance = match self {
                Self::Near(wanted) => series.1.abs_diff(wanted.1),
                Self::Series(_) | Self::Newest => 0,
            };
            (distance, Reverse(package.numbers()))
        });
        fitting.into_iter().map(|(_, package)| package.clone()).collect()
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Series((major, minor)) => write!(f, "{major}.{minor}"),
            Self::Near((major, minor)) => write!(f, "{major}.{minor} or near"),
            Self::Newest => write!(f, "newest"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered() -> Vec<Package> {
        let versions = "5.10.223-1 5.10.262-1 6.1.192-2 6.12.117-1~deb12u1 6.16.12-1 6.17.13-1 \
            7.0.4-1 7.3.4-1~bpo13+1 6.12.90-2 7.2.13-1";
        let package = |version: &str| {
            let name = format!("linux-image-{version}");
            Package { name, version: version.to_owned(), parts: Vec::new() }
        };
        versions.split(' ').map(package).collect()
    }

    fn chosen(wanted: Wanted, taken: &[Series]) -> Vec<String> {
        let candidates = wanted.candidates(&offered(), taken);
        candidates.into_iter().map(|package| package.version).collect()
    }

    #[test]
    fn the_newest_of_a_series_comes_first() {
        assert_eq!(chosen(Wanted::Series((5, 10)), &[]), ["5.10.262-1", "5.10.223-1"]);
        assert_eq!(chosen(Wanted::Series((6, 12)), &[]), ["6.12.117-1~deb12u1", "6.12.90-2"]);
        assert_eq!(chosen(Wanted::Series((5, 15)), &[]), Vec::<String>::new());
    }

    #[test]
    fn the_nearest_series_stands_in_unless_it_is_taken() {
        let near = |taken: &[Series]| chosen(Wanted::Near((6, 18)), taken).remove(0);
        assert_eq!(near(&[]), "6.17.13-1");
        assert_eq!(near(&[(6, 17)]), "6.16.12-1");
    }

    #[test]
    fn the_newest_is_the_newest_of_all() {
        assert_eq!(chosen(Wanted::Newest, &[])[..2], ["7.3.4-1~bpo13+1", "7.2.13-1"]);
    }

    #[test]
    fn a_kernel_is_named_by_its_series() {
        assert_eq!(Wanted::parse("6.12").unwrap(), Wanted::Series((6, 12)));
        assert_eq!(Wanted::parse("newest").unwrap(), Wanted::Newest);
        for wrong in ["6", "6.x", "", "6.1.5"] {
            assert!(Wanted::parse(wrong).is_err(), "{wrong}");
        }
    }
}
