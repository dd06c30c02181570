//! From a captured frame down to the UDP datagram in it: link layer, IPv4 or IPv6, UDP.
//!
//! Looks for UDP only; everything else in a capture is somebody else's. Trusts no length that the frame claims.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use pcap_parser::Linktype;

/// A UDP datagram found in a frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Datagram<'a> {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) payload: &'a [u8],
    /// Length of the payload on the line where less of it was captured.
    pub(super) cut: Option<usize>,
}

/// Whether [`datagram`] can look into frames of this kind.
pub(super) fn is_known(link: Linktype) -> bool {
    matches!(
        link,
        Linktype::ETHERNET
            | Linktype::NULL
            | Linktype::LOOP
            | Linktype::RAW
            | Linktype::IPV4
            | Linktype::IPV6
            | Linktype::LINUX_SLL
            | Linktype::LINUX_SLL2
            | RAW_BSD
            | RAW_OPENBSD
    )
}

/// The datagram in a frame, if there is one and its header was captured. Of a fragmented one, the first piece.
pub(super) fn datagram(link: Linktype, frame: &[u8]) -> Option<Datagram<'_>> {
    match link {
        Linktype::ETHERNET => ethernet(frame),
        Linktype::NULL | Linktype::LOOP => ip(frame.get(4..)?),
        Linktype::RAW | Linktype::IPV4 | Linktype::IPV6 | RAW_BSD | RAW_OPENBSD => ip(frame),
        Linktype::LINUX_SLL => ip_after(be16(frame, 14)?, frame.get(16..)?),
        Linktype::LINUX_SLL2 => ip_after(be16(frame, 0)?, frame.get(20..)?),
        _ => None,
    }
}

fn ethernet(frame: &[u8]) -> Option<Datagram<'_>> {
    ip_after(be16(frame, 12)?, frame.get(14..)?)
}

/// What follows an ether type, below any number of VLAN tags.
fn ip_after(mut kind: u16, mut rest: &[u8]) -> Option<Datagram<'_>> {
    while matches!(kind, VLAN | VLAN_OUTER) {
        kind = be16(rest, 2)?;
        rest = rest.get(4..)?;
    }
    if matches!(kind, IPV4 | IPV6) { ip(rest) } else { None }
}

fn ip(packet: &[u8]) -> Option<Datagram<'_>> {
    match packet.first()? >> 4 {
        4 => ipv4(packet),
        6 => ipv6(packet),
        _ => None,
    }
}

fn ipv4(packet: &[u8]) -> Option<Datagram<'_>> {
    let header_len = usize::from(packet[0] & 0x0F) * 4;
    let is_later_fragment = be16(packet, 6)? & 0x1FFF != 0;
    if header_len < 20 || is_later_fragment || *packet.get(9)? != UDP {
        return None;
    }
    let address = |at: usize| Some(Ipv4Addr::from(*packet.get(at..)?.first_chunk::<4>()?));
    udp(address(12)?.into(), address(16)?.into(), packet.get(header_len..)?)
}

fn ipv6(packet: &[u8]) -> Option<Datagram<'_>> {
    let address = |at: usize| Some(Ipv6Addr::from(*packet.get(at..)?.first_chunk::<16>()?));
    let (from, to) = (address(8)?, address(24)?);
    let (mut next, mut rest) = (*packet.get(6)?, packet.get(40..)?);
    while next != UDP {
        let len = match next {
            FRAGMENT if be16(rest, 2)? & 0xFFF8 != 0 => return None,
            FRAGMENT => 8,
            HOP_BY_HOP | ROUTING | DESTINATION => (usize::from(*rest.get(1)?) + 1) * 8,
            _ => return None,
        };
        next = *rest.first()?;
        rest = rest.get(len..)?;
    }
    udp(from.into(), to.into(), rest)
}

fn udp(from: IpAddr, to: IpAddr, packet: &[u8]) -> Option<Datagram<'_>> {
    let (from, to) = (SocketAddr::new(from, be16(packet, 0)?), SocketAddr::new(to, be16(packet, 2)?));
    let captured = packet.get(8..)?;
    // 0 stands for "longer than the field" in a segmentation offload and a jumbogram: then all of it.
    let len = match usize::from(be16(packet, 4)?) {
        0 => captured.len(),
        len => len.checked_sub(8)?,
    };
    let cut = (captured.len() < len).then_some(len);
    Some(Datagram { from, to, payload: &captured[..len.min(captured.len())], cut })
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|field| u16::from_be_bytes(*field))
}

const RAW_BSD: Linktype = Linktype(12);
const RAW_OPENBSD: Linktype = Linktype(14);
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86DD;
const VLAN: u16 = 0x8100;
const VLAN_OUTER: u16 = 0x88A8;
const UDP: u8 = 17;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;

#[cfg(test)]
mod tests;
