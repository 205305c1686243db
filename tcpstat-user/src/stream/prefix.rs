//! A prefix of addresses.

use std::{
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
};

use tcpstat_ebpf::PREFIX_BYTES;
use thiserror::Error;

/// Addresses with the same first bits. IPv4 addresses are v4-mapped: a socket of IPv6 can have one too. A shorter prefix than
/// [`Prefix::IPV4`] has none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prefix {
    /// The others are 0.
    pub(crate) bytes: [u8; PREFIX_BYTES],
    /// How many bits count.
    pub(crate) bits: u32,
}

/// Why a text is no prefix.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum PrefixError {
    #[error("write an address such as 10.0.0.7 or 2001:db8::7, or a prefix such as 10.0.0.0/8")]
    NotAnAddress,
    #[error("the number after the slash is more than {0}")]
    TooLong(u32),
    #[error("the address has bits after the prefix: write {0}/{1}")]
    BitsAfter(IpAddr, u32),
}

/// Bits of an IPv6 address.
const BITS: u32 = 128;

/// Bits of a v4-mapped address before those of the IPv4 address.
const MAPPED_BITS: u32 = 96;

impl Prefix {
    /// All IPv4 addresses.
    pub(crate) const IPV4: Self =
        Self { bytes: Ipv4Addr::UNSPECIFIED.to_ipv6_mapped().octets(), bits: MAPPED_BITS };
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let text = text.trim();
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| PrefixError::NotAnAddress)?;
        let (mapped, most) = match address {
            IpAddr::V4(address) => (address.to_ipv6_mapped(), BITS - MAPPED_BITS),
            IpAddr::V6(address) => (address, BITS),
        };
        let length = match length {
            None => most,
            Some(length) => length.parse().map_err(|_| PrefixError::NotAnAddress)?,
        };
        if length > most {
            return Err(PrefixError::TooLong(most));
        }
        let bits = BITS - most + length;
        let mask = u128::MAX.checked_shl(BITS - bits).unwrap_or(0);
        let number = u128::from_be_bytes(mapped.octets()) & mask;
        if number.to_be_bytes() != mapped.octets() {
            let first = match address {
                IpAddr::V4(_) => {
                    #[expect(clippy::cast_possible_truncation, reason = "the lower half is IPv4")]
                    let number = number as u32;
                    Ipv4Addr::from_bits(number).into()
                }
                IpAddr::V6(_) => IpAddr::from(number.to_be_bytes()),
            };
            return Err(PrefixError::BitsAfter(first, length));
        }
        Ok(Self { bytes: number.to_be_bytes(), bits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_the_longest_prefix_and_ipv4_is_mapped() {
        let parsed: Prefix = "10.0.0.7".parse().unwrap();
        assert_eq!(parsed.bits, 128);
        assert_eq!(parsed.bytes[10..], [0xff, 0xff, 10, 0, 0, 7]);
        assert_eq!("::ffff:10.0.0.7".parse(), Ok(parsed));
        let parsed: Prefix = "10.0.0.0/8".parse().unwrap();
        assert_eq!((parsed.bits, &parsed.bytes[10..13]), (104, &[0xff, 0xff, 10][..]));
        let parsed: Prefix = "2001:db8::/32".parse().unwrap();
        assert_eq!((parsed.bits, &parsed.bytes[..5]), (32, &[0x20, 1, 0x0d, 0xb8, 0][..]));
        for text in ["0.0.0.0/0", "::ffff:0:0/96"] {
            assert_eq!(text.parse(), Ok(Prefix::IPV4), "{text}");
        }
        assert_eq!("::/0".parse::<Prefix>().unwrap(), Prefix { bytes: [0; 16], bits: 0 });
    }

    #[test]
    fn other_text_is_refused_with_what_is_wrong() {
        for text in ["", "web-1", "10.0.0.7:80", "10.0.0.0/", "10.0.0.0/x", "[::1]"] {
            assert_eq!(text.parse::<Prefix>(), Err(PrefixError::NotAnAddress), "{text}");
        }
        assert_eq!("10.0.0.0/33".parse::<Prefix>(), Err(PrefixError::TooLong(32)));
        let error = "10.0.0.7/8".parse::<Prefix>().unwrap_err();
        assert!(error.to_string().ends_with("write 10.0.0.0/8"), "{error}");
        assert!("2001:db8::1/32".parse::<Prefix>().is_err());
    }
}
