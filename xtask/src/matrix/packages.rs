//! What apt says about kernels.

use std::collections::HashSet;

/// Major and minor number of a kernel.
pub(crate) type Series = (u64, u64);

/// A kernel as a suite lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// It begins with the kernel's own.
    pub(crate) version: String,
    /// All packages that it comes in: one, or since 6.19 an empty one and others.
    pub(crate) parts: Vec<String>,
}

impl Package {
    pub(crate) fn series(&self) -> Option<Series> {
        let numbers = self.numbers();
        Some((*numbers.first()?, *numbers.get(1)?))
    }

    /// The version of the kernel, such as `6.1.192`.
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

/// The kernels in the output of `apt-cache show`, with those of their parts that are `listed`: some suites
/// list a kernel without its linux-base, which then holds nothing but its configuration.
pub(crate) fn parse(shown: &str, listed: &HashSet<&str>) -> Vec<Package> {
    let kernel = |stanza: &str| {
        let field = |name| stanza.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let name = field("Package:")?.to_owned();
        let others = ["base", "binary", "modules"].map(|part| name.replacen("image", part, 1));
        let parts = others.into_iter().filter(|part| listed.contains(part.as_str()));
        let parts = [name.clone()].into_iter().chain(parts).collect();
        Some(Package { name, version: field("Version:")?.to_owned(), parts })
    };
    shown.split("\n\n").filter_map(kernel).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_comes_in_one_package_or_in_several() {
        let shown = "Package: linux-image-5.10.0-46-cloud-amd64\nSource: x\nVersion: 5.10.262-1\n\n\
            Package: linux-image-7.3.4+deb13-cloud-amd64\nVersion: 7.3.4-1~bpo13+1\n";
        let others =
            ["linux-binary-7.3.4+deb13-cloud-amd64", "linux-modules-7.3.4+deb13-cloud-amd64"];
        let packages = parse(shown, &HashSet::from(others));
        assert_eq!(packages[0].parts, ["linux-image-5.10.0-46-cloud-amd64"]);
        assert_eq!(packages[1].parts[0], "linux-image-7.3.4+deb13-cloud-amd64");
        assert_eq!(packages[1].parts[1..], others);
        assert_eq!(packages[0].series(), Some((5, 10)));
        assert_eq!(packages[0].upstream(), "5.10.262");
        assert_eq!(packages[1].numbers(), [7, 3, 4, 1]);
    }

    #[test]
    fn only_kernels_themselves_count() {
        for (name, expected) in [
            ("linux-image-6.1.0-56-cloud-amd64", true),
            ("linux-image-6.12.90+deb12.1-cloud-amd64", true),
            ("linux-image-6.1-cloud-amd64", false),
            ("linux-image-cloud-amd64", false),
            ("linux-image-6.1.0-56-amd64", false),
            ("linux-image-6.1.0-56-cloud-amd64-dbg", false),
            ("linux-binary-7.3.4+deb13-cloud-amd64", false),
        ] {
            assert_eq!(is_cloud_kernel(name), expected, "{name}");
        }
    }
}
