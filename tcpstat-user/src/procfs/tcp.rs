//! Parses /proc/net/tcp and tcp6, one row for each socket, without an allocation for a row.
//!
//! A row has 17 fields for a full socket (`get_tcp4_sock`) and 12 for a timewait or request socket
//! (`get_timewait4_sock`, `get_openreq4`; net/ipv4/tcp_ipv4.c). The kernel writes at most a page at each
//! read(2), and releases its locks between two reads: there it may repeat or skip rows.

use std::path::Path;

use memchr::memchr;

use super::{ProcfsError, file::Table};
use crate::{
    snapshot::{BrokenRow, Identity, Kind, Row, RowSink, Tuple},
    states::{Family, State},
};

/// Size of the buffer. The kernel returns at most a page at each read.
const BUFFER_BYTES: usize = 64 * 1024;

/// Passes each row of the table at `path` to `sink`.
///
/// # Errors
/// [`ProcfsError`], `Empty` for a file without a line. `sink` has the rows before the error.
pub(super) fn each_row(
    path: &Path,
    family: Family,
    sink: &mut impl RowSink,
) -> Result<(), ProcfsError> {
    let mut table = Table::open(path)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut filled = 0;
    let mut line = 0;
    loop {
        let count = table.read(&mut buffer[filled..])?;
        sink.listed();
        filled += count;
        let mut start = 0;
        while let Some(length) = memchr(b'\n', &buffer[start..filled]) {
            line += 1;
            pass_row(path, line, family, &buffer[start..start + length], sink);
            start += length + 1;
        }
        let at_end = count == 0;
        // Text without a newline is a row that the read has cut. At the end, or if it fills the buffer, it is
        // the whole row.
        if filled > start && (at_end || (start == 0 && filled == buffer.len())) {
            line += 1;
            pass_row(path, line, family, &buffer[start..filled], sink);
            start = filled;
        }
        if at_end {
            let empty = || ProcfsError::Empty { path: path.to_owned() };
            return if line == 0 { Err(empty()) } else { Ok(()) };
        }
        buffer.copy_within(start..filled, 0);
        filled -= start;
    }
}

fn pass_row(path: &Path, line: u64, family: Family, text: &[u8], sink: &mut impl RowSink) {
    match parse(family, text) {
        Ok(row) => sink.row(&row),
        Err(_) if is_header_or_blank(text) => {}
        Err(Unparsed { field, value }) => sink.broken(BrokenRow {
            path,
            line,
            field,
            value: String::from_utf8_lossy(&value[..value.len().min(64)]).into_owned(),
        }),
    }
}

/// Not every kernel writes a header.
fn is_header_or_blank(text: &[u8]) -> bool {
    let mut rest = text;
    matches!(field(&mut rest, 0), b"sl" | b"")
}

/// The first invalid field of a row, and its text.
#[derive(Debug, PartialEq, Eq)]
struct Unparsed<'a> {
    field: &'static str,
    value: &'a [u8],
}

/// The number of fields up to the inode.
const FIELDS_TO_INODE: usize = 10;
/// A full socket has at least these: later kernels may append more.
const FULL_FIELDS: usize = 17;
const MINI_FIELDS: usize = 12;
/// Only mini-sockets are in this state, so its rows may have any number of fields. gVisor writes 17.
const TIME_WAIT: &[u8] = b"06";

/// The most frequent text of the field `timeout` (`%8d`): no probe is unanswered.
const NO_PROBES: &[u8] = b"        0";

#[inline]
fn parse(family: Family, text: &[u8]) -> Result<Row, Unparsed<'_>> {
    let mut rest = text;
    let end_digits = match family {
        Family::Ipv4 => 8 + 1 + 4,
        Family::Ipv6 => 32 + 1 + 4,
    };
    let _number = field(&mut rest, 0);
    let local = field(&mut rest, end_digits);
    let remote = field(&mut rest, end_digits);
    let state = field(&mut rest, 2);
    let queues = field(&mut rest, 8 + 1 + 8);
    let _timer = field(&mut rest, 2 + 1 + 8);
    let _retransmits = field(&mut rest, 8);
    let _uid = field(&mut rest, 0);
    match rest.strip_prefix(NO_PROBES) {
        Some(after @ [b' ', ..]) => rest = after,
        _ => _ = field(&mut rest, 0),
    }
    let inode = field(&mut rest, 0);
    let count = if inode.is_empty() { 0 } else { FIELDS_TO_INODE + fields(rest) };
    let full = count >= FULL_FIELDS;
    if !full && count != MINI_FIELDS && !(count > MINI_FIELDS && state == TIME_WAIT) {
        return Err(Unparsed { field: "number of fields", value: text });
    }
    let (saddr, sport) =
        end(family, local).ok_or(Unparsed { field: "local_address", value: local })?;
    let (daddr, dport) =
        end(family, remote).ok_or(Unparsed { field: "rem_address", value: remote })?;
    let kind = hexadecimal::<2>(state)
        .and_then(|number| State::from_number(u8::try_from(number).ok()?))
        .and_then(|state| kind(state, full))
        .ok_or(Unparsed { field: "st", value: state })?;
    let (send_queue, receive_queue) = queues
        .split_at_checked(8)
        .and_then(|(send, receive)| {
            Some((hexadecimal::<8>(send)?, hexadecimal::<8>(receive.strip_prefix(b":")?)?))
        })
        .ok_or(Unparsed { field: "tx_queue:rx_queue", value: queues })?;
    let inode = decimal(inode).ok_or(Unparsed { field: "inode", value: inode })?;
    let tuple = Tuple { family, saddr, sport, daddr, dport };
    let identity = Identity::Tuple { tuple, inode };
    Ok(Row { family, identity, kind, receive_queue, send_queue, sport, cgroup: 0 })
}

