//! Captures of a world for Wireshark and its kin: the blocks of a pcapng file, and the headers of IP and UDP that
//! datagrams have on the wire.
//!
//! Three kinds of blocks in their simplest form. The crate that writes all kinds had its last finished release in 2023,
//! and the candidates for its next one need a later Rust than this crate does; what is here is checked by two readers
//! that know nothing of it. Knows no world: it is told what was sent and when.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};

/// Raw IP: the first half byte says which version.
const LINKTYPE_RAW: u16 = 101;

/// UDP, as IP calls it.
const UDP: u8 = 17;

const HOP_LIMIT: u8 = 64;

const UDP_HEADER_LEN: usize = 8;

/// In which direction of its interface a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Inbound = 1,
    Outbound = 2,
}

/// A packet and what is said about it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<'a> {
    /// Nanoseconds.
    pub(super) at: u64,
    pub(super) interface: u32,
    pub(super) way: Way,
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) payload: &'a [u8],
    /// Nothing, if empty.
    pub(super) comment: &'a str,
}

/// Writes blocks.
pub(super) struct Writer<W> {
    out: W,
    /// The block in the making, kept for its memory.
    block: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Begins a file.
    pub(super) fn new(out: W, comment: &str) -> io::Result<Self> {
        let mut writer = Self { out, block: Vec::new() };
        writer.begin(0x0a0d_0d0a);
        writer.word(0x1a2b_3c4d);
        // Version 1.0, and a section of unknown length.
        writer.halves(1, 0);
        writer.word(u32::MAX);
        writer.word(u32::MAX);
        writer.option(1, comment.as_bytes());
        writer.option(4, concat!("ebbtide ", env!("CARGO_PKG_VERSION"), " sim").as_bytes());
        writer.finish()?;
        Ok(writer)
    }

    /// Another interface; they are counted from 0.
    pub(super) fn interface(&mut self, name: &str, description: &str) -> io::Result<()> {
        self.begin(1);
        self.halves(LINKTYPE_RAW, 0);
        // No limit to the length of packets.
        self.word(0);
        self.option(2, name.as_bytes());
        self.option(3, description.as_bytes());
        // Nanoseconds.
        self.option(9, &[9]);
        self.finish()
    }

