//! Compares what the programs rely on in the kernel's structures with the running kernel's BTF.

use tcpstat_ebpf::{
    CgroupMember, FIXED_MEMBERS, FixedMember, MEMBERS, NetnsKey, RECORD_FIELDS, Reader,
};

use super::btf::{BtfError, KernelTypes, Place, Structure};
use crate::ages::TickRate;

/// Names and values of read-only globals of the BPF object.
pub(super) type Globals = Vec<(&'static str, u32)>;

/// The offsets that these programs need, in bytes.
///
/// # Errors
/// The first member that the kernel does not have, or not as the programs read it: [`BtfError::Missing`],
/// [`BtfError::BitField`], [`BtfError::Size`], [`BtfError::Offset`].
pub(super) fn offsets(types: &KernelTypes, reader: Reader) -> Result<Globals, BtfError> {
    // The tables have the members of one structure together, and finding a structure takes milliseconds.
    let mut last: Option<Structure<'_>> = None;
    let mut find = |structure, member| match last {
        Some(found) if found.name == structure => Ok(found),
        _ => types.structure(structure, member).inspect(|&found| last = Some(found)),
    };
    for fixed in FIXED_MEMBERS.iter().chain(RECORD_FIELDS) {
        let &FixedMember { structure, member, offset: expected, bytes, .. } = fixed;
        if fixed.readers.contains(&reader) {
            let place = find(structure, member)?.place(member)?;
            if place.offset != expected {
                let found = place.offset;
                return Err(BtfError::Offset { structure, member, expected, found });
            }
            check_size(structure, member, bytes.unwrap_or(place.size), place)?;
        }
    }
    let mut globals = Globals::new();
    for it in MEMBERS.iter().filter(|it| it.readers.contains(&reader)) {
        let place = find(it.structure, it.member)?.place(it.member)?;
        check_size(it.structure, it.member, it.bytes, place)?;
        globals.push((it.global, place.offset));
    }
    Ok(globals)
}

/// Whether programs identify network namespaces by their cookie on this kernel; else by their inode number.
///
/// # Errors
/// [`BtfError`] if the types of the kernel cannot be read.
pub(crate) fn netns_has_cookie() -> Result<bool, BtfError> {
    let key = netns_key(&KernelTypes::read()?);
    Ok(key.contains(&("NETNS_KEY", NetnsKey::Cookie as u32)))
}

/// How programs identify namespaces on this kernel: by the cookie, where it is a plain number (since 5.12).
pub(super) fn netns_key(types: &KernelTypes) -> Globals {
    // Before 5.12 it is an `atomic64_t`, which has one member, and 0 until the cookie is asked for.
    let structure = |member| types.structure("net", member)?.place(member);
    let (key, mut globals) = match offsets(types, Reader::NetnsCookie) {
        Ok(globals) if structure("net_cookie.counter").is_err() => (NetnsKey::Cookie, globals),
        _ => (NetnsKey::Inum, Globals::new()),
    };
    globals.push(("NETNS_KEY", key as u32));
    globals
}

/// How `iter/task` finds the process ids in the PID namespace that is so many levels above that of this process.
///
/// # Errors
/// As [`offsets`].
pub(super) fn nested_pids(types: &KernelTypes, levels_up: u32) -> Result<Globals, BtfError> {
    let mut globals = offsets(types, Reader::NestedTasks)?;
    let (structure, member) = ("upid", "nr");
    let bytes = types.structure(structure, member)?.bytes();
    let bytes = bytes.ok_or(BtfError::Missing { structure, member })?;
    globals.extend([("UPID_BYTES", bytes), ("PID_LEVELS_UP", levels_up)]);
    Ok(globals)
}

/// How programs find the cgroup of a socket on this kernel: by a pointer, until 5.14 by a word.
///
/// # Errors
/// As [`offsets`]: the kernel is built without cgroups for sockets, for example.
pub(super) fn cgroup_member(types: &KernelTypes) -> Result<Globals, BtfError> {
    let (member, mut globals) = match offsets(types, Reader::CgroupPointer) {
        Ok(globals) => (CgroupMember::Pointer, globals),
        Err(error) => match offsets(types, Reader::CgroupWord) {
            Ok(globals) => (CgroupMember::Word, globals),
            Err(_) => return Err(error),
        },
    };
    globals.push(("CGROUPS", member as u32));
    Ok(globals)
}

/// How programs find why a socket closes, and whether a connect was retried. They count that in the slots after
/// `slots`.
///
/// # Errors
/// As [`offsets`].
pub(super) fn causes(types: &KernelTypes, slots: u32) -> Result<Globals, BtfError> {
    let mut globals = offsets(types, Reader::Causes)?;
    globals.push(("DETAIL_SLOT", slots));
    Ok(globals)
}

/// How programs find how long the peer of a socket has been silent. They count that beside the causes.
///
/// # Errors
/// As [`offsets`].
pub(super) fn silence(types: &KernelTypes, rate: TickRate) -> Result<Globals, BtfError> {
    let mut globals = offsets(types, Reader::Silence)?;
    globals.push(("TICKS_PER_SECOND", rate.0.get()));
    Ok(globals)
}

fn check_size(
    structure: &'static str,
    member: &'static str,
    expected: u32,
    Place { size: found, .. }: Place,
) -> Result<(), BtfError> {
    if found == expected {
        Ok(())
    } else {
        Err(BtfError::Size { structure, member, expected, found })
    }
}

#[cfg(test)]
mod tests {
    use tcpstat_ebpf::Member;

    use super::{super::btf::sample::Sample, *};

    const READERS: [Reader; 21] = [
        Reader::TpBtf,
        Reader::Tracepoint,
        Reader::Timewait,
        Reader::Requests,
        Reader::Iterator,
        Reader::Tasks,
        Reader::NestedTasks,
        Reader::NetnsCookie,
        Reader::CgroupPointer,
        Reader::CgroupWord,
        Reader::Causes,
        Reader::Silence,
        Reader::CloseWait,
        Reader::Dwell,
        Reader::Listeners,
        Reader::Held,
        Reader::HeldStates,
        Reader::Holders,
        Reader::NestedHolders,
        Reader::Stream,
        Reader::ProcessName,
    ];

    #[test]
    fn each_global_is_in_the_table_once_and_structures_are_not_interleaved() {
        let mut structures: Vec<_> = MEMBERS.iter().map(|member| member.structure).collect();
        structures.dedup();
        let unique = |names: &[&str]| {
            names.iter().all(|name| names.iter().filter(|other| *other == name).count() == 1)
        };
        assert!(unique(&structures), "{structures:?}");
        let globals: Vec<_> = MEMBERS.iter().map(|member| member.global).collect();
        assert!(unique(&globals), "{globals:?}");
    }

    /// What a kernel has instead of what the programs expect.
    #[derive(Clone, Copy, Default)]
    struct Difference {
        structure: &'static str,
        /// As in the tables; empty for none.
        member: &'static str,
        more_bytes: u32,
        moved_by: u32,
    }

    impl Difference {
        fn size(self, structure: &str, member: &str, bytes: u32) -> u32 {
            bytes + if self.is_of(structure, member) { self.more_bytes } else { 0 }
        }

        fn is_of(self, structure: &str, member: &str) -> bool {
            (self.structure, self.member) == (structure, member)
        }
    }

    /// The types of a kernel with every member of the tables.
    fn kernel(difference: Difference) -> KernelTypes {
        let mut sample = Sample::new();
        let byte = sample.int(1);
        for members in MEMBERS.chunk_by(|one, next| one.structure == next.structure) {
            let structure = members[0].structure;
            let sized = |it: &Member| (it.member, difference.size(structure, it.member, it.bytes));
            let paths: Vec<_> = members.iter().map(sized).collect();
            nested(&mut sample, byte, structure, &paths);
        }
        for tables in [FIXED_MEMBERS, RECORD_FIELDS] {
            for members in tables.chunk_by(|one, next| one.structure == next.structure) {
                let structure = members[0].structure;
                // Those above have their fixed members too.
                if MEMBERS.iter().any(|member| member.structure == structure) {
                    continue;
                }
                let mut place = |it: &FixedMember| {
                    let size = difference.size(structure, it.member, it.bytes.unwrap_or(8));
                    let is_moved = difference.is_of(structure, it.member);
                    let by = if is_moved { difference.moved_by } else { 0 };
                    (it.member, sample.array(byte, size), (it.offset + by) * 8)
                };
                let places: Vec<_> = members.iter().map(&mut place).collect();
                sample.structure(structure, &places);
            }
        }
        sample.types()
    }

    /// Adds a structure with these paths, each with its size, and returns its number and its size.
    fn nested(sample: &mut Sample, byte: u32, name: &str, paths: &[(&str, u32)]) -> (u32, u32) {
        let (mut members, mut size) = (Vec::<(&str, u32, u32)>::new(), 0);
        for &(path, bytes) in paths {
            let (first, rest) = path.split_once('.').unwrap_or((path, ""));
            if members.iter().any(|&(name, ..)| name == first) {
                continue;
            }
            let (number, own_size) = if rest.is_empty() {
                (sample.array(byte, bytes), bytes)
            } else {
                let inner = paths.iter().filter_map(|&(path, bytes)| {
                    Some((path.strip_prefix(first)?.strip_prefix('.')?, bytes))
                });
                let inner: Vec<_> = inner.collect();
                nested(sample, byte, "", &inner)
            };
            members.push((first, number, size * 8));
            size += own_size;
        }
        (sample.structure(name, &members), size)
    }

    #[test]
    fn each_program_gets_the_offsets_that_it_reads() {
        let types = kernel(Difference::default());
        for reader in READERS {
            let globals = offsets(&types, reader).unwrap();
            let names: Vec<_> = globals.iter().map(|&(name, _)| name).collect();
            let read = MEMBERS.iter().filter(|member| member.readers.contains(&reader));
            assert_eq!(names, read.map(|member| member.global).collect::<Vec<_>>(), "{reader:?}");
        }
        let globals = offsets(&types, Reader::Iterator).unwrap();
        let offset = |wanted| globals.iter().find(|&&(name, _)| name == wanted).unwrap().1;
        // `inet_sport`, four other members of `inet_conn`, `total_retrans`, and `lrcvtime` come before it.
        assert_eq!(offset("TCP_RCV_NXT"), 2 + 4 * 4 + 4 + 4);
    }

    #[test]
    fn a_member_of_another_size_is_refused_by_the_programs_that_read_it_and_named() {
        let members = MEMBERS.iter().map(|it| (it.structure, it.member, it.bytes, it.readers));
        let fixed = FIXED_MEMBERS.iter().chain(RECORD_FIELDS);
        let fixed = fixed.filter_map(|it| Some((it.structure, it.member, it.bytes?, it.readers)));
        for (structure, member, bytes, readers) in members.chain(fixed) {
            let difference = Difference { structure, member, more_bytes: 1, moved_by: 0 };
            let types = kernel(difference);
            for reader in READERS {
                let refused = offsets(&types, reader).map_err(|error| error.to_string()).err();
                let line = format!(
                    "kernel BTF has size {} for `{member}` in `struct {structure}`, \
                     and the program expects {bytes} (in bytes)",
                    bytes + 1
                );
                assert_eq!(refused, readers.contains(&reader).then_some(line), "{reader:?}");
            }
        }
    }

    #[test]
    fn a_record_with_a_field_elsewhere_is_refused_and_the_field_is_named() {
        for it in RECORD_FIELDS {
            let &FixedMember { structure, member, offset, .. } = it;
            let difference = Difference { structure, member, more_bytes: 0, moved_by: 4 };
            let types = kernel(difference);
            let refused = offsets(&types, Reader::Tracepoint).unwrap_err().to_string();
            let line = format!(
                "kernel BTF has offset {} for `{member}` in `struct {structure}`, \
                 and the program expects {offset} (in bytes)",
                offset + 4
            );
            assert_eq!(refused, line);
            assert!(offsets(&types, Reader::TpBtf).is_ok());
        }
    }

    #[test]
    fn namespaces_are_identified_by_the_cookie_only_where_it_is_a_plain_number() {
        let key = |types| netns_key(types).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        let globals = netns_key(&kernel(Difference::default()));
        assert_eq!(globals.last(), Some(&("NETNS_KEY", NetnsKey::Cookie as u32)));
        assert_eq!(key(&kernel(Difference::default())), ["NET_COOKIE", "NETNS_KEY"]);

        let inum = [("NETNS_KEY", NetnsKey::Inum as u32)];
        let mut sample = Sample::new();
        let byte = sample.int(1);
        let word = sample.array(byte, 8);
        let atomic = sample.sized(8, &[("counter", word, 0)]);
        sample.structure("net", &[("net_cookie", atomic, 0)]);
        assert_eq!(netns_key(&sample.types()), inum);

        let mut sample = Sample::new();
        sample.structure("net", &[]);
        assert_eq!(netns_key(&sample.types()), inum);
    }

    #[test]
    fn the_ids_of_nested_processes_are_as_far_apart_as_their_structure_is_large() {
        let globals = nested_pids(&kernel(Difference::default()), 3).unwrap();
        assert_eq!(globals[..3].iter().map(|&(_, offset)| offset).collect::<Vec<_>>(), [8, 0, 4]);
        // A structure of the sample has 64 bytes.
        assert_eq!(globals[3..], [("UPID_BYTES", 64), ("PID_LEVELS_UP", 3)]);
    }

    #[test]
    fn a_structure_that_does_not_begin_with_the_common_part_is_refused() {
        let difference = Difference {
            structure: "request_sock",
            member: "__req_common",
            more_bytes: 0,
            moved_by: 8,
        };
        let types = kernel(difference);
        let refused = offsets(&types, Reader::Requests).unwrap_err();
        assert!(matches!(refused, BtfError::Offset { found: 8, expected: 0, .. }), "{refused}");
        assert!(offsets(&types, Reader::Timewait).is_ok());
    }
}
