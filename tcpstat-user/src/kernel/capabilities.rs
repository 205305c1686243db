//! The capabilities of the calling thread. Each thread has its own; a new thread has those of the one that starts it.

use std::io;

use rustix::{
    io::Errno,
    thread::{
        CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
        remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
    },
};

/// A set of capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kept(CapabilitySet);

impl Kept {
    pub(crate) const NONE: Self = Self(CapabilitySet::empty());
    /// Load and attach programs, and read their maps.
    pub(crate) const BPF: Self = Self(CapabilitySet::BPF.union(CapabilitySet::PERFMON));
    pub(crate) const SYS_ADMIN: Self = Self(CapabilitySet::SYS_ADMIN);
    pub(crate) const SYS_PTRACE: Self = Self(CapabilitySet::SYS_PTRACE);
    pub(crate) const DAC_READ_SEARCH: Self = Self(CapabilitySet::DAC_READ_SEARCH);
    pub(crate) const DAC_OVERRIDE: Self = Self(CapabilitySet::DAC_OVERRIDE);

    /// What the calling thread may use; nothing if the kernel does not say.
    #[must_use]
    pub(crate) fn held() -> Self {
        Self(capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.permitted))
    }

    /// What the calling thread uses now.
    #[cfg(test)]
    pub(crate) fn in_effect() -> Self {
        Self(capabilities(None).unwrap().effective)
    }

    #[must_use]
    pub(crate) fn and(self, more: Self) -> Self {
        Self(self.0.union(more.0))
    }

    /// The capabilities that both have.
    #[must_use]
    pub(crate) fn within(self, other: Self) -> Self {
        Self(self.0.intersection(other.0))
    }

    #[must_use]
    pub(crate) fn has(self, all: Self) -> bool {
        self.0.contains(all.0)
    }

    #[must_use]
    pub(crate) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    #[must_use]
    pub(crate) fn len(self) -> u32 {
        self.0.bits().count_ones()
    }

    /// The capabilities that `self` has and `other` lacks.
    #[must_use]
    pub(crate) fn without(self, other: Self) -> Self {
        Self(self.0.difference(other.0))
    }

    /// For example `CAP_PERFMON CAP_BPF`, or `none`.
    #[must_use]
    pub(crate) fn words(self) -> String {
        let words: Vec<_> = self.0.iter_names().map(|(name, _)| format!("CAP_{name}")).collect();
        if words.is_empty() { "none".to_owned() } else { words.join(" ") }
    }

    /// Leaves the calling thread these capabilities, as far as it has them. What is given up cannot come back.
    ///
    /// # Errors
    /// If the kernel refuses: a seccomp filter does not allow capset.
    pub(crate) fn keep(self) -> io::Result<()> {
        let before = capabilities(None)?;
        let kept = before.permitted.intersection(self.0);
        let after = CapabilitySets {
            effective: kept,
            permitted: kept,
            inheritable: CapabilitySet::empty(),
        };
        // A filter that refuses capset does not matter if there is nothing to give up.
        if before == after { Ok(()) } else { Ok(set_capabilities(None, after)?) }
    }

    /// Does `work` as a thread would that has these capabilities alone. Threads that it starts have no others in effect.
    pub(crate) fn do_with<T>(self, work: impl FnOnce() -> T) -> T {
        let before = capabilities(None).ok();
        let only = before
            .map(|sets| CapabilitySets { effective: sets.permitted.intersection(self.0), ..sets });
        let lowered = only.is_some_and(|sets| set_capabilities(None, sets).is_ok());
        let done = work();
        if let Some(sets) = before.filter(|_| lowered) {
            // The kernel accepts what was there before.
            let _ = set_capabilities(None, sets);
        }
        done
    }
}

/// Makes the kernel grant no privileges to this process from now on, as executing a set-user-ID program would. Empties the
/// sets from which a program that is executed would get capabilities: inheritable, ambient, and, with
/// CAP_SETPCAP, the bounding set. tcpstat executes none, so nothing is lost if the kernel refuses.
pub(crate) fn pass_on_none() {
    let _ = set_no_new_privs(true);
    if let Ok(sets) = capabilities(None)
        && !sets.inheritable.is_empty()
    {
        let _ =
            set_capabilities(None, CapabilitySets { inheritable: CapabilitySet::empty(), ..sets });
    }
    let _ = clear_ambient_capability_set();
    for number in 0..u64::BITS {
        let one = CapabilitySet::from_bits_retain(1 << number);
        // EINVAL comes after the last one that the kernel knows.
        if let Err(Errno::INVAL | Errno::PERM) = remove_capability_from_bounding_set(one) {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn capabilities_have_the_kernels_names() {
        assert_eq!(Kept::BPF.words(), "CAP_PERFMON CAP_BPF");
        assert_eq!(Kept::NONE.words(), "none");
        assert_eq!(Kept::BPF.and(Kept::SYS_PTRACE).without(Kept::BPF), Kept::SYS_PTRACE);
    }

    #[test]
    fn a_thread_has_what_it_keeps_and_can_get_nothing_back() {
        let before = Kept::held();
        thread::spawn(move || {
            let kept = Kept::BPF.within(before);
            assert_eq!(Kept::NONE.do_with(Kept::in_effect), Kept::NONE);
            assert_eq!(Kept::in_effect(), before, "what was there before is back");
            Kept::BPF.keep().unwrap();
            assert_eq!((Kept::held(), Kept::in_effect()), (kept, kept));
            let wanted = CapabilitySet::SYS_ADMIN;
            let more = CapabilitySets {
                effective: wanted,
                permitted: wanted,
                inheritable: CapabilitySet::empty(),
            };
            assert_eq!(set_capabilities(None, more), Err(Errno::PERM));
        })
        .join()
        .unwrap();
        assert_eq!(Kept::held(), before, "other threads keep theirs");
    }
}
