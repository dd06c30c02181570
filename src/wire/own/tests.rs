//! Blocks as we write them, byte for byte, and as nobody should.
#![expect(clippy::unwrap_used, reason = "a test stops where its block does not decode")]

use super::*;
use crate::wire::{Extension, ExtensionsBuf, Mark, MarkFlags, Packet, Tag};

fn written(own: &Own<'_>, pad_to: usize) -> Vec<u8> {
    let mut out = Vec::new();
    own.encode(pad_to, &mut out).unwrap();
    assert_eq!(out.len(), own.encoded_len(pad_to));
    assert_eq!(Own::decode(&out), Ok(*own));
    out
}

fn full() -> Own<'static> {
    Own {
        token: Some(Token::new(1)),
        txn: Some(Txn::new(2)),
        txn_echo: Some(Txn::new(3)),
        observed: Some("[2001:db8::7]:9".parse().unwrap()),
        tie_break: Some(5),
        path_token: Some(PathToken::new(6)),
        path_challenge: Some(7),
        path_response: Some(8),
        close_reason: Some(OwnReason::new(9, "because")),
        service: Some(Service::new("chat/1").unwrap()),
        session: Some(Session::new([11; 16])),
        messages: Some([1, 2, 3, 4]),
    }
}

#[test]
fn n21_a_probe_is_44_bytes_of_token_question_and_padding() {
    let own = Own { token: Some(Token::new(0x0102)), txn: Some(Txn::new(u64::MAX)), ..Own::default() };
    let mut golden = vec![1, 8, 0, 0, 0, 0, 0, 0, 1, 2, 2, 8];
    golden.extend([0xFF; 8]);
    golden.extend([0; 24]);
    assert_eq!(written(&own, 44), golden);
}

#[test]
fn n21_an_observed_address_is_masked() {
    let own = Own { observed: Some("192.0.2.1:32853".parse().unwrap()), ..Own::default() };
    // The example of RFC 5769 §2.2.
    let golden = [4, 8, 1, 0, 0xA1, 0x47, 0xE1, 0x12, 0xA6, 0x43, 0, 0];
    assert_eq!(written(&own, 0), golden);
    let echo = Some(Txn::new(0x1111_1111_2222_2222));
    let own = Own { observed: Some("[2001:db8::]:0".parse().unwrap()), txn_echo: echo, ..Own::default() };
    let golden = [
        3, 8, 0x11, 0x11, 0x11, 0x11, 0x22, 0x22, 0x22, 0x22, 4, 20, 2, 0, 0x21, 0x12, 1, 0x13, 0xA9, 0xFA,
        0x11, 0x11, 0x11, 0x11, 0x22, 0x22, 0x22, 0x22, 0x21, 0x12, 0xA4, 0x42,
    ];
    assert_eq!(written(&own, 0), golden);
}

#[test]
fn n21_reasons_services_and_sessions_are_written_as_they_are() {
    let own = Own { close_reason: Some(OwnReason::new(0x0203, "é")), ..Own::default() };
    assert_eq!(written(&own, 0), [9, 4, 2, 3, 0xC3, 0xA9, 0, 0]);
    let own = Own { service: Some("ssh".parse().unwrap()), ..Own::default() };
    assert_eq!(written(&own, 0), [10, 3, b's', b's', b'h', 0, 0, 0]);
    let own = Own { session: Some(Session::new([7; 16])), ..Own::default() };
    assert_eq!(written(&own, 0), [&[11, 16][..], &[7; 16], &[0; 2]].concat());
    assert_eq!(written(&Own::default(), 0), [0; 4], "rust-utp wants no empty extension");
}

