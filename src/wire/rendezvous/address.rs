//! Addresses on the wire: family (0 is IPv4, 1 is IPv6), address, port, as in BEP 55, and masked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What addresses are masked with. It hides nothing from a reader; it only makes them look like something else to a
/// router that replaces its own addresses wherever it sees them.
const MASK: [u8; 18] = *b"\x21\x12\xa4\x42ebbtide addrs.";

/// The most bytes.
pub(super) const LEN_MAX: usize = 19;

pub(super) fn write(addr: SocketAddr, out: &mut Vec<u8>) {
    let from = out.len() + 1;
    match addr.ip().to_canonical() {
        IpAddr::V4(ip) => {
            out.push(0);
            out.extend(ip.octets());
        }
        IpAddr::V6(ip) => {
            out.push(1);
            out.extend(ip.octets());
        }
    }
    out.extend(addr.port().to_be_bytes());
    mask(&mut out[from..]);
}

pub(super) fn read(bytes: &[u8]) -> Option<SocketAddr> {
    let (family, masked) = bytes.split_first()?;
    let mut plain = [0; 18];
    let plain = plain.get_mut(..masked.len())?;
    plain.copy_from_slice(masked);
    mask(plain);
    let (ip, port) = plain.split_last_chunk::<2>()?;
    let ip = match family {
        0 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(ip).ok()?)),
        1 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(ip).ok()?)),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes(*port)))
}

/// Masks what comes after the first byte, or unmasks it.
pub(super) fn mask(bytes: &mut [u8]) {
    bytes.iter_mut().zip(MASK).for_each(|(byte, mask)| *byte ^= mask);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back_and_are_not_to_be_seen() {
        for text in ["192.0.2.7:6881", "[2001:db8::7]:80"] {
            let addr: SocketAddr = text.parse().unwrap_or_else(|_| panic!("{text}"));
            let mut bytes = Vec::new();
            write(addr, &mut bytes);
            assert_eq!(read(&bytes), Some(addr));
            assert!(bytes.len() <= LEN_MAX);
            assert!(!bytes.windows(4).any(|four| four == [192, 0, 2, 7]));
            assert_eq!(read(&bytes[..bytes.len() - 1]), None);
        }
        assert_eq!(read(&[2, 0, 0, 0, 0, 0, 0]), None, "an unknown family");
    }
}
