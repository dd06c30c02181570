//! A second, slow reader of own blocks, written from the format alone: fields of type, length and value.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ebbtide::wire::{Own, OwnError};

/// What a block says, field by field.
fn read_slowly(data: &[u8]) -> Result<Vec<(u8, Vec<u8>)>, OwnError> {
    let mut fields = Vec::new();
    let mut at = 0;
    while at < data.len() {
        let kind = data[at];
        at += 1;
        if kind == 0 {
            continue;
        }
        let len = *data.get(at).ok_or(OwnError::Truncated)?;
        at += 1;
        let mut value = Vec::new();
        for _ in 0..len {
            value.push(*data.get(at).ok_or(OwnError::Truncated)?);
            at += 1;
        }
        if kind >= 0x80 {
            return Err(OwnError::Unknown(kind));
        }
        fields.push((kind, value));
    }
    Ok(fields)
}

fn first(fields: &[(u8, Vec<u8>)], kind: u8, fits: impl Fn(&[u8]) -> bool) -> Option<&[u8]> {
    fields.iter().find(|(found, value)| *found == kind && fits(value)).map(|(_, value)| value.as_slice())
}

fn number(fields: &[(u8, Vec<u8>)], kind: u8) -> Option<u64> {
    let value = first(fields, kind, |value| value.len() == 8)?;
    Some(value.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// The address under its mask: the cookie, the question's number, the cookie.
fn observed(fields: &[(u8, Vec<u8>)]) -> Option<SocketAddr> {
    let value = first(fields, 4, |_| true)?;
    let mut mask = vec![0x21, 0x12, 0xA4, 0x42];
    mask.extend(number(fields, 3).unwrap_or(0).to_be_bytes());
    mask.extend([0x21, 0x12, 0xA4, 0x42]);
    let port = [value.get(2)? ^ 0x21, value.get(3)? ^ 0x12];
    let ip: Vec<u8> = value[4..].iter().zip(&mask).map(|(byte, mask)| byte ^ mask).collect();
    let ip: IpAddr = match (value[0], value.len()) {
        (1, 8) => Ipv4Addr::new(ip[0], ip[1], ip[2], ip[3]).into(),
        (2, 20) => Ipv6Addr::from(<[u8; 16]>::try_from(ip.as_slice()).ok()?).into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes(port)))
}

/// Panics unless decoding agrees with the slow reader in everything.
pub(crate) fn check(data: &[u8]) {
    let (own, fields) = match (Own::decode(data), read_slowly(data)) {
        (Ok(own), Ok(fields)) => (own, fields),
        (Err(error), Err(expected)) => return assert_eq!(error, expected),
        (own, fields) => panic!("{own:?}, but the slow reader found {fields:?}"),
    };
    assert_eq!(own.token.map(|token| token.get()), number(&fields, 1));
    assert_eq!(own.txn.map(|txn| txn.get()), number(&fields, 2));
    assert_eq!(own.txn_echo.map(|txn| txn.get()), number(&fields, 3));
    assert_eq!(own.observed, observed(&fields));
    assert_eq!(own.tie_break, number(&fields, 5));
    assert_eq!(own.path_token.map(|token| token.get()), number(&fields, 6));
    assert_eq!(own.path_challenge, number(&fields, 7));
    assert_eq!(own.path_response, number(&fields, 8));
    let reason = first(&fields, 9, |value| value.len() >= 2);
    assert_eq!(
        own.close_reason.map(|reason| reason.code()),
        reason.map(|it| u16::from_be_bytes([it[0], it[1]]))
    );
    let text = reason.map(|reason| &reason[2..]).filter(|text| text.len() <= 64);
    let text = text.and_then(|text| std::str::from_utf8(text).ok()).unwrap_or("");
    assert_eq!(own.close_reason.map_or("", |reason| reason.text()), text);
    let service = first(&fields, 10, |value| (1..=32).contains(&value.len()));
    assert_eq!(own.service.as_ref().map(|service| service.as_bytes()), service);
    let session = first(&fields, 11, |value| value.len() == 16);
    assert_eq!(own.session.map(|session| session.to_bytes().to_vec()), session.map(<[u8]>::to_vec));
}
