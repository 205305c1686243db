//! Offsets of structure members, read from the running kernel's BTF.
//!
//! Only what that takes of the format (Documentation/bpf/btf.rst): types are walked once to index
//! them, members are looked up by name, anonymous structures and unions are looked into.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why an offset could not be read.
#[derive(Debug, Error)]
pub enum BtfError {
    /// No BTF: a kernel built without `CONFIG_DEBUG_INFO_BTF`, or a sysfs that is not mounted.
    #[error("{}: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What reading it gave.
        cause: std::io::Error,
    },
    /// Not BTF, or of a kind that is not known here.
    #[error("{}: {what} at byte {at}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
        /// Where.
        at: usize,
    },
    /// The kernel has no such structure or member.
    #[error("kernel BTF has no `{member}` in `struct {structure}`")]
    Missing {
        /// The structure's name.
        structure: String,
        /// The member's path, dots between the names.
        member: String,
    },
    /// The kernel has no such function, or one that was inlined everywhere.
    #[error("kernel BTF has no function with this name")]
    NoFunction,
    /// The function has another signature than the program expects.
    #[error("the function has {parameters} parameters and returns {}", if *answers { "a value" } else { "nothing" })]
    Signature {
        /// How many it takes.
        parameters: usize,
        /// Whether it gives anything.
        answers: bool,
    },
}

/// What a function takes and gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signature {
    /// The number of its parameters.
    pub(super) parameters: usize,
    /// Whether it gives anything.
    pub(super) answers: bool,
}

/// The kernel's types, indexed by number.
pub(super) struct KernelTypes {
    data: Vec<u8>,
    strings: usize,
    /// Byte offset of each type; the number 0 is `void`.
    types: Vec<usize>,
}

const HEADER_BYTES: usize = 24;
const MAGIC: u16 = 0xeb9f;

const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_TYPEDEF: u32 = 8;
const KIND_VOLATILE: u32 = 9;
const KIND_CONST: u32 = 10;
const KIND_RESTRICT: u32 = 11;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_TYPE_TAG: u32 = 18;

impl KernelTypes {
    /// Reads and indexes the BTF file at `path`.
    ///
    /// # Errors
    /// [`BtfError::Unreadable`], [`BtfError::Malformed`].
    pub(super) fn read(path: &Path) -> Result<Self, BtfError> {
        let data = std::fs::read(path)
            .map_err(|cause| BtfError::Unreadable { path: path.to_owned(), cause })?;
        Self::index(path, data)
    }

    fn index(path: &Path, data: Vec<u8>) -> Result<Self, BtfError> {
        let malformed = |what, at| BtfError::Malformed { path: path.to_owned(), what, at };
        let word = |at| u32_at(&data, at).ok_or_else(|| malformed("end of data", at));
        if data.len() < HEADER_BYTES || u16::from_ne_bytes([data[0], data[1]]) != MAGIC {
            return Err(malformed("no BTF header", 0));
        }
        let header = word(4)? as usize;
        let start = header.saturating_add(word(8)? as usize);
        let end = start.saturating_add(word(12)? as usize);
        let strings = header.saturating_add(word(16)? as usize);
        if end > data.len() {
            return Err(malformed("types end after the data", data.len()));
        }
        let mut types = vec![usize::MAX];
        let mut at = start;
        while at < end {
            types.push(at);
            let info = word(at + 4)?;
            let trailing =
                trailing_bytes(info).ok_or_else(|| malformed("unknown kind of type", at))?;
            at += 12 + trailing;
        }
        Ok(Self { data, strings, types })
    }

    /// Byte offset of `member` (a path: dots between names) from the start of `struct structure`.
    ///
    /// # Errors
    /// [`BtfError::Missing`] where there is none, or where it is a bit field.
    pub(super) fn offset(&self, structure: &str, member: &str) -> Result<u32, BtfError> {
        let missing = || BtfError::Missing { structure: structure.into(), member: member.into() };
        let mut number = self.find(KIND_STRUCT, structure).ok_or_else(missing)?;
        let mut bits = 0;
        for name in member.split('.') {
            let (of, next) = self.member(number, name, 0).ok_or_else(missing)?;
            bits += of;
            number = next;
        }
        if bits % 8 == 0 { Ok(bits / 8) } else { Err(missing()) }
    }

