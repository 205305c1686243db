//! BTF for tests.

use std::path::Path;

use super::{
    BtfError, KIND_ARRAY, KIND_FUNC, KIND_FUNC_PROTO, KIND_INT, KIND_PTR, KIND_STRUCT, KIND_UNION,
    KernelTypes, MAGIC,
};

const MEMBERS_HAVE_SIZES: u32 = 1 << 31;

/// Writes BTF, one type after another. Functions that add a type return its number.
pub(in crate::kernel) struct Sample {
    types: Vec<u32>,
    strings: Vec<u8>,
    last: u32,
}

impl Sample {
    pub(in crate::kernel) fn new() -> Self {
        Self { types: Vec::new(), strings: vec![0], last: 0 }
    }

    fn string(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let at = self.strings.len();
        self.strings.extend(text.bytes().chain([0]));
        u32::try_from(at).unwrap()
    }

    fn add(&mut self, name: &str, info: u32, words: &[u32]) -> u32 {
        let name = self.string(name);
        self.types.extend([name, info]);
        self.types.extend(words);
        self.last += 1;
        self.last
    }

    pub(in crate::kernel) fn int(&mut self, bytes: u32) -> u32 {
        self.add("int", KIND_INT << 24, &[bytes, bytes * 8])
    }

    pub(in crate::kernel) fn pointer(&mut self, to: u32) -> u32 {
        self.add("", KIND_PTR << 24, &[to])
    }

    pub(in crate::kernel) fn array(&mut self, of: u32, length: u32) -> u32 {
        self.add("", KIND_ARRAY << 24, &[0, of, 1, length])
    }

    /// A typedef or qualifier of this kind.
    pub(in crate::kernel) fn alias(&mut self, kind: u32, of: u32) -> u32 {
        self.add("", kind << 24, &[of])
    }

    /// Members by name, type and offset in bits.
    pub(in crate::kernel) fn structure(&mut self, name: &str, members: &[(&str, u32, u32)]) -> u32 {
        self.compound(name, KIND_STRUCT << 24, 64, members)
    }

    /// As [`Sample::structure`], with this size in bytes.
    pub(in crate::kernel) fn sized(&mut self, bytes: u32, members: &[(&str, u32, u32)]) -> u32 {
        self.compound("", KIND_STRUCT << 24, bytes, members)
    }

    pub(in crate::kernel) fn union(&mut self, members: &[(&str, u32, u32)]) -> u32 {
        self.compound("", KIND_UNION << 24, 64, members)
    }

    /// A structure whose members are bit fields of these widths, one after the other.
    pub(in crate::kernel) fn bit_fields(&mut self, name: &str, of: u32, members: &[(&str, u32)]) {
        let mut at = 0;
        let members: Vec<_> = members
            .iter()
            .map(|&(member, bits)| {
                let place = bits << 24 | at;
                at += bits;
                (member, of, place)
            })
            .collect();
        self.compound(name, MEMBERS_HAVE_SIZES | KIND_STRUCT << 24, 64, &members);
    }

    fn compound(&mut self, name: &str, info: u32, bytes: u32, members: &[(&str, u32, u32)]) -> u32 {
        let mut words = vec![bytes];
        for &(member, number, bits) in members {
            words.extend([self.string(member), number, bits]);
        }
        self.add(name, info | u32::try_from(members.len()).unwrap(), &words)
    }

    /// A function that returns the type `returned`, 0 for nothing.
    pub(in crate::kernel) fn function(&mut self, name: &str, returned: u32, parameters: &[u32]) {
        let mut words = vec![returned];
        words.extend(parameters.iter().flat_map(|&number| [0, number]));
        let length = u32::try_from(parameters.len()).unwrap();
        let prototype = self.add("", KIND_FUNC_PROTO << 24 | length, &words);
        self.add(name, KIND_FUNC << 24, &[prototype]);
    }

    /// The file, and where the strings begin in it.
    pub(in crate::kernel) fn bytes(&self) -> (Vec<u8>, usize) {
        let types: Vec<u8> = self.types.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let mut data = MAGIC.to_ne_bytes().to_vec();
        data.extend([1, 0]);
        let lengths = [24, 0, types.len(), types.len(), self.strings.len()];
        data.extend(lengths.iter().flat_map(|&n| u32::try_from(n).unwrap().to_ne_bytes()));
        data.extend(types);
        let strings = data.len();
        data.extend(&self.strings);
        (data, strings)
    }

    pub(in crate::kernel) fn types(&self) -> KernelTypes {
        index(self.bytes().0).unwrap()
    }
}

pub(super) fn index(data: Vec<u8>) -> Result<KernelTypes, BtfError> {
    KernelTypes::index(Path::new("sample"), data)
}
