//! A transition as the programs write it, in the terms of user space.

use std::net::SocketAddr;

use tcpstat_ebpf::{Cause, NO_CAUSE, NO_SILENCE, StreamRecord};

use crate::{
    snapshot::ip_address,
    states::{Family, State},
};

/// A transition of a full socket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Transition {
    /// CLOCK_MONOTONIC in nanoseconds.
    pub(crate) time: u64,
    /// The socket's kernel address. It must not be shown.
    pub(crate) skaddr: u64,
    /// What identifies its network namespace, and the inode number of that.
    pub(crate) netns_key: u64,
    pub(crate) netns_inum: u32,
    /// The id of its cgroup, if that was read.
    pub(crate) cgroup: Option<u64>,
    pub(crate) family: Family,
    pub(crate) local: SocketAddr,
    /// `None` for a socket without a peer, which a listening one is.
    pub(crate) remote: Option<SocketAddr>,
    pub(crate) old: State,
    pub(crate) new: State,
    /// Why it closed; `None` for a transition to another state.
    pub(crate) cause: Option<Cause>,
    /// How many ticks ago the peer was last heard, if that is known.
    pub(crate) silence: Option<u32>,
    /// The process that owned the socket's lock.
    pub(crate) process: Option<Process>,
    /// The lower half of the number of records that were lost before.
    pub(crate) lost: u32,
}

/// A process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    command: [u8; 16],
}

impl Process {
    /// Its name, as its owner has chosen it: any bytes.
    pub(crate) fn command(&self) -> &[u8] {
        let length = self.command.iter().position(|&byte| byte == 0);
        &self.command[..length.unwrap_or(self.command.len())]
    }
}

impl Transition {
    /// `None` for a record with an unknown family, state or cause.
    pub(crate) fn of(record: &StreamRecord) -> Option<Self> {
        let family = Family::from_index(record.family)?;
        let end = |words, port| SocketAddr::new(ip_address(family, bytes(words)), port);
        let process =
            (record.pid != 0).then(|| Process { pid: record.pid, command: bytes(record.command) });
        Some(Self {
            time: record.time,
            skaddr: record.skaddr,
            netns_key: record.netns_key,
            netns_inum: record.netns_inum,
            cgroup: (record.cgroup != 0).then_some(record.cgroup),
            family,
            local: end(record.saddr, record.sport),
            remote: (record.dport != 0 || record.daddr != [0; 4])
                .then(|| end(record.daddr, record.dport)),
            old: State::from_number(record.oldstate)?,
            new: State::from_number(record.newstate)?,
            cause: match record.cause {
                NO_CAUSE => None,
                number => Some(*Cause::ALL.get(usize::from(number))?),
            },
            silence: (record.silence != NO_SILENCE).then_some(record.silence),
            process,
            lost: record.lost,
        })
    }
}

fn bytes(words: [u32; 4]) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(words.map(u32::to_ne_bytes).as_flattened());
    bytes
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// ESTABLISHED→CLOSE by a reset.
    pub(crate) const RECORD: StreamRecord = StreamRecord {
        time: 5_000_000_000,
        skaddr: 0xffff_8880_1234_5678,
        netns_key: 4097,
        cgroup: 77,
        saddr: [u32::from_ne_bytes([10, 0, 0, 1]), 0, 0, 0],
        daddr: [u32::from_ne_bytes([10, 0, 0, 2]), 0, 0, 0],
        command: [u32::from_ne_bytes(*b"curl"), 0, 0, 0],
        pid: 7,
        netns_inum: 4_026_531_840,
        silence: 300,
        lost: 0,
        sport: 80,
        dport: 40_000,
        family: 0,
        oldstate: 1,
        newstate: 7,
        cause: 1,
    };

    #[test]
    fn a_record_is_the_transition_that_the_program_wrote() {
        let transition = Transition::of(&RECORD).unwrap();
        assert_eq!((transition.old, transition.new), (State::Established, State::Close));
        assert_eq!(transition.local, "10.0.0.1:80".parse().unwrap());
        assert_eq!(transition.remote, Some("10.0.0.2:40000".parse().unwrap()));
        assert_eq!((transition.cause, transition.silence), (Some(Cause::Reset), Some(300)));
        assert_eq!(transition.process.unwrap().command(), b"curl");
        let words = [0x2001_0db8_u32.to_be(), 0, 0, 1_u32.to_be()];
        let record = StreamRecord { family: 1, saddr: words, ..RECORD };
        let transition = Transition::of(&record).unwrap();
        assert_eq!(transition.local.ip().to_string(), "2001:db8::1");
    }

    #[test]
    fn what_is_not_known_is_none() {
        let record = StreamRecord {
            pid: 0,
            cgroup: 0,
            silence: NO_SILENCE,
            newstate: 8,
            cause: NO_CAUSE,
            ..RECORD
        };
        let transition = Transition::of(&record).unwrap();
        assert_eq!((transition.process, transition.cgroup), (None, None));
        assert_eq!((transition.cause, transition.silence), (None, None));
    }

    #[test]
    fn an_impossible_record_is_none() {
        for record in [
            StreamRecord { family: 2, ..RECORD },
            StreamRecord { oldstate: 0, ..RECORD },
            StreamRecord { newstate: 13, ..RECORD },
            StreamRecord { cause: 8, ..RECORD },
        ] {
            assert_eq!(Transition::of(&record), None, "{record:?}");
        }
    }
}