    /// What the function `name` takes and gives.
    ///
    /// # Errors
    /// [`BtfError::NoFunction`].
    pub(super) fn signature(&self, name: &str) -> Result<Signature, BtfError> {
        let found = || {
            let function = self.types[self.find(KIND_FUNC, name)? as usize];
            let prototype = u32_at(&self.data, function + 8)?;
            if self.kind(prototype)? != KIND_FUNC_PROTO {
                return None;
            }
            let at = self.types[prototype as usize];
            let parameters = (u32_at(&self.data, at + 4)? & 0xffff) as usize;
            let answers = u32_at(&self.data, at + 8)? != 0;
            Some(Signature { parameters, answers })
        };
        found().ok_or(BtfError::NoFunction)
    }

    fn find(&self, kind: u32, name: &str) -> Option<u32> {
        (1..u32::try_from(self.types.len()).ok()?).find(|&number| {
            self.kind(number) == Some(kind) && self.is_named(self.types[number as usize], name)
        })
    }

    /// Bit offset and type of a member, looked for in anonymous members too.
    fn member(&self, number: u32, name: &str, depth: u32) -> Option<(u32, u32)> {
        // Deeper than any nesting of anonymous members: only damaged data comes here.
        if depth > 16 {
            return None;
        }
        let number = self.unqualified(number)?;
        if !matches!(self.kind(number)?, KIND_STRUCT | KIND_UNION) {
            return None;
        }
        let at = self.types[number as usize];
        let info = u32_at(&self.data, at + 4)?;
        let packed_bitfields = info >> 31 == 1;
        for index in 0..(info & 0xffff) as usize {
            let entry = at + 12 + index * 12;
            let of = u32_at(&self.data, entry + 8)?;
            let of = if packed_bitfields { of & 0x00ff_ffff } else { of };
            let member_type = u32_at(&self.data, entry + 4)?;
            match self.name(entry)? {
                b"" => {
                    if let Some((inner, found)) = self.member(member_type, name, depth + 1) {
                        return Some((of + inner, found));
                    }
                }
                found if found == name.as_bytes() => return Some((of, member_type)),
                _ => {}
            }
        }
        None
    }

    /// The type behind typedefs and qualifiers.
    fn unqualified(&self, mut number: u32) -> Option<u32> {
        for _ in 0..16 {
            match self.kind(number)? {
                KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_RESTRICT | KIND_TYPE_TAG => {
                    number = u32_at(&self.data, self.types[number as usize] + 8)?;
                }
                _ => return Some(number),
            }
        }
        None
    }

    fn kind(&self, number: u32) -> Option<u32> {
        let at = *self.types.get(number as usize)?;
        u32_at(&self.data, at.checked_add(4)?).map(|info| (info >> 24) & 0x1f)
    }

    /// Whether the name whose string offset stands at `at` is this one; of another, only as much is read
    /// as is the same.
    fn is_named(&self, at: usize, name: &str) -> bool {
        let start = u32_at(&self.data, at).and_then(|at| self.strings.checked_add(at as usize));
        let rest = start
            .and_then(|start| self.data.get(start..))
            .and_then(|text| text.strip_prefix(name.as_bytes()));
        rest.is_some_and(|rest| rest.first() == Some(&0))
    }

    /// The name whose string offset stands at `at`.
    fn name(&self, at: usize) -> Option<&[u8]> {
        let start = self.strings.checked_add(u32_at(&self.data, at)? as usize)?;
        self.data.get(start..)?.split(|&byte| byte == 0).next()
    }
}

/// Bytes that follow the twelve common ones of a type, by its `info` word.
fn trailing_bytes(info: u32) -> Option<usize> {
    let entries = (info & 0xffff) as usize;
    match (info >> 24) & 0x1f {
        // INT, VAR, DECL_TAG
        1 | 14 | 17 => Some(4),
        // PTR, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FLOAT, TYPE_TAG
        2 | 7..=12 | 16 | 18 => Some(0),
        // ARRAY
        3 => Some(12),
        // STRUCT, UNION, DATASEC, ENUM64
        4 | 5 | 15 | 19 => Some(entries * 12),
        // ENUM, FUNC_PROTO
        6 | 13 => Some(entries * 8),
        _ => None,
    }
}

fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    let (bytes, _) = data.get(at..)?.split_first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRINGS: &[u8] = b"\0outer\0plain\0inner\0deep\0u32\0give\0take\0";
    const OUTER: u32 = 1;
    const PLAIN: u32 = 7;
    const INNER: u32 = 13;
    const DEEP: u32 = 19;
    const U32: u32 = 24;
    const GIVE: u32 = 28;
    const TAKE: u32 = 33;

    /// Functions `u32 give(u32 plain, u32 deep)` and `void take(u32 plain)`, and
    /// `struct outer { u32 plain; union { struct inner { u32 pad; u32 deep; } ; }; struct inner inner; }`
    fn sample() -> Vec<u8> {
        let types: &[u32] = &[
            // 1: u32
            U32,
            1 << 24,
            4,
            32, //
            // 2: struct inner { u32 plain; u32 deep }
            INNER,
            KIND_STRUCT << 24 | 2,
            8,
            PLAIN,
            1,
            0,
            DEEP,
            1,
            32, //
            // 3: anonymous union { anonymous type 2 }
            0,
            KIND_UNION << 24 | 1,
            8,
            0,
            2,
            0, //
            // 4: struct outer { u32 plain; <3>; const struct inner inner }
            OUTER,
            KIND_STRUCT << 24 | 3,
            20,
            PLAIN,
            1,
            0,
            0,
            3,
            32,
            INNER,
            5,
            96, //
            // 5: const struct inner
            0,
            KIND_CONST << 24,
            2, //
            // 6 and 7: u32 give(u32 plain, u32 deep)
            0,
            KIND_FUNC_PROTO << 24 | 2,
            1,
            PLAIN,
            1,
            DEEP,
            1,
            GIVE,
            KIND_FUNC << 24,
            6, //
            // 8 and 9: void take(u32 plain)
            0,
            KIND_FUNC_PROTO << 24 | 1,
            0,
            PLAIN,
            1,
            TAKE,
            KIND_FUNC << 24,
            8,
        ];
        let types: Vec<u8> = types.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let mut data = MAGIC.to_ne_bytes().to_vec();
        data.extend([1, 0]);
        let lengths = [24, 0, types.len(), types.len(), STRINGS.len()];
        data.extend(lengths.iter().flat_map(|&n| u32::try_from(n).unwrap().to_ne_bytes()));
        data.extend(types);
        data.extend(STRINGS);
        data
    }

    fn index(data: Vec<u8>) -> Result<KernelTypes, BtfError> {
        KernelTypes::index(Path::new("sample"), data)
    }

    #[test]
    fn a_member_is_found_by_name_through_qualifiers_and_anonymous_members() {
        let types = index(sample()).unwrap();
        assert_eq!(types.offset("outer", "plain").unwrap(), 0);
        assert_eq!(types.offset("outer", "deep").unwrap(), 8);
        assert_eq!(types.offset("outer", "inner.deep").unwrap(), 16);
    }

    #[test]
    fn a_missing_member_is_named() {
        let error = index(sample()).unwrap().offset("outer", "inner.shallow").unwrap_err();
        assert_eq!(error.to_string(), "kernel BTF has no `inner.shallow` in `struct outer`");
        assert!(index(sample()).unwrap().offset("nowhere", "plain").is_err());
    }

    #[test]
    fn a_function_tells_what_it_takes_and_whether_it_gives() {
        let types = index(sample()).unwrap();
        let signature = |name| types.signature(name).ok().map(|it| (it.parameters, it.answers));
        assert_eq!(signature("give"), Some((2, true)));
        assert_eq!(signature("take"), Some((1, false)));
        assert_eq!(signature("outer"), None);
    }

    #[test]
    fn damaged_data_is_an_error_at_any_length_and_never_a_panic() {
        let whole = sample();
        let types_end = whole.len() - STRINGS.len();
        for length in 0..types_end {
            assert!(index(whole[..length].to_vec()).is_err(), "cut at {length}");
        }
        for position in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[position] ^= 0xff;
            if let Ok(types) = index(damaged) {
                let _ = types.offset("outer", "inner.deep");
                let _ = types.signature("give");
            }
        }
    }

    #[test]
    fn the_running_kernel_knows_the_members_that_the_tracer_reads() {
        let path = Path::new("/sys/kernel/btf/vmlinux");
        if !path.exists() {
            return;
        }
        let types = KernelTypes::read(path).unwrap();
        assert_eq!(types.offset("sock", "__sk_common.skc_dport").unwrap(), 12);
        assert_eq!(types.offset("sock", "__sk_common.skc_num").unwrap(), 14);
        assert!(types.offset("sock", "sk_protocol").unwrap() > 0);
        assert!(types.offset("net", "ns.inum").unwrap() > 0);
    }
}