    /// A packet. What does not fit into a UDP datagram, or has two versions of IP in its addresses, is left out.
    pub(super) fn packet(&mut self, packet: &Packet<'_>) -> io::Result<()> {
        let Packet { at, interface, way, from, to, payload, comment } = *packet;
        self.begin(6);
        self.word(interface);
        self.word((at >> 32) as u32);
        self.word(at as u32);
        let lengths = self.block.len();
        self.word(0);
        self.word(0);
        let begin = self.block.len();
        if !datagram(&mut self.block, from, to, payload) {
            return Ok(());
        }
        let len = ((self.block.len() - begin) as u32).to_le_bytes();
        self.block[lengths..lengths + 4].copy_from_slice(&len);
        self.block[lengths + 4..lengths + 8].copy_from_slice(&len);
        self.pad();
        self.option(2, &(way as u32).to_le_bytes());
        self.option(1, comment.as_bytes());
        self.finish()
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn begin(&mut self, kind: u32) {
        self.block.clear();
        self.word(kind);
        // The length, to be filled in.
        self.word(0);
    }

    fn word(&mut self, word: u32) {
        self.block.extend_from_slice(&word.to_le_bytes());
    }

    fn halves(&mut self, first: u16, second: u16) {
        self.word(u32::from(first) | u32::from(second) << 16);
    }

    fn pad(&mut self) {
        self.block.resize(self.block.len().next_multiple_of(4), 0);
    }

    /// An option; none, if its value is empty.
    fn option(&mut self, code: u16, value: &[u8]) {
        let value = &value[..value.len().min(usize::from(u16::MAX))];
        if !value.is_empty() {
            self.halves(code, value.len() as u16);
            self.block.extend_from_slice(value);
            self.pad();
        }
    }

    /// The end of the options and of the block.
    fn finish(&mut self) -> io::Result<()> {
        self.word(0);
        let len = (self.block.len() + 4) as u32;
        self.block[4..8].copy_from_slice(&len.to_le_bytes());
        self.word(len);
        self.out.write_all(&self.block)
    }
}

/// Appends the packet that carries this payload; `false` if there is no such packet.
fn datagram(out: &mut Vec<u8>, from: SocketAddr, to: SocketAddr, payload: &[u8]) -> bool {
    let begin = out.len();
    let Ok(udp_len) = u16::try_from(UDP_HEADER_LEN + payload.len()) else { return false };
    // What the checksum of UDP covers besides the datagram itself.
    let pseudo = match (from.ip(), to.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let Some(len) = udp_len.checked_add(20) else { return false };
            let [high, low] = len.to_be_bytes();
            // Version and header length, services, length, number, do not fragment, hops, protocol, checksum.
            out.extend_from_slice(&[0x45, 0, high, low, 0, 0, 0x40, 0, HOP_LIMIT, UDP, 0, 0]);
            out.extend_from_slice(&source.octets());
            out.extend_from_slice(&destination.octets());
            let checksum = !sum(&out[begin..], 0);
            out[begin + 10..begin + 12].copy_from_slice(&checksum.to_be_bytes());
            sum(&source.octets(), sum(&destination.octets(), 0))
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let [high, low] = udp_len.to_be_bytes();
            // Version, class and label, length of the payload, protocol, hops.
            out.extend_from_slice(&[0x60, 0, 0, 0, high, low, UDP, HOP_LIMIT]);
            out.extend_from_slice(&source.octets());
            out.extend_from_slice(&destination.octets());
            sum(&source.octets(), sum(&destination.octets(), 0))
        }
        _ => return false,
    };
    let udp = out.len();
    for field in [from.port(), to.port(), udp_len, 0] {
        out.extend_from_slice(&field.to_be_bytes());
    }
    out.extend_from_slice(payload);
    let pseudo = sum(&[0, UDP], sum(&udp_len.to_be_bytes(), pseudo));
    // Zero would mean that there is none.
    let checksum = match !sum(&out[udp..], pseudo) {
        0 => u16::MAX,
        checksum => checksum,
    };
    out[udp + 6..udp + 8].copy_from_slice(&checksum.to_be_bytes());
    true
}

/// The sum of the 16-bit words in ones' complement, to be inverted (RFC 1071).
fn sum(bytes: &[u8], start: u16) -> u16 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    // At most 32,768 words of 16 bits: no overflow.
    let mut sum = bytes.chunks(2).map(word).sum::<u32>() + u32::from(start);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that unwraps nothing has failed")]

    use super::*;

    #[test]
    fn checksums_are_those_of_the_rfc() {
        // The example of RFC 1071, section 3.
        assert_eq!(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7], 0), 0xddf2);
        for (from, to) in [("10.0.0.1:1", "10.0.0.2:2"), ("[fd00::1]:1", "[fd00::2]:2")] {
            for payload in [&[0xff; 33][..], &[0; 20], &[]] {
                let mut packet = Vec::new();
                let (from, to): (SocketAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
                assert!(datagram(&mut packet, from, to, payload));
                let (header, addresses) = if from.is_ipv4() { (20, 12) } else { (40, 8) };
                if from.is_ipv4() {
                    assert_eq!(sum(&packet[..20], 0), 0xffff);
                }
                let len = (packet.len() - header) as u16;
                let pseudo = sum(&[0, UDP], sum(&len.to_be_bytes(), sum(&packet[addresses..header], 0)));
                assert_eq!(sum(&packet[header..], pseudo), 0xffff, "{from} {payload:?}");
            }
        }
    }

    #[test]
    fn what_is_no_packet_is_left_out() {
        let (four, six) = ("10.0.0.1:1".parse().unwrap(), "[fd00::1]:1".parse().unwrap());
        assert!(!datagram(&mut Vec::new(), four, six, &[]));
        assert!(!datagram(&mut Vec::new(), four, four, &vec![0; 65_508]));
        assert!(datagram(&mut Vec::new(), four, four, &vec![0; 65_507]));
    }
}
