//! What apt says about packages.

/// Major and minor number of a kernel.
pub(crate) type Series = (u64, u64);

/// A package as a suite lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Package {
    /// Its name.
    pub(crate) name: String,
    /// Its version; for a kernel this begins with the kernel's.
    pub(crate) version: String,
    /// The names of the packages that it depends on, alternatives left out.
    pub(crate) depends: Vec<String>,
}

impl Package {
    #[cfg(test)]
    pub(crate) fn new(name: &str, version: &str) -> Self {
        Self { name: name.to_owned(), version: version.to_owned(), depends: Vec::new() }
    }

    /// The packages that a kernel comes in: one, or since 6.19 an empty one that needs the others.
    pub(crate) fn parts(&self) -> Vec<&str> {
        const OTHERS: [&str; 3] = ["linux-base-", "linux-binary-", "linux-modules-"];
        let part = |name: &&str| OTHERS.iter().any(|prefix| name.starts_with(prefix));
        let depends = self.depends.iter().map(String::as_str);
        [self.name.as_str()].into_iter().chain(depends.filter(part)).collect()
    }

    /// The series of a kernel.
    pub(crate) fn series(&self) -> Option<Series> {
        let numbers = self.numbers();
        Some((*numbers.first()?, *numbers.get(1)?))
    }

    /// The version of a kernel, such as `6.1.192`.
    pub(crate) fn upstream(&self) -> &str {
        self.version.split('-').next().unwrap_or_default()
    }

    /// The numbers of the version, in their order, without what follows a tilde.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        let version = self.version.split('~').next().unwrap_or_default();
        version.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
    }
}

/// Whether that is a kernel of its own: not one that stands for the newest of a series.
pub(crate) fn is_cloud_kernel(name: &str) -> bool {
    let version = name
        .strip_prefix("linux-image-")
        .and_then(|rest| rest.strip_suffix("-cloud-amd64"))
        .unwrap_or_default();
    version.starts_with(|c: char| c.is_ascii_digit()) && version.split('.').count() > 2
}

/// The packages in the output of `apt-cache show`.
pub(crate) fn parse(text: &str) -> Vec<Package> {
    text.split("\n\n")
        .filter_map(|stanza| {
            let field = |name: &str| {
                stanza.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
            };
            Some(Package {
                name: field("Package:")?,
                version: field("Version:")?,
                depends: names(&field("Depends:").unwrap_or_default()),
            })
        })
        .collect()
}

fn names(depends: &str) -> Vec<String> {
    depends
        .split(',')
        .filter(|dependency| !dependency.contains('|'))
        .filter_map(|dependency| dependency.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: &str = "Package: linux-image-5.10.0-46-cloud-amd64\nSource: x\n\
        Version: 5.10.262-1\nDepends: kmod, linux-base (>= 4.3~), a (>= 0.1) | b\n\n\
        Package: linux-image-7.3.4+deb13-cloud-amd64\nVersion: 7.3.4-1~bpo13+1\n\
        Depends: dracut | initramfs-tools, linux-base-7.3.4+deb13-cloud-amd64 (= 7.3.4-1~bpo13+1), \
        linux-binary-7.3.4+deb13-cloud-amd64 (= 7.3.4-1~bpo13+1), \
        linux-modules-7.3.4+deb13-cloud-amd64 (= 7.3.4-1~bpo13+1)\n";

    #[test]
    fn a_kernel_comes_in_one_package_or_in_four() {
        let packages = parse(SHOWN);
        assert_eq!(packages[0].parts(), ["linux-image-5.10.0-46-cloud-amd64"]);
        assert_eq!(
            packages[1].parts(),
            [
                "linux-image-7.3.4+deb13-cloud-amd64",
                "linux-base-7.3.4+deb13-cloud-amd64",
                "linux-binary-7.3.4+deb13-cloud-amd64",
                "linux-modules-7.3.4+deb13-cloud-amd64"
            ]
        );
    }

    #[test]
    fn the_version_of_the_package_is_that_of_the_kernel() {
        let packages = parse(SHOWN);
        assert_eq!(packages[0].series(), Some((5, 10)));
        assert_eq!(packages[0].upstream(), "5.10.262");
        assert_eq!(packages[1].numbers(), [7, 3, 4, 1]);
    }

    #[test]
    fn only_kernels_themselves_count() {
        for name in ["linux-image-6.1.0-56-cloud-amd64", "linux-image-6.12.90+deb12.1-cloud-amd64"]
        {
            assert!(is_cloud_kernel(name), "{name}");
        }
        for name in [
            "linux-image-6.1-cloud-amd64",
            "linux-image-cloud-amd64",
            "linux-image-6.1.0-56-amd64",
            "linux-image-6.1.0-56-cloud-amd64-dbg",
            "linux-binary-7.3.4+deb13-cloud-amd64",
        ] {
            assert!(!is_cloud_kernel(name), "{name}");
        }
    }
}
