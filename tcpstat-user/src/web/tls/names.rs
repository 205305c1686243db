//! The subject alternative names of a certificate (RFC 5280, section 4.2.1.6): DNS names, e-mail addresses, URIs, and
//! IP addresses.
//!
//! A client that nothing verifies can send any bytes here: what is not DER has no names.

use std::net::IpAddr;

const SEQUENCE: u8 = 0x30;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
/// `extensions [3]` of a TBSCertificate.
const EXTENSIONS: u8 = 0xa3;
/// id-ce-subjectAltName, 2.5.29.17.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// The names of `certificate`, in DER; empty if it has none, or is malformed.
pub(super) fn names(certificate: &[u8]) -> Vec<String> {
    general_names(certificate)
        .map(|names| elements(names).filter_map(name).collect())
        .unwrap_or_default()
}

/// The contents of the GeneralNames.
fn general_names(certificate: &[u8]) -> Option<&[u8]> {
    let certificate = inside(certificate, SEQUENCE)?;
    let to_be_signed = inside(certificate, SEQUENCE)?;
    let (_, extensions) = elements(to_be_signed).find(|(tag, _)| *tag == EXTENSIONS)?;
    let mut extensions = elements(inside(extensions, SEQUENCE)?);
    extensions.find_map(|(_, extension)| {
        let mut parts = elements(extension);
        let identifier = parts.next()?;
        // `critical` may be between the two.
        let (_, value) = parts.find(|(tag, _)| *tag == OCTET_STRING)?;
        let is_names = identifier == (OBJECT_IDENTIFIER, SUBJECT_ALT_NAME);
        is_names.then(|| inside(value, SEQUENCE)).flatten()
    })
}

/// A GeneralName as text; `None` for the other kinds.
fn name((tag, contents): (u8, &[u8])) -> Option<String> {
    match tag {
        // rfc822Name [1], dNSName [2], uniformResourceIdentifier [6].
        0x81 | 0x82 | 0x86 => std::str::from_utf8(contents).ok().map(str::to_owned),
        // iPAddress [7].
        0x87 => {
            let ip = match contents.len() {
                4 => IpAddr::from(<[u8; 4]>::try_from(contents).ok()?),
                16 => IpAddr::from(<[u8; 16]>::try_from(contents).ok()?),
                _ => return None,
            };
            Some(ip.to_canonical().to_string())
        }
        _ => None,
    }
}

/// The contents of the first element, if it has this tag.
fn inside(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    let (found, contents, _) = element(bytes)?;
    (found == tag).then_some(contents)
}

/// The elements one after the other, until the end or an error.
fn elements(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (tag, contents, rest) = element(bytes)?;
        bytes = rest;
        Some((tag, contents))
    })
}

/// The tag and the contents of the first element, and what follows it (X.690, section 8.1).
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, length], rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = if length < 0x80 {
        (usize::from(length), rest)
    } else {
        let digits = usize::from(length & 0x7f);
        // A certificate has less than 16 MiB.
        if digits == 0 || digits > 3 {
            return None;
        }
        let (digits, rest) = rest.split_at_checked(digits)?;
        (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    Some((tag, contents, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn der(tag: u8, parts: &[Vec<u8>]) -> Vec<u8> {
        let contents = parts.concat();
        let mut bytes = vec![tag];
        if let Ok(length @ 0..=0x7f) = u8::try_from(contents.len()) {
            bytes.push(length);
        } else {
            bytes.push(0x82);
            bytes.extend(u16::try_from(contents.len()).unwrap().to_be_bytes());
        }
        bytes.extend(contents);
        bytes
    }

    fn certificate(extensions: &[Vec<u8>]) -> Vec<u8> {
        let extensions = der(EXTENSIONS, &[der(SEQUENCE, extensions)]);
        let to_be_signed = der(SEQUENCE, &[der(0xa0, &[der(2, &[vec![2]])]), extensions]);
        der(SEQUENCE, &[to_be_signed, der(SEQUENCE, &[])])
    }

    fn extension(identifier: &[u8], critical: bool, value: Vec<u8>) -> Vec<u8> {
        let critical = if critical { der(1, &[vec![0xff]]) } else { Vec::new() };
        let identifier = der(OBJECT_IDENTIFIER, &[identifier.to_vec()]);
        der(SEQUENCE, &[identifier, critical, der(OCTET_STRING, &[value])])
    }

    fn all_kinds() -> Vec<u8> {
        der(
            SEQUENCE,
            &[
                der(0xa0, &[vec![1, 2]]),
                der(0x81, &[b"ops@example.org".to_vec()]),
                der(0x82, &[b"prometheus.example.org".to_vec()]),
                der(0x86, &[b"spiffe://example.org/prometheus".to_vec()]),
                der(0x87, &[vec![192, 0, 2, 1]]),
                der(0x87, &[vec![0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]]),
                der(0x87, &[vec![1, 2, 3]]),
                der(0x82, &[b"x".repeat(200)]),
            ],
        )
    }

    #[test]
    fn names_of_all_four_kinds_are_found() {
        let long = "x".repeat(200);
        let expected = [
            "ops@example.org",
            "prometheus.example.org",
            "spiffe://example.org/prometheus",
            "192.0.2.1",
            "2001:db8::1",
            &long,
        ];
        for critical in [false, true] {
            let names_of = extension(SUBJECT_ALT_NAME, critical, all_kinds());
            let other = extension(&[0x55, 0x1d, 0x0f], true, vec![3, 2, 5, 0xa0]);
            assert_eq!(names(&certificate(&[other, names_of])), expected);
        }
    }

    #[test]
    fn a_certificate_without_names_has_none() {
        assert!(names(&certificate(&[])).is_empty());
        assert!(
            names(&certificate(&[extension(&[0x55, 0x1d, 0x12], false, all_kinds())])).is_empty()
        );
        assert!(names(&[]).is_empty());
    }

    #[test]
    fn a_certificate_that_is_cut_off_has_no_names() {
        let whole = certificate(&[extension(SUBJECT_ALT_NAME, false, all_kinds())]);
        for length in 0..whole.len() {
            assert!(names(&whole[..length]).is_empty(), "{length}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = names(&bytes);
            let _ = names(&certificate(&[extension(SUBJECT_ALT_NAME, false, bytes)]));
        }
    }
}
