//! A second, slow reader of packets, written from the format alone, and the comparison of the real one with it.
//!
//! Shares no code with the crate: it copies everything, walks byte by byte, and looks at each bit of a mask alone.
//! The property tests and the fuzz targets both end here.

pub(crate) mod own;

use ebbtide::wire::{DecodeError, Packet, SeqNr};

/// What the slow reader found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Cannot be uTP.
    Foreign,
    /// The chain of extensions runs past the end.
    Truncated,
    /// A packet: id and data of each extension, and the payload.
    Packet { extensions: Vec<(u8, Vec<u8>)>, payload: Vec<u8> },
}

/// Reads a datagram one byte at a time.
pub(crate) fn read_slowly(datagram: &[u8]) -> Found {
    let mut bytes = datagram.iter().copied();
    let header: Vec<u8> = bytes.by_ref().take(20).collect();
    if header.len() != 20 || ![0x01, 0x11, 0x21, 0x31, 0x41].contains(&header[0]) {
        return Found::Foreign;
    }
    let mut extensions = Vec::new();
    let mut id = header[1];
    while id != 0 {
        let (Some(next), Some(len)) = (bytes.next(), bytes.next()) else { return Found::Truncated };
        let data: Vec<u8> = bytes.by_ref().take(len.into()).collect();
        if data.len() != usize::from(len) {
            return Found::Truncated;
        }
        extensions.push((id, data));
        id = next;
    }
    Found::Packet { extensions, payload: bytes.collect() }
}

/// Panics unless decoding agrees with the slow reader in everything, and encoding gives the same bytes again.
pub(crate) fn check(datagram: &[u8]) {
    match (Packet::decode(datagram), read_slowly(datagram)) {
        (Err(DecodeError::NotUtp(_)), Found::Foreign) => {}
        (Err(DecodeError::Truncated), Found::Truncated) => {}
        (Ok(packet), Found::Packet { extensions, payload }) => {
            check_extensions(&packet, &extensions);
            check_sack(&packet, &extensions);
            assert_eq!(packet.payload, payload);
            let mut again = Vec::new();
            packet.encode(&mut again);
            assert_eq!(again, datagram, "what was decoded is encoded byte for byte");
            assert_eq!(packet.encoded_len(), datagram.len());
        }
        (decoded, found) => panic!("{decoded:?}, but the slow reader found {found:?}"),
    }
}

/// Whether libutp takes the packet that carries this extension, and BEP 29 allows it.
pub(crate) fn is_welcome(is_first: bool, id: u8, len: usize) -> bool {
    match id {
        0 => false,
        1 => len > 0 && len.is_multiple_of(4) && len <= 255,
        2 => len == 8,
        _ => !is_first && len <= 255,
    }
}

fn check_extensions(packet: &Packet<'_>, expected: &[(u8, Vec<u8>)]) {
    let extensions = packet.extensions;
    let found: Vec<(u8, Vec<u8>)> = extensions.iter().map(|it| (it.id, it.data.to_vec())).collect();
    assert_eq!(found, expected);
    assert_eq!(extensions.is_empty(), expected.is_empty());
    let first = |id: u8, fits: fn(usize) -> bool| {
        expected
            .iter()
            .find(|(found, data)| *found == id && fits(data.len()))
            .map(|(_, data)| data.as_slice())
    };
    assert_eq!(extensions.bits().as_ref().map(<[u8; 8]>::as_slice), first(2, |len| len == 8));
    let code = first(3, |len| len == 4).map(|data| u16::from(data[2]) * 256 + u16::from(data[3]));
    assert_eq!(extensions.close_reason(), code);
    assert_eq!(extensions.own(), first(0xB5, |_| true));
}

fn check_sack(packet: &Packet<'_>, expected: &[(u8, Vec<u8>)]) {
    let mask = expected.iter().find(|(id, _)| *id == 1).map(|(_, data)| data.as_slice());
    let Some(sack) = packet.extensions.sack() else {
        assert_eq!(mask, None);
        return;
    };
    assert_eq!(mask, Some(sack.as_bytes()));
    let ack = packet.header.ack;
    let mut received = Vec::new();
    let mut seq = ack.next();
    for byte in sack.as_bytes() {
        for bit in 0..8 {
            seq = seq.next();
            if (byte >> bit) & 1 == 1 {
                received.push(seq);
            }
        }
    }
    let found: Vec<SeqNr> = sack.received(ack).collect();
    assert_eq!(found, received);
    assert_eq!(sack.count() as usize, received.len());
    assert_eq!(sack.highest(ack), received.last().copied());
    assert_eq!(sack.is_empty(), received.is_empty());
}
