//! Names of pods, from the directories that the kubelet makes below /var/log/pods.

use std::collections::HashMap;

use super::pod_uid::PodUid;

/// A pod's namespace and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodName {
    /// The namespace: a DNS label.
    pub namespace: String,
    /// The name: a DNS subdomain.
    pub name: String,
}

impl PodName {
    /// Longest namespace and longest name in bytes (RFC 1123, which the API server checks).
    const LONGEST: (usize, usize) = (63, 253);

    /// The pod of a directory `NAMESPACE_NAME_UID`, else none: a directory of another program, or one of a
    /// kubelet before 1.14, which is the UID alone.
    ///
    /// Neither namespace nor name has `_`. The UID of a static pod is the one in its cgroup path.
    #[must_use]
    pub fn parse(directory: &[u8]) -> Option<(Self, PodUid)> {
        let mut parts = str::from_utf8(directory).ok()?.splitn(3, '_');
        let (namespace, name, uid) = (parts.next()?, parts.next()?, parts.next()?);
        let fits = |text: &str, most| {
            let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
            (1..=most).contains(&text.len()) && text.bytes().all(allowed)
        };
        let fits = fits(namespace, Self::LONGEST.0)
            && !namespace.contains('.')
            && fits(name, Self::LONGEST.1);
        let pod = Self { namespace: namespace.to_owned(), name: name.to_owned() };
        fits.then(|| Some((pod, PodUid::parse(uid)?))).flatten()
    }
}

/// Names of pods by UID.
#[derive(Clone, Debug, Default)]
pub struct PodNames {
    /// None for a UID that two directories claim: neither name is used.
    by_uid: HashMap<PodUid, Option<PodName>>,
    /// Directories that are left out: of another form, or past the bound.
    left_out: usize,
}

impl PodNames {
    /// Most pods: a kubelet runs 110 by default, and keeps the directories of some that have ended.
    pub const MOST: usize = 4_096;

    /// The table for the names of the directories in /var/log/pods, in any order. At most [`Self::MOST`]
    /// pods; others are counted only.
    #[must_use]
    pub fn new<N: AsRef<[u8]>>(directories: impl IntoIterator<Item = N>) -> Self {
        let mut names = Self::default();
        for directory in directories {
            match PodName::parse(directory.as_ref()) {
                Some((pod, uid)) => names.add(uid, pod),
                None => names.left_out += 1,
            }
        }
        names
    }

    /// The name of the pod with this UID.
    #[must_use]
    pub fn get(&self, uid: &PodUid) -> Option<&PodName> {
        self.by_uid.get(uid)?.as_ref()
    }

    /// How many directories are left out: not of the form, or past the bound.
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    fn add(&mut self, uid: PodUid, pod: PodName) {
        if let Some(there) = self.by_uid.get_mut(&uid) {
            if there.as_ref() != Some(&pod) {
                *there = None;
            }
        } else if self.by_uid.len() < Self::MOST {
            self.by_uid.insert(uid, Some(pod));
        } else {
            self.left_out += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "01234567-cccc-dddd-eeee-ffff00001111";

    fn parse(directory: &str) -> Option<(String, String, String)> {
        let (pod, uid) = PodName::parse(directory.as_bytes())?;
        Some((pod.namespace, pod.name, uid.as_str().to_owned()))
    }

    #[test]
    fn a_directory_is_namespace_name_and_uid() {
        for (namespace, name, uid) in [
            ("shop", "web-5c689d7589-abcde", "12345678-1234-1234-1234-1234567890ab"),
            // As https://github.com/kubernetes/kubernetes: `BuildPodLogsDirectory` for a static pod.
            ("kube-system", "kube-apiserver-cp.example", "e0ee64f88fb19c12ee94f5b24507f060"),
            ("a", "b", "my_own_uid"),
        ] {
            let found = parse(&format!("{namespace}_{name}_{uid}")).unwrap();
            assert_eq!((&*found.0, &*found.1, &*found.2), (namespace, name, uid));
        }
    }

    #[test]
    fn other_directories_are_none() {
        for directory in [
            "",
            UID,
            "a_b",
            "a__c",
            "_b_c",
            "a_b_",
            "A_b_c",
            "a.b_c_d",
            "a_b\u{1b}_c",
            "a_b_c d",
            "a/b_c_d",
            "ä_b_c",
            &format!("{}_b_c", "a".repeat(64)),
            &format!("a_{}_c", "b".repeat(254)),
            &format!("a_b_{}", "c".repeat(65)),
        ] {
            assert_eq!(parse(directory), None, "{directory:?}");
        }
        assert_eq!(PodName::parse(b"a_\xff_c"), None);
    }

    #[test]
    fn pods_are_found_by_uid_and_a_uid_with_two_names_has_none() {
        let names = PodNames::new(["a_b_1", "c_d_2", "e_f_2", "lost+found", "a_b_1"]);
        let uid = |text| PodUid::parse(text).unwrap();
        let pod = names.get(&uid("1")).unwrap();
        assert_eq!((&*pod.namespace, &*pod.name), ("a", "b"));
        assert_eq!(names.get(&uid("2")), None);
        assert_eq!(names.get(&uid("3")), None);
        assert_eq!(names.left_out(), 1);
    }

    #[test]
    fn a_table_is_bounded() {
        let names = PodNames::new((0..PodNames::MOST + 10).map(|at| format!("a_b_{at}")));
        assert_eq!(names.by_uid.len(), PodNames::MOST);
        assert_eq!(names.left_out(), 10);
    }
}
