use super::{
    sample::{Sample, index},
    *,
};

/// `struct outer { u32 plain; union { struct inner { u32 plain, deep; }; }; const struct inner inner;
/// u16 port; void *pointer; u8 bytes[16]; volatile u8 state; }`, `struct flags { u32 low : 8, high : 24; }`,
/// `u32 add(u32, u32)` and `void log(u32)`
fn sample() -> Sample {
    let mut sample = Sample::new();
    let [u8_, u16_, u32_] = [1, 2, 4].map(|bytes| sample.int(bytes));
    let inner = sample.structure("inner", &[("plain", u32_, 0), ("deep", u32_, 32)]);
    let union = sample.union(&[("", inner, 0)]);
    let constant = sample.alias(KIND_CONST, inner);
    let pointer = sample.pointer(0);
    let bytes = sample.array(u8_, 16);
    let volatile = sample.alias(KIND_VOLATILE, u8_);
    sample.structure(
        "outer",
        &[
            ("plain", u32_, 0),
            ("", union, 32),
            ("inner", constant, 96),
            ("port", u16_, 160),
            ("pointer", pointer, 192),
            ("bytes", bytes, 256),
            ("state", volatile, 384),
        ],
    );
    sample.bit_fields("flags", u32_, &[("low", 8), ("high", 24)]);
    sample.function("add", u32_, &[u32_, u32_]);
    sample.function("log", 0, &[u32_]);
    sample
}

fn place(types: &KernelTypes, name: &'static str, member: &'static str) -> Result<Place, BtfError> {
    types.structure(name, member)?.place(member)
}

#[test]
fn a_member_is_found_by_name_through_qualifiers_and_anonymous_members() {
    let types = sample().types();
    let offset = |member| place(&types, "outer", member).unwrap().offset;
    assert_eq!(["plain", "deep", "inner.deep"].map(offset), [0, 8, 16]);
}

#[test]
fn a_member_of_an_array_is_that_of_its_first_element_however_many_there_are() {
    for length in [0, 1, 4] {
        let mut sample = Sample::new();
        let number = sample.int(4);
        let element = sample.sized(16, &[("ns", number, 0), ("nr", number, 64)]);
        let numbers = sample.array(element, length);
        sample.structure("pid", &[("level", number, 0), ("numbers", numbers, 64)]);
        let types = sample.types();
        assert_eq!(place(&types, "pid", "numbers.nr").unwrap(), Place { offset: 16, size: 4 });
        assert!(place(&types, "pid", "level.nr").is_err());
    }
}

#[test]
fn a_member_has_the_size_of_its_type() {
    let types = sample().types();
    let size = |member| place(&types, "outer", member).unwrap().size;
    let members = ["plain", "port", "pointer", "bytes", "state"];
    assert_eq!(members.map(size), [4, 2, 8, 16, 1]);
}

#[test]
fn a_missing_member_is_named() {
    let types = sample().types();
    let error = place(&types, "outer", "inner.shallow").unwrap_err();
    assert_eq!(error.to_string(), "kernel BTF has no `inner.shallow` in `struct outer`");
    let error = place(&types, "nowhere", "plain").unwrap_err();
    assert_eq!(error.to_string(), "kernel BTF has no `plain` in `struct nowhere`");
}

#[test]
fn a_bit_field_is_refused_even_at_the_beginning_of_a_byte() {
    let types = sample().types();
    for member in ["low", "high"] {
        let error = place(&types, "flags", member).unwrap_err();
        assert!(matches!(error, BtfError::BitField { structure: "flags", .. }), "{error}");
    }
}

#[test]
fn a_function_has_its_number_of_parameters_and_may_return_nothing() {
    let types = sample().types();
    let signature = |name| types.signature(name).ok().map(|it| (it.parameters, it.returns_value));
    assert_eq!(signature("add"), Some((2, true)));
    assert_eq!(signature("log"), Some((1, false)));
    assert_eq!(signature("outer"), None);
}

#[test]
fn damaged_data_is_an_error_at_any_length_and_never_a_panic() {
    let (whole, strings) = sample().bytes();
    for length in 0..strings {
        assert!(index(whole[..length].to_vec()).is_err(), "cut at {length}");
    }
    for position in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[position] ^= 0xff;
        if let Ok(types) = index(damaged) {
            for member in ["inner.deep", "bytes", "pointer", "state"] {
                let _ = place(&types, "outer", member);
            }
            let _ = types.signature("add");
        }
    }
}
