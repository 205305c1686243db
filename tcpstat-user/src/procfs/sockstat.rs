//! /proc/net/sockstat: totals that the kernel keeps. Reading them costs the same for any number of sockets.

use std::{io, path::Path};

use super::{ProcfsError, file::read_to_string};
use crate::states::{Family, PerFamily};

/// The totals of TCP in net/sockstat and net/sockstat6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sockstat {
    /// Number of hashed full sockets of the namespace, with those in LISTEN.
    pub inuse: PerFamily<u64>,
    /// Number of mini-sockets of the namespace, in both families and both substates.
    pub tw: u64,
}

impl Sockstat {
    /// The totals of both together.
    #[must_use]
    pub(crate) fn plus(self, other: Self) -> Self {
        let inuse = Family::ALL.map(|family| self.inuse[family] + other.inuse[family]);
        Self { inuse: PerFamily(inuse), tw: self.tw + other.tw }
    }
}

/// # Errors
/// [`ProcfsError`]. A missing file `ipv6` is no error.
pub(super) fn read(ipv4: &Path, ipv6: &Path) -> Result<Sockstat, ProcfsError> {
    let mut sockstat = Sockstat::default();
    let text = read_to_string(ipv4)?;
    sockstat.inuse[Family::Ipv4] = field(ipv4, &text, "TCP:", "inuse")?;
    sockstat.tw = field(ipv4, &text, "TCP:", "tw")?;
    match read_to_string(ipv6) {
        Ok(text) => sockstat.inuse[Family::Ipv6] = field(ipv6, &text, "TCP6:", "inuse")?,
        Err(ProcfsError::Unreadable { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(sockstat)
}

/// The number after `name` on the line that begins with `protocol`.
pub(super) fn field(
    path: &Path,
    text: &str,
    protocol: &str,
    name: &'static str,
) -> Result<u64, ProcfsError> {
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(protocol))
        .and_then(|line| line.split_whitespace().skip_while(|&word| word != name).nth(1))
        .unwrap_or_default();
    value.parse().map_err(|_| ProcfsError::Unexpected {
        path: path.to_owned(),
        field: name,
        value: value.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "sockets: used 12\nTCP: inuse 2 orphan 0 tw 7 alloc 2 mem 219\n\
                        UDP: inuse 9 mem 0\nUDPLITE: inuse 0\nRAW: inuse 1\nFRAG: inuse 0 memory 0\n";

    fn tcp_field(text: &str, name: &'static str) -> Result<u64, ProcfsError> {
        field(Path::new("sockstat"), text, "TCP:", name)
    }

    #[test]
    fn inuse_and_tw_are_those_in_the_line_of_tcp() {
        assert_eq!(tcp_field(TEXT, "inuse").unwrap(), 2);
        assert_eq!(tcp_field(TEXT, "tw").unwrap(), 7);
    }

    #[test]
    fn a_missing_or_broken_number_is_named_with_file_field_and_value() {
        let message = |text| tcp_field(text, "tw").unwrap_err().to_string();
        assert_eq!(message("TCP: inuse 2"), "sockstat: invalid tw: \"\"");
        assert_eq!(message("TCP: inuse 2 tw x"), "sockstat: invalid tw: \"x\"");
        assert_eq!(message("UDP: inuse 2 tw 3"), "sockstat: invalid tw: \"\"");
    }
}