#[test]
fn n21_everything_at_once_fits_and_survives_in_a_packet() {
    let mark = Mark { flags: MarkFlags::MORE, tag: Tag::new(77) };
    let mut chain = ExtensionsBuf::new();
    chain.push(Extension::BITS, &mark.encode()).unwrap();
    chain.push(Extension::SACK, &[1, 0, 0, 0]).unwrap();
    chain.push(Extension::EBBTIDE, &written(&full(), 0)).unwrap();
    let mut datagram = vec![0x21, chain.as_extensions().first_id()];
    datagram.resize(20, 0);
    datagram.extend(chain.as_extensions().as_bytes());
    let extensions = Packet::decode(&datagram).unwrap().extensions;
    assert_eq!(extensions.mark(), Some(mark));
    assert_eq!(extensions.own_block(), Ok(Some(full())));
    assert_eq!(extensions.first_id(), 2, "libutp takes nothing else from 3 on for uTP");
}

#[test]
fn n21_each_byte_cut_off_is_noticed_or_was_padding() {
    let block = written(&full(), 252);
    assert_eq!(block.len(), 252);
    for len in 0..block.len() {
        match Own::decode(&block[..len]) {
            Ok(own) if len >= full().fields_len() => assert_eq!(own, full()),
            Ok(own) => assert_ne!(own, full()),
            Err(error) => assert_eq!(error, OwnError::Truncated),
        }
    }
    assert_eq!(Own::decode(&[1]), Err(OwnError::Truncated));
    assert_eq!(Own::decode(&[1, 1]), Err(OwnError::Truncated));
}

#[test]
fn n21_unknown_fields_are_skipped_below_0x80_and_refused_above() {
    let token = Own { token: Some(Token::new(0)), ..Own::default() };
    for kind in 12..0x80 {
        assert_eq!(Own::decode(&[&[kind, 1, 9][..], &[1, 8], &[0; 8]].concat()), Ok(token));
    }
    for kind in 0x80..=0xFF {
        assert_eq!(Own::decode(&[&[1, 8][..], &[0; 8], &[kind, 0]].concat()), Err(OwnError::Unknown(kind)));
    }
}

#[test]
fn n21_the_first_of_two_fields_counts_and_impossible_ones_do_not() {
    let two = [&[1, 8][..], &[1; 8], &[1, 8], &[2; 8]].concat();
    assert_eq!(Own::decode(&two).unwrap().token, Some(Token::new(0x0101_0101_0101_0101)));
    let short_first = [&[1, 7][..], &[1; 7], &[1, 8], &[2; 8]].concat();
    assert_eq!(Own::decode(&short_first).unwrap().token, Some(Token::new(0x0202_0202_0202_0202)));
    for odd in [&[10, 0][..], &[9, 1, 7], &[4, 8, 2, 0, 1, 1, 1, 1, 1, 1], &[4, 2, 1, 0], &[11, 1, 1]] {
        assert_eq!(Own::decode(odd), Ok(Own::default()), "{odd:?}");
    }
    assert_eq!(Own::decode(&[9, 3, 0, 1, 0xFF]).unwrap().close_reason, Some(OwnReason::new(1, "")));
}

#[test]
fn n21_what_does_not_fit_is_refused_and_texts_are_cut() {
    let long = "ü".repeat(33);
    assert_eq!(OwnReason::new(1, &long).text().len(), 64);
    assert_eq!(OwnReason::new(1, &format!("a{long}")).text().len(), 63);
    let mut out = Vec::new();
    assert_eq!(full().encode(253, &mut out), Err(EncodeError::TooLong));
    assert!(out.is_empty());
    assert_eq!(Service::new(""), Err(InvalidService { len: 0 }));
    assert_eq!(
        Service::new([1; 33]).unwrap_err().to_string(),
        "a service has a name of 1 to 32 bytes, not 33"
    );
    assert!(Service::new([0xFF; 32]).is_ok());
}

#[test]
fn the_longest_block_of_all_fits() {
    let text = "x".repeat(64);
    let own = Own {
        close_reason: Some(OwnReason::new(1, &text)),
        service: Some(Service::new([b's'; 32]).unwrap()),
        ..full()
    };
    assert!(own.fields_len() <= Own::LEN_MAX, "{}", own.fields_len());
    written(&own, 0);
}
