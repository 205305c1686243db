//! /proc/sys/net/ipv4: the limits that sockets run into.
//!
//! Both are those of the namespace that net/tcp lists, or unknown: sys/net is that of the reading process.

use super::{Procfs, ProcfsError, file::read_to_string, root::number};

/// What sysctl allows; `None` where it could not be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Timewait mini-sockets: both families, substate FIN_WAIT2 included.
    pub time_wait: Option<u64>,
    /// Ports that `connect` and `bind` to port 0 choose from.
    pub ephemeral_ports: Option<u64>,
}

impl Procfs {
    /// `net.ipv4.tcp_max_tw_buckets`: `inet_twsk_alloc` gives no mini-socket beyond it.
    ///
    /// # Errors
    /// [`ProcfsError`], for a negative one too: it is no limit to some kernels, and 0 to others.
    pub fn time_wait_limit(&self) -> Result<u64, ProcfsError> {
        let path = self.sys_net()?.join("ipv4/tcp_max_tw_buckets");
        let limit = number(path.clone())?;
        u64::try_from(limit).map_err(|_| ProcfsError::Unexpected {
            path,
            field: "value",
            value: limit.to_string(),
        })
    }

    /// How many ports are in `net.ipv4.ip_local_port_range`, both ends included; those in
    /// `net.ipv4.ip_local_reserved_ports` are not taken off.
    ///
    /// # Errors
    /// [`ProcfsError`].
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

/// The size of a range that is written as its first and its last port.
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
    fn what_is_no_range_is_refused() {
        for wrong in ["", "32768", "60999 32768", "1 2 3", "1 65536", "-1 5", "a b"] {
            assert_eq!(ports(wrong), None, "{wrong}");
        }
    }
}
