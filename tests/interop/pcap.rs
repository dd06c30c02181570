//! Recordings of the relay as pcap files: each datagram gets the Ethernet, IPv4 and UDP headers it would have had.
//!
//! Ports are invented and always the same, so that a new recording differs from the old one in what matters.

use std::io::{self, Write};
use std::net::Ipv4Addr;

use crate::relay::{Recorded, Way};

/// The port of the party that sends to the relay first.
pub const NEAR_PORT: u16 = 40_001;
/// The port of the other one.
pub const FAR_PORT: u16 = 40_002;

/// Writes a classic pcap file, microseconds, Ethernet.
pub fn write(out: &mut impl Write, packets: &[Recorded]) -> io::Result<()> {
    for field in [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, ETHERNET] {
        // Little endian throughout; the two version numbers (2.4) are 16 bits each.
        out.write_all(&u32::to_le_bytes(field))?;
    }
    for packet in packets {
        let frame = frame(packet);
        let micros = u64::try_from(packet.at.as_micros()).unwrap_or(u64::MAX);
        let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
        let (seconds, fraction) = ((micros / 1_000_000) as u32, (micros % 1_000_000) as u32);
        for field in [seconds, fraction, length, length] {
            out.write_all(&field.to_le_bytes())?;
        }
        out.write_all(&frame)?;
    }
    Ok(())
}

const ETHERNET: u32 = 1;

fn frame(packet: &Recorded) -> Vec<u8> {
    let (from, to) = match packet.way {
        Way::NearToFar => (NEAR_PORT, FAR_PORT),
        Way::FarToNear => (FAR_PORT, NEAR_PORT),
    };
    let udp_len = u16::try_from(packet.bytes.len() + 8).expect("a datagram fits its header");
    let mut frame = Vec::with_capacity(42 + packet.bytes.len());
    frame.extend_from_slice(&[0; 12]);
    frame.extend_from_slice(&[0x08, 0x00]);

    let mut ip = [0; 20];
    ip[0] = 0x45;
    ip[2..4].copy_from_slice(&(udp_len + 20).to_be_bytes());
    ip[8] = 64;
    ip[9] = 17;
    ip[12..16].copy_from_slice(&Ipv4Addr::LOCALHOST.octets());
    ip[16..20].copy_from_slice(&Ipv4Addr::LOCALHOST.octets());
    let checksum = internet_checksum(&ip);
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());
    frame.extend_from_slice(&ip);

    for field in [from, to, udp_len, 0] {
        frame.extend_from_slice(&field.to_be_bytes());
    }
    frame.extend_from_slice(&packet.bytes);
    frame
}

fn internet_checksum(header: &[u8]) -> u16 {
    let words = header.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) as u16 + (folded >> 16) as u16)
}
