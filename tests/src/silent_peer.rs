//! A TCP peer that sends only what a test asks for, so that a kernel socket stays in any state.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::deadline::DEADLINE;
use crate::segment::{Flags, Segment};
use crate::wire::{Link, Wire};

/// Initial sequence number of every remote.
const INITIAL_SEQUENCE: u32 = 1_000_000;

/// One end of one connection, the other being a socket of the kernel. [`Wire::remote`] makes it.
///
/// It keeps the sequence numbers right and takes segments from the kernel in order; it ignores
/// retransmissions. Every wait ends after [`DEADLINE`] with an error.
#[derive(Debug)]
pub struct Remote {
    link: Arc<Link>,
    address: SocketAddr,
    /// The kernel's end, known from the first segment on.
    kernel: Option<SocketAddr>,
    snd_nxt: u32,
    /// The next sequence number expected, known from the kernel's SYN on.
    rcv_nxt: Option<u32>,
    /// The last acknowledgment number that was sent.
    acked: u32,
}

impl Remote {
    pub(crate) fn new(link: Arc<Link>, address: SocketAddr) -> Self {
        Self { link, address, kernel: None, snd_nxt: INITIAL_SEQUENCE, rcv_nxt: None, acked: 0 }
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of the kernel's socket, if there is one.
    #[must_use]
    pub fn kernel(&self) -> Option<SocketAddr> {
        self.kernel
    }

    /// Waits for the SYN of a kernel socket that connects to it, and does not answer.
    ///
    /// # Errors
    /// Fails if it receives none.
    pub fn swallow_syn(&mut self) -> Result<()> {
        self.wait_for(Flags::SYN)?;
        Ok(())
    }

    /// Waits until the kernel socket sends its SYN again. Does not answer.
    ///
    /// # Errors
    /// Fails if it receives no other one.
    pub fn await_syn_again(&mut self) -> Result<()> {
        let again =
            |segment: &Segment| self.concerns(segment) && segment.flags.contains(Flags::SYN);
        let segment = self.link.receive(again, DEADLINE)?;
        segment.map(drop).with_context(|| format!("{}: no second SYN", self.address))
    }

    /// Sends a SYN that acknowledges nothing to a kernel socket that has sent one.
    ///
    /// # Errors
    /// As [`Remote::ack`].
    pub fn cross_syn(&mut self) -> Result<()> {
        self.transmit(Flags::SYN, &[])
    }

    /// Completes the handshake of a kernel socket that connects to it; its SYN may have been
    /// swallowed before.
    ///
    /// # Errors
    /// Fails if the kernel sends no SYN or no ACK.
    pub fn accept_from_kernel(&mut self) -> Result<()> {
        if self.kernel.is_none() {
            self.swallow_syn()?;
        }
        self.acked = self.rcv_nxt.unwrap_or_default();
        self.transmit(Flags::SYN_ACK, &[])?;
        self.wait_for(Flags::ACK)?;
        Ok(())
    }

    /// Sends a SYN to a listener on `port` and takes its SYN-ACK, without the ACK the listener
    /// waits for.
    ///
    /// # Errors
    /// Fails if it receives no SYN-ACK.
    pub fn syn_only(&mut self, port: u16) -> Result<()> {
        let ip: IpAddr = match self.address {
            SocketAddr::V4(_) => Wire::KERNEL_IPV4.into(),
            SocketAddr::V6(_) => Wire::KERNEL_IPV6.into(),
        };
        self.kernel = Some((ip, port).into());
        self.transmit(Flags::SYN, &[])?;
        self.wait_for(Flags::SYN_ACK)?;
        Ok(())
    }

    /// Connects to a listener on `port`. The listener may get the last ACK after this returns.
    ///
    /// # Errors
    /// As [`Remote::syn_only`].
    pub fn connect_to(&mut self, port: u16) -> Result<()> {
        self.syn_only(port)?;
        self.ack()
    }

    /// Acknowledges everything that it has received.
    ///
    /// # Errors
    /// Fails if there is no kernel socket yet. The same holds for all methods that send.
    pub fn ack(&mut self) -> Result<()> {
        self.acked = self.rcv_nxt.unwrap_or_default();
        self.transmit(Flags::ACK, &[])
    }

    /// Sends data, acknowledging everything that it has received. One segment: at most 1400 bytes.
    ///
    /// # Errors
    /// As [`Remote::ack`].
    pub fn send(&mut self, payload: &[u8]) -> Result<()> {
        self.acked = self.rcv_nxt.unwrap_or_default();
        self.transmit(Flags::ACK, payload)
    }

    /// Sends a FIN, acknowledging everything that it has received.
    ///
    /// # Errors
    /// As [`Remote::ack`].
    pub fn fin(&mut self) -> Result<()> {
        self.acked = self.rcv_nxt.unwrap_or_default();
        self.fin_without_ack()
    }

    /// Sends a FIN that acknowledges nothing new: a FIN of the kernel stays unacknowledged.
    ///
    /// # Errors
    /// As [`Remote::ack`].
    pub fn fin_without_ack(&mut self) -> Result<()> {
        self.transmit(Flags::FIN | Flags::ACK, &[])
    }

    /// Sends a RST that the kernel accepts in every state.
    ///
    /// # Errors
    /// As [`Remote::ack`].
    pub fn rst(&mut self) -> Result<()> {
        self.acked = self.rcv_nxt.unwrap_or_default();
        self.transmit(Flags::RST | Flags::ACK, &[])
    }

    /// Takes segments from the kernel in order, up to and including the first that has all these
    /// flags, and returns that one. Acknowledges nothing.
    ///
    /// # Errors
    /// Fails with the segments that it received instead.
    pub fn wait_for(&mut self, flags: Flags) -> Result<Segment> {
        let end = Instant::now() + DEADLINE;
        let mut others = Vec::new();
        loop {
            let remaining = end.saturating_duration_since(Instant::now());
            let Some(segment) = self.link.receive(|segment| self.concerns(segment), remaining)?
            else {
                bail!("{}: no {flags} within {DEADLINE:?}, but {others:?}", self.address);
            };
            let expected =
                self.rcv_nxt.or(segment.flags.contains(Flags::SYN).then_some(segment.sequence));
            if expected != Some(segment.sequence) {
                others.push(format!("out of sequence: {segment}"));
                continue;
            }
            self.kernel = Some(segment.source);
            self.rcv_nxt = Some(segment.next_sequence());
            if segment.flags.contains(flags) {
                return Ok(segment);
            }
            others.push(segment.to_string());
        }
    }

    fn concerns(&self, segment: &Segment) -> bool {
        segment.destination == self.address
            && self.kernel.is_none_or(|kernel| segment.source == kernel)
    }

    fn transmit(&mut self, flags: Flags, payload: &[u8]) -> Result<()> {
        let destination = self.kernel.context("no kernel socket to send to yet")?;
        let acknowledgment = if flags.contains(Flags::ACK) { self.acked } else { 0 };
        let segment = Segment {
            source: self.address,
            destination,
            sequence: self.snd_nxt,
            acknowledgment,
            flags,
            payload: payload.to_vec(),
        };
        self.snd_nxt = segment.next_sequence();
        self.link.send(&segment)
    }
}
