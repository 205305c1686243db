//! Layout of structures and signatures of functions, read from the running kernel's BTF.
//!
//! This reads only a part of the format (Documentation/bpf/btf.rst): it indexes all types once, then finds
//! structures, members and functions by name. Members of anonymous structures and unions are found too.

mod error;
#[cfg(test)]
pub(super) mod sample;
#[cfg(test)]
mod tests;

use std::path::Path;

pub(super) use error::BtfError;

/// What a function takes and returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signature {
    /// Number of parameters.
    pub(super) parameters: usize,
    pub(super) returns_value: bool,
}

/// Where a member is in its structure, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) offset: u32,
    pub(super) size: u32,
}

/// A structure of the kernel.
#[derive(Clone, Copy)]
pub(super) struct Structure<'a> {
    types: &'a KernelTypes,
    pub(super) name: &'static str,
    number: u32,
}

/// All types of the kernel, by their numbers.
pub(super) struct KernelTypes {
    data: Vec<u8>,
    strings: usize,
    /// Offset of each type in `data`. Number 0 is `void`, which has none.
    types: Vec<usize>,
}

const HEADER_BYTES: usize = 24;
const MAGIC: u16 = 0xeb9f;

const KIND_INT: u32 = 1;
const KIND_PTR: u32 = 2;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_TYPEDEF: u32 = 8;
const KIND_VOLATILE: u32 = 9;
const KIND_CONST: u32 = 10;
const KIND_RESTRICT: u32 = 11;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_TYPE_TAG: u32 = 18;
const KIND_ENUM64: u32 = 19;

/// More than any chain of qualifiers, or nesting of arrays or anonymous members: only damaged data has more.
const MAX_DEPTH: u32 = 16;

impl KernelTypes {
    /// Reads and indexes the BTF of the running kernel.
    ///
    /// # Errors
    /// [`BtfError::Unreadable`], [`BtfError::Malformed`].
    pub(super) fn read() -> Result<Self, BtfError> {
        let path = Path::new("/sys/kernel/btf/vmlinux");
        let data = std::fs::read(path)
            .map_err(|cause| BtfError::Unreadable { path: path.to_owned(), cause })?;
        Self::index(path, data)
    }

