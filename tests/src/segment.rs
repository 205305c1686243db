//! TCP segments as IP packets.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::BitOr;

use anyhow::{Result, bail};
use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};

const HOP_LIMIT: u8 = 64;

/// The complete window, because window scaling is never negotiated.
const WINDOW: u16 = u16::MAX;

/// A set of TCP flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    /// End of the sender's data.
    pub const FIN: Self = Self(1);
    /// Start of a connection.
    pub const SYN: Self = Self(2);
    /// Abort.
    pub const RST: Self = Self(4);
    /// The acknowledgment number is valid.
    pub const ACK: Self = Self(16);
    /// A SYN that answers a SYN.
    pub const SYN_ACK: Self = Self(Self::SYN.0 | Self::ACK.0);

    /// Whether all of `others` are in this set.
    #[must_use]
    pub fn contains(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words =
            [(Self::SYN, "SYN"), (Self::FIN, "FIN"), (Self::RST, "RST"), (Self::ACK, "ACK")];
        let set = words.into_iter().filter(|(flag, _)| self.contains(*flag));
        formatter.write_str(&set.map(|(_, word)| word).collect::<Vec<_>>().join("|"))
    }
}

/// A TCP segment with its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The sender.
    pub source: SocketAddr,
    /// The receiver, in the same IP version.
    pub destination: SocketAddr,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgment number, 0 without [`Flags::ACK`].
    pub acknowledgment: u32,
    /// PSH, URG and the congestion flags are not kept.
    pub flags: Flags,
    /// Data.
    pub payload: Vec<u8>,
}

impl Segment {
    /// The sequence number after this segment: SYN, FIN and each byte of data take one.
    #[must_use]
    pub fn next_sequence(&self) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "sequence numbers are modulo 2^32")]
        let mut next = self.sequence.wrapping_add(self.payload.len() as u32);
        for flag in [Flags::SYN, Flags::FIN] {
            next = next.wrapping_add(u32::from(self.flags.contains(flag)));
        }
        next
    }

    /// The IP packet, checksums included.
    ///
    /// # Errors
    /// Fails if the two addresses have different IP versions, or if the payload is too long.
    pub fn to_packet(&self) -> Result<Vec<u8>> {
        let builder = match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                PacketBuilder::ipv4(source.octets(), destination.octets(), HOP_LIMIT)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                PacketBuilder::ipv6(source.octets(), destination.octets(), HOP_LIMIT)
            }
            (source, destination) => bail!("from {source} to {destination}: two IP versions"),
        };
        let mut builder =
            builder.tcp(self.source.port(), self.destination.port(), self.sequence, WINDOW);
        if self.flags.contains(Flags::SYN) {
            builder = builder.syn();
        }
        if self.flags.contains(Flags::FIN) {
            builder = builder.fin();
        }
        if self.flags.contains(Flags::RST) {
            builder = builder.rst();
        }
        if self.flags.contains(Flags::ACK) {
            builder = builder.ack(self.acknowledgment);
        }
        let mut packet = Vec::with_capacity(builder.size(self.payload.len()));
        builder.write(&mut packet, &self.payload)?;
        Ok(packet)
    }

    /// The segment in an IP packet; `None` if the packet is not TCP.
    #[must_use]
    pub fn from_packet(packet: &[u8]) -> Option<Self> {
        let sliced = SlicedPacket::from_ip(packet).ok()?;
        let (source, destination): (IpAddr, IpAddr) = match sliced.net? {
            NetSlice::Ipv4(ip) => {
                (ip.header().source_addr().into(), ip.header().destination_addr().into())
            }
            NetSlice::Ipv6(ip) => {
                (ip.header().source_addr().into(), ip.header().destination_addr().into())
            }
            NetSlice::Arp(_) => return None,
        };
        let TransportSlice::Tcp(tcp) = sliced.transport? else { return None };
        let flags = [
            (tcp.syn(), Flags::SYN),
            (tcp.fin(), Flags::FIN),
            (tcp.rst(), Flags::RST),
            (tcp.ack(), Flags::ACK),
        ];
        Some(Self {
            source: (source, tcp.source_port()).into(),
            destination: (destination, tcp.destination_port()).into(),
            sequence: tcp.sequence_number(),
            acknowledgment: tcp.acknowledgment_number(),
            flags: flags
                .into_iter()
                .filter(|(set, _)| *set)
                .fold(Flags(0), |all, (_, flag)| all | flag),
            payload: tcp.payload().to_vec(),
        })
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, destination, sequence, acknowledgment, flags, payload } = self;
        let length = payload.len();
        write!(
            formatter,
            "{source} > {destination} {flags} seq {sequence} ack {acknowledgment} length {length}"
        )
    }
}
