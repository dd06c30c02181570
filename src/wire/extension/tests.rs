//! Chains as peers send them, as nobody should, and as we build them.
#![expect(clippy::unwrap_used, reason = "a test stops where its chain does not decode")]

use super::*;

/// A chain on the wire: for each extension the next id, the length, the data.
fn wire(chain: &[(u8, &[u8])]) -> (u8, Vec<u8>) {
    let ids = chain.iter().map(|(id, _)| *id).chain([0]);
    let mut bytes = Vec::new();
    for ((_, data), next) in chain.iter().zip(ids.skip(1)) {
        bytes.extend([next, u8::try_from(data.len()).unwrap()]);
        bytes.extend(*data);
    }
    (chain.first().map_or(0, |(id, _)| *id), bytes)
}

/// Reads the chain with a payload behind it, checks that all came through, and hands it to `look`.
fn reads(chain: &[(u8, &[u8])], look: impl FnOnce(Extensions<'_>)) {
    let (first, mut bytes) = wire(chain);
    let len = bytes.len();
    bytes.extend(b"payload");
    let (extensions, payload) = Extensions::split(first, &bytes).unwrap();
    assert_eq!(payload, b"payload");
    assert_eq!((extensions.first_id(), extensions.as_bytes()), (first, &bytes[..len]));
    assert_eq!(extensions.encoded_len(), len);
    assert_eq!(extensions.is_empty(), chain.is_empty());
    let found: Vec<_> = extensions.iter().map(|extension| (extension.id, extension.data)).collect();
    assert_eq!(found, chain);
    look(extensions);
}

#[test]
fn a02_no_extension() {
    reads(&[], |found| {
        assert_eq!(found, Extensions::EMPTY);
        assert_eq!((found.sack(), found.bits(), found.close_reason(), found.own()), (None, None, None, None));
    });
}

#[test]
fn a02_a_sack_may_have_any_length() {
    for len in 0..=255 {
        let mask = vec![0x81; len];
        reads(&[(1, &mask)], |found| assert_eq!(found.sack(), Some(Sack::new(&mask))));
    }
}

#[test]
fn a02_the_first_of_several_sacks_counts() {
    reads(&[(9, b"?"), (1, &[1, 0, 0, 0]), (1, &[2, 0, 0, 0])], |found| {
        assert_eq!(found.sack(), Some(Sack::new(&[1, 0, 0, 0])));
    });
}

#[test]
fn a02_extension_bits_are_eight_bytes_or_nothing() {
    for len in 0..=255 {
        let data = vec![0xA5; len];
        reads(&[(2, &data)], |found| assert_eq!(found.bits(), (len == 8).then_some([0xA5; 8])));
    }
    reads(&[(2, &[1; 4]), (2, &[2; 8])], |found| assert_eq!(found.bits(), Some([2; 8])));
}

#[test]
fn a02_a_close_reason_is_four_bytes_or_nothing() {
    for len in 0..=255 {
        let mut data = vec![0xEE; len];
        if len == 4 {
            data[2..].copy_from_slice(&[1, 2]);
        }
        reads(&[(3, &data)], |found| assert_eq!(found.close_reason(), (len == 4).then_some(0x0102)));
    }
    reads(&[(3, &[]), (3, &[0, 0, 0, 10])], |found| assert_eq!(found.close_reason(), Some(10)));
}

#[test]
fn a02_known_extensions_are_found_in_any_order() {
    let all: [(u8, &[u8]); 4] =
        [(1, &[4, 0, 0, 0]), (2, &[7; 8]), (3, &[0, 0, 0, 1]), (Extension::EBBTIDE, b"own")];
    for turn in 0..4 {
        let mut chain = all;
        chain.rotate_left(turn);
        for chain in [chain, {
            chain.reverse();
            chain
        }] {
            reads(&chain, |found| {
                assert_eq!(found.sack(), Some(Sack::new(&[4, 0, 0, 0])));
                assert_eq!(found.bits(), Some([7; 8]));
                assert_eq!(found.close_reason(), Some(1));
                assert_eq!(found.own(), Some(&b"own"[..]));
            });
        }
    }
}

#[test]
fn a02_unknown_ids_are_skipped_first_between_and_last() {
    let (sack, unknown): (&[u8], &[u8]) = (&[1, 0, 0, 0], b"whatever");
    for id in 4..=255 {
        reads(&[(id, unknown), (1, sack)], |found| assert!(found.sack().is_some()));
        reads(&[(1, sack), (id, unknown), (3, &[0; 4])], |found| assert_eq!(found.close_reason(), Some(0)));
        reads(&[(1, sack), (id, unknown)], |found| assert!(found.sack().is_some()));
    }
}

#[test]
fn a02_extensions_without_data_chain() {
    reads(&[(1, &[]), (2, &[]), (3, &[]), (Extension::EBBTIDE, &[]), (200, &[])], |found| {
        assert_eq!(found.sack(), Some(Sack::new(&[])));
        assert_eq!((found.bits(), found.close_reason(), found.own()), (None, None, Some(&[][..])));
    });
}

#[test]
fn a02_a_chain_of_one_id_fills_the_largest_datagram() {
    let padding = [1; 255];
    let lens: &[usize] = if cfg!(miri) { &[1_472] } else { &[1_472, 9_000, 65_507] };
    for len in lens {
        let room = len - crate::wire::HEADER_LEN - b"payload".len();
        let whole = room / 257;
        let mut chain = vec![(99, &padding[..]); whole];
        chain.insert(0, (1, &[0; 4]));
        chain.pop();
        reads(&chain, |found| assert_eq!(found.iter().count(), whole));
    }
    let links = if cfg!(miri) { 70 } else { 32_740 };
    let tiny = vec![(1, &[][..]); links];
    reads(&tiny, |found| assert_eq!(found.iter().count(), links));
}

#[test]
fn a02_a_chain_cut_anywhere_is_truncated() {
    let (first, bytes) = wire(&[(1, &[1, 0, 0, 0]), (77, &[]), (3, &[0; 4]), (200, &[9; 255])]);
    for len in (0..bytes.len()).step_by(if cfg!(miri) { 7 } else { 1 }) {
        let cut = Extensions::split(first, &bytes[..len]);
        assert_eq!(cut, Err(DecodeError::Truncated), "{len} bytes of {}", bytes.len());
    }
    assert!(Extensions::split(first, &bytes).is_ok());
}

#[test]
fn a02_a_chain_that_never_ends_is_truncated() {
    const LINKS: usize = if cfg!(miri) { 100 } else { 32_743 };
    let endless = [1; 2 * LINKS + 1];
    assert_eq!(Extensions::split(1, &endless), Err(DecodeError::Truncated));
    let endless = [[7, 0]; LINKS];
    assert_eq!(Extensions::split(7, endless.as_flattened()), Err(DecodeError::Truncated));
}

#[test]
fn a02_a_built_chain_reads_back_the_same() {
    let mut buf = ExtensionsBuf::new();
    assert_eq!(buf.as_extensions(), Extensions::EMPTY);
    buf.push(1, &[1, 2, 3, 4]).unwrap();
    buf.push(3, &[0, 0, 1, 2]).unwrap();
    buf.push(Extension::EBBTIDE, &[]).unwrap();
    buf.push(99, &[0; 255]).unwrap();
    buf.push(1, &[8; 8]).unwrap();
    let built = buf.as_extensions();
    assert_eq!(Extensions::split(1, built.as_bytes()), Ok((built, &[][..])));
    assert_eq!(built.encoded_len(), buf.encoded_len());
    assert_eq!(built.sack(), Some(Sack::new(&[1, 2, 3, 4])));

    buf.clear();
    assert!(buf.is_empty());
    assert_eq!(buf.as_extensions(), Extensions::EMPTY);
    buf.push(2, &[5; 8]).unwrap();
    assert_eq!(buf.as_extensions().as_bytes(), [0, 8, 5, 5, 5, 5, 5, 5, 5, 5]);
}

#[test]
fn a02_what_libutp_drops_is_not_built() {
    let mut buf = ExtensionsBuf::new();
    for id in 3..=255 {
        assert_eq!(buf.push(id, &[0; 4]), Err(EncodeError::FirstId), "id {id} first");
    }
    for len in (0..=255).filter(|len| *len != 8) {
        assert_eq!(buf.push(2, &vec![0; len]), Err(EncodeError::BitsLength), "bits of {len} bytes");
    }
    for len in (0..=255).filter(|len| *len == 0 || len % 4 != 0) {
        assert_eq!(buf.push(1, &vec![0; len]), Err(EncodeError::SackLength), "SACK of {len} bytes");
    }
    assert_eq!(buf.push(0, &[]), Err(EncodeError::EndOfChain));
    assert_eq!(buf.push(1, &[0; 256]), Err(EncodeError::TooLong));
    assert!(buf.is_empty(), "a refusal leaves the chain alone");
}

#[test]
fn a02_bad_lengths_are_refused_later_in_the_chain_too() {
    let mut buf = ExtensionsBuf::new();
    buf.push(2, &[1; 8]).unwrap();
    let before = buf.as_extensions().as_bytes().to_vec();
    assert_eq!(buf.push(2, &[0; 4]), Err(EncodeError::BitsLength));
    assert_eq!(buf.push(1, &[0; 3]), Err(EncodeError::SackLength));
    assert_eq!(buf.push(0, &[]), Err(EncodeError::EndOfChain));
    assert_eq!(buf.push(9, &[0; 256]), Err(EncodeError::TooLong));
    assert_eq!(buf.as_extensions().as_bytes(), before);
}

#[test]
fn a02_a_chain_longer_than_a_datagram_is_refused() {
    let mut buf = ExtensionsBuf::new();
    buf.push(1, &[0; 4]).unwrap();
    while buf.push(99, &[0; 255]).is_ok() {}
    assert_eq!(buf.push(99, &[0; 255]), Err(EncodeError::TooLong));
    assert!(buf.encoded_len() <= CHAIN_MAX && buf.encoded_len() + 257 > CHAIN_MAX);
}