/// Removes the next field from `text` and returns it; empty if there is none. `usual` is the length that the
/// kernel writes: if white space surrounds this many bytes they are not searched for more.
fn field<'a>(text: &mut &'a [u8], usual: usize) -> &'a [u8] {
    if let [b' ', after @ ..] = *text
        && let [first, ..] = after
        && let Some(b' ') = after.get(usual)
        && *first != b' '
    {
        let (field, rest) = after.split_at(usual);
        *text = rest;
        return field;
    }
    let start = text.iter().position(|&byte| !blank(byte)).unwrap_or(text.len());
    let from = &text[start..];
    let end = from.iter().position(|&byte| blank(byte)).unwrap_or(from.len());
    let (field, rest) = from.split_at(end);
    *text = rest;
    field
}

/// The number of fields in `text`, which begins with white space or is empty.
fn fields(text: &[u8]) -> usize {
    let begins = |(&before, &byte): (&u8, &u8)| u8::from(blank(before) & !blank(byte));
    let mut count = 0;
    // At most 64 fields begin in 128 bytes, which a u8 can count; the compiler adds many of these at once.
    for (before, bytes) in text.chunks(128).zip(text.get(1..).unwrap_or_default().chunks(128)) {
        count += usize::from(before.iter().zip(bytes).map(begins).sum::<u8>());
    }
    count
}

fn blank(byte: u8) -> bool {
    byte <= b' '
}

/// The kind of object in a row; `None` if no object with this number of fields can be in `state`.
fn kind(state: State, full: bool) -> Option<Kind> {
    match (state, full) {
        (State::NewSynRecv, _) => None,
        (State::TimeWait, _) => Some(Kind::TimeWait),
        (state, true) => Some(Kind::Full(state)),
        (State::FinWait2, false) => Some(Kind::FinWait2Mini),
        (State::SynRecv, false) => Some(Kind::Request),
        (_, false) => None,
    }
}

/// Parses `ADDRESS:PORT`. The kernel prints the address as 32-bit words in the byte order of the machine.
fn end(family: Family, text: &[u8]) -> Option<([u8; 16], u16)> {
    let words = match family {
        Family::Ipv4 => 1,
        Family::Ipv6 => 4,
    };
    let (address, port) = text.split_at_checked(words * 8)?;
    let mut bytes = [0; 16];
    for (word, digits) in bytes.chunks_exact_mut(4).zip(address.chunks_exact(8)) {
        word.copy_from_slice(&hexadecimal::<8>(digits)?.to_ne_bytes());
    }
    let port = hexadecimal::<4>(port.strip_prefix(b":")?)?;
    Some((bytes, u16::try_from(port).ok()?))
}

/// Parses a hexadecimal number, which the kernel prints with a fixed number of digits.
fn hexadecimal<const WIDTH: usize>(text: &[u8]) -> Option<u32> {
    let text: &[u8; WIDTH] = text.try_into().ok()?;
    let (mut number, mut all) = (0, 0);
    for &digit in text {
        let value = DIGITS[usize::from(digit)];
        number = number << 4 | u32::from(value);
        all |= value;
    }
    (all < NO_DIGIT).then_some(number)
}

const NO_DIGIT: u8 = 0x80;

/// The value of each hexadecimal digit, [`NO_DIGIT`] for other bytes.
const DIGITS: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        values[b"0123456789ABCDEF"[value as usize] as usize] = value;
        values[b"0123456789abcdef"[value as usize] as usize] = value;
        value += 1;
    }
    values
};

fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |number, &byte| {
        let digit = byte.wrapping_sub(b'0');
        let more = number.checked_mul(10)?.checked_add(u64::from(digit))?;
        (digit < 10).then_some(more)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &[u8] = b"   0: 0100007F:07E8 0200000A:01BB 01 00000030:00000010 01:00000014 00000000     0        0 8311 3 0000000080b0f71e 20 4 1 35 -1";
    const REQUEST: &[u8] = b"   1: 0100007F:07E8 0200000A:01BB 03 00000000:00000000 01:00000014 00000000     0        0 0 1 0000000080b0f71e";

    fn field_of(family: Family, text: &str) -> &'static str {
        parse(family, text.as_bytes()).unwrap_err().field
    }

    fn replaced(from: &str, to: &str) -> String {
        let text = str::from_utf8(FULL).unwrap();
        assert!(from != to && text.contains(from), "{from:?} is not replaced");
        text.replacen(from, to, 1)
    }

    fn identity(row: &Row) -> (Tuple, u64) {
        match row.identity {
            Identity::Tuple { tuple, inode } => (tuple, inode),
            Identity::Address { .. } => panic!("{row:?}"),
        }
    }

    #[test]
    fn a_full_row_has_tuple_state_queues_and_inode() {
        let row = parse(Family::Ipv4, FULL).unwrap();
        let (tuple, inode) = identity(&row);
        assert_eq!(tuple.saddr[..4], [127, 0, 0, 1]);
        assert_eq!(tuple.daddr[..4], [10, 0, 0, 2]);
        assert_eq!((tuple.sport, tuple.dport), (2024, 443));
        assert_eq!(row.kind, Kind::Full(State::Established));
        assert_eq!((row.send_queue, row.receive_queue, inode), (0x30, 0x10, 8311));
    }

    #[test]
    fn the_address_of_an_ipv6_row_is_in_network_order() {
        let text = replaced("0100007F", "0000000000000000FFFF00000100007F").replacen(
            "0200000A",
            "000080FE000000000000000001000000",
            1,
        );
        let row = parse(Family::Ipv6, text.as_bytes()).unwrap();
        let (tuple, _) = identity(&row);
        assert_eq!(tuple.saddr, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1]);
        assert_eq!(tuple.daddr, [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn a_row_of_twelve_fields_is_a_request_or_a_mini_socket_by_its_state() {
        let kind = |state: &str| {
            let text = String::from_utf8(REQUEST.to_vec()).unwrap();
            parse(Family::Ipv4, text.replacen(" 03 ", state, 1).as_bytes()).map(|row| row.kind).ok()
        };
        assert_eq!(kind(" 03 "), Some(Kind::Request));
        assert_eq!(kind(" 05 "), Some(Kind::FinWait2Mini));
        assert_eq!(kind(" 06 "), Some(Kind::TimeWait));
        assert_eq!(kind(" 01 "), None);
    }

    #[test]
    fn a_row_in_time_wait_is_a_mini_socket_with_any_number_of_fields() {
        let kind = |text: &str| parse(Family::Ipv4, text.as_bytes()).map(|row| row.kind).ok();
        let wide = replaced(" 01 ", " 06 ");
        for appended in ["", " 7"] {
            assert_eq!(kind(&format!("{wide}{appended}")), Some(Kind::TimeWait));
        }
        assert_eq!(kind(&wide.replace(" 35 -1", "")), Some(Kind::TimeWait));
        assert_eq!(kind(&wide.replace(" 20 4 1 35 -1", "")), Some(Kind::TimeWait));
        assert_eq!(kind(&wide.replace(" 0000000080b0f71e 20 4 1 35 -1", "")), None);
    }

    #[test]
    fn a_header_or_blank_line_is_not_a_broken_row() {
        for text in ["  sl  local_address rem_address", "sl", "", "   ", "\r"] {
            assert!(is_header_or_blank(text.as_bytes()), "{text:?}");
        }
        for text in ["   0:", "slow", "x sl"] {
            assert!(!is_header_or_blank(text.as_bytes()), "{text:?}");
        }
    }

    #[test]
    fn a_broken_field_is_named() {
        assert_eq!(field_of(Family::Ipv4, ""), "number of fields");
        assert_eq!(field_of(Family::Ipv4, &replaced(" -1", "")), "number of fields");
        assert_eq!(field_of(Family::Ipv4, &replaced(" 4 1 35 -1", "")), "number of fields");
        assert_eq!(field_of(Family::Ipv4, &replaced("0100007F", "010000")), "local_address");
        let of_ipv4 = str::from_utf8(FULL).unwrap();
        assert_eq!(field_of(Family::Ipv6, of_ipv4), "local_address");
        assert_eq!(field_of(Family::Ipv4, &replaced("01BB", "101BB")), "rem_address");
        assert_eq!(field_of(Family::Ipv4, &replaced(" 01 ", " 0D ")), "st");
        assert_eq!(field_of(Family::Ipv4, &replaced(" 01 ", " 101 ")), "st");
        assert_eq!(field_of(Family::Ipv4, &replaced("00000030:", "00000030")), "tx_queue:rx_queue");
        assert_eq!(field_of(Family::Ipv4, &replaced("8311", "83x1")), "inode");
    }
}