    fn index(path: &Path, data: Vec<u8>) -> Result<Self, BtfError> {
        let malformed = |problem, at| BtfError::Malformed { path: path.to_owned(), problem, at };
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

    /// # Errors
    /// [`BtfError::Missing`], with `member` as the member that was looked for.
    pub(super) fn structure(
        &self,
        name: &'static str,
        member: &'static str,
    ) -> Result<Structure<'_>, BtfError> {
        match self.find(KIND_STRUCT, name) {
            Some(number) => Ok(Structure { types: self, name, number }),
            None => Err(BtfError::Missing { structure: name, member }),
        }
    }

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
            let returns_value = u32_at(&self.data, at + 8)? != 0;
            Some(Signature { parameters, returns_value })
        };
        found().ok_or(BtfError::NoFunction)
    }

    fn find(&self, kind: u32, name: &str) -> Option<u32> {
        (1..u32::try_from(self.types.len()).ok()?).find(|&number| {
            self.kind(number) == Some(kind) && self.is_named(self.types[number as usize], name)
        })
    }

    /// The member `name` of the structure or union `number`, also if it is in an anonymous member. For an array of
    /// them, that of the first element.
    fn member(&self, number: u32, name: &str, depth: u32) -> Option<Member> {
        if depth > MAX_DEPTH {
            return None;
        }
        let number = self.unqualified(number)?;
        let at = *self.types.get(number as usize)?;
        match self.kind(number)? {
            KIND_STRUCT | KIND_UNION => {}
            KIND_ARRAY => return self.member(u32_at(&self.data, at + 12)?, name, depth + 1),
            _ => return None,
        }
        let info = u32_at(&self.data, at + 4)?;
        let has_bit_fields = info >> 31 == 1;
        for index in 0..(info & 0xffff) as usize {
            let entry = at + 12 + index * 12;
            let place = u32_at(&self.data, entry + 8)?;
            let member = Member {
                bits: if has_bit_fields { place & 0x00ff_ffff } else { place },
                is_bit_field: has_bit_fields && place >> 24 != 0,
                type_number: u32_at(&self.data, entry + 4)?,
            };
            match self.name(entry)? {
                b"" => {
                    if let Some(inner) = self.member(member.type_number, name, depth + 1) {
                        return Some(Member {
                            bits: member.bits.checked_add(inner.bits)?,
                            ..inner
                        });
                    }
                }
                found if found == name.as_bytes() => return Some(member),
                _ => {}
            }
        }
        None
    }

    /// Size of a type in bytes; `None` for types without one, such as functions.
    fn size(&self, mut number: u32) -> Option<u32> {
        let mut elements: u32 = 1;
        for _ in 0..MAX_DEPTH {
            number = self.unqualified(number)?;
            let at = self.types[number as usize];
            let size = match self.kind(number)? {
                KIND_ARRAY => {
                    elements = elements.checked_mul(u32_at(&self.data, at + 20)?)?;
                    number = u32_at(&self.data, at + 12)?;
                    continue;
                }
                KIND_PTR => u32::try_from(size_of::<usize>()).ok()?,
                KIND_INT | KIND_STRUCT | KIND_UNION | KIND_ENUM | KIND_ENUM64 => {
                    u32_at(&self.data, at + 8)?
                }
                _ => return None,
            };
            return elements.checked_mul(size);
        }
        None
    }

    /// The type behind typedefs and qualifiers.
    fn unqualified(&self, mut number: u32) -> Option<u32> {
        for _ in 0..MAX_DEPTH {
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

    /// Whether the type at `at` has this name. Reads no further than the first byte that differs.
    fn is_named(&self, at: usize, name: &str) -> bool {
        let start = u32_at(&self.data, at).and_then(|at| self.strings.checked_add(at as usize));
        let rest = start
            .and_then(|start| self.data.get(start..))
            .and_then(|text| text.strip_prefix(name.as_bytes()));
        rest.is_some_and(|rest| rest.first() == Some(&0))
    }

    /// The name of the type or member at `at`.
    fn name(&self, at: usize) -> Option<&[u8]> {
        let start = self.strings.checked_add(u32_at(&self.data, at)? as usize)?;
        self.data.get(start..)?.split(|&byte| byte == 0).next()
    }
}

/// A member as its structure describes it.
struct Member {
    /// Offset in bits.
    bits: u32,
    is_bit_field: bool,
    type_number: u32,
}

impl Structure<'_> {
    /// Its size in bytes.
    pub(super) fn bytes(&self) -> Option<u32> {
        self.types.size(self.number)
    }

    /// Where the member is: its name, or the names down to it with dots between them.
    ///
    /// # Errors
    /// [`BtfError::Missing`], [`BtfError::BitField`].
    pub(super) fn place(&self, member: &'static str) -> Result<Place, BtfError> {
        let structure = self.name;
        let missing = || BtfError::Missing { structure, member };
        let mut found = Member { bits: 0, is_bit_field: false, type_number: self.number };
        for name in member.split('.') {
            let inner = self.types.member(found.type_number, name, 0).ok_or_else(missing)?;
            let bits = found.bits.checked_add(inner.bits).ok_or_else(missing)?;
            found = Member { bits, ..inner };
        }
        if found.is_bit_field || !found.bits.is_multiple_of(8) {
            return Err(BtfError::BitField { structure, member });
        }
        let size = self.types.size(found.type_number).ok_or_else(missing)?;
        Ok(Place { offset: found.bits / 8, size })
    }
}

/// How many bytes follow the first twelve bytes of a type, which all types have; by its `info` word.
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
