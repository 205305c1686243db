//! Limits of sockets in /proc/sys/net/ipv4.
//!
//! They are those of the namespace that net/tcp lists, or unknown: sys/net shows that of the reading process.

use super::{Procfs, ProcfsError, file::read_to_string, root::number};

/// The limits; `None` for one that cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Maximum number of mini-sockets, in both families and both substates.
    pub time_wait: Option<u64>,
    /// Number of ports that the kernel can choose for `connect`, and for `bind` to port 0.
    pub ephemeral_ports: Option<u64>,
}

impl Procfs {
    /// `net.ipv4.tcp_max_tw_buckets`: above this number `inet_twsk_alloc` creates no mini-socket.
    ///
    /// # Errors
    /// [`ProcfsError`], [`ProcfsError::Unexpected`] for a negative value: some kernels read it as no limit, others
    /// as 0.
    pub fn time_wait_limit(&self) -> Result<u64, ProcfsError> {
        let path = self.sys_net()?.join("ipv4/tcp_max_tw_buckets");
        let limit = number(path.clone())?;
        u64::try_from(limit).map_err(|_| ProcfsError::Unexpected {
            path,
            field: "value",
            value: limit.to_string(),
        })
    }

    /// The number of ports in `net.ipv4.ip_local_port_range`, both ends included. Ports in
    /// `net.ipv4.ip_local_reserved_ports` count too.
    ///
    /// # Errors
    /// [`ProcfsError`], [`ProcfsError::Unexpected`] if the text is not a range.
    pub fn ephemeral_ports(&self) -> Result<u64, ProcfsError> {
        let path = self.sys_net()?.join("ipv4/ip_local_port_range");
        let text = read_to_string(&path)?;
        ports(&text).ok_or_else(|| ProcfsError::Unexpected {
            path,
            field: "range",
            value: text.trim().to_owned(),
        })
    }
}

/// The number of ports in a range that is written as its first and its last port.
fn ports(range: &str) -> Option<u64> {
    let mut ends = range.split_whitespace().map(str::parse::<u16>);
    let (first, last) = (ends.next()?.ok()?, ends.next()?.ok()?);
    u64::from(last).checked_sub(u64::from(first)).filter(|_| ends.next().is_none()).map(|n| n + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_the_range_are_in_it() {
        assert_eq!(ports("32768\t60999\n"), Some(28_232));
        assert_eq!(ports("40000 40000"), Some(1));
        assert_eq!(ports("0\t65535"), Some(65_536));
    }

    #[test]
    fn text_other_than_a_range_is_refused() {
        for wrong in ["", "32768", "60999 32768", "1 2 3", "1 65536", "-1 5", "a b"] {
            assert_eq!(ports(wrong), None, "{wrong}");
        }
    }
}
