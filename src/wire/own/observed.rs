//! An address inside a packet, masked so that a translator that rewrites whatever looks like an address leaves it
//! alone. The mask is STUN's (RFC 8489 §14.2), with the question's number in place of the transaction id.
//!
//! ```text
//!   family │ 0 │ port ⊕ 2112 │ address ⊕ 2112A442, for IPv6 followed by the number and once more 2112A442
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Txn;

/// RFC 8489 §5: the magic cookie.
const COOKIE: u32 = 0x2112_A442;

const IPV4: u8 = 1;
const IPV6: u8 = 2;

pub(super) const fn len(addr: SocketAddr) -> usize {
    if addr.is_ipv4() { 8 } else { 20 }
}

const fn mask6(echo: Option<Txn>) -> u128 {
    let number = match echo {
        Some(txn) => txn.get(),
        None => 0,
    };
    (COOKIE as u128) << 96 | (number as u128) << 32 | COOKIE as u128
}

/// The bytes and how many of them count.
pub(super) fn encode(addr: SocketAddr, echo: Option<Txn>) -> ([u8; 20], usize) {
    let mut bytes = [0; 20];
    bytes[0] = if addr.is_ipv4() { IPV4 } else { IPV6 };
    bytes[2..4].copy_from_slice(&(addr.port() ^ (COOKIE >> 16) as u16).to_be_bytes());
    match addr.ip() {
        IpAddr::V4(ip) => bytes[4..8].copy_from_slice(&(u32::from(ip) ^ COOKIE).to_be_bytes()),
        IpAddr::V6(ip) => bytes[4..].copy_from_slice(&(u128::from(ip) ^ mask6(echo)).to_be_bytes()),
    }
    (bytes, len(addr))
}

/// The address, if family and length fit each other.
pub(super) fn decode(value: &[u8], echo: Option<Txn>) -> Option<SocketAddr> {
    let (&[family, _, high, low], ip) = value.split_first_chunk()?;
    let port = u16::from_be_bytes([high, low]) ^ (COOKIE >> 16) as u16;
    let ip: IpAddr = match family {
        IPV4 => Ipv4Addr::from(u32::from_be_bytes(ip.try_into().ok()?) ^ COOKIE).into(),
        IPV6 => Ipv6Addr::from(u128::from_be_bytes(ip.try_into().ok()?) ^ mask6(echo)).into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}
