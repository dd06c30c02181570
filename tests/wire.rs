//! Packets nobody has thought of: random bytes, nearly right packets.
//!
//! What a decoded packet must be is said in `reference`; here is only where the packets come from.
#![expect(clippy::unwrap_used, reason = "a test stops where something does not work")]

mod reference;

use ebbtide::wire::{
    ConnId, Delay, EncodeError, Extensions, ExtensionsBuf, Header, Kind, Mark, Own, Packet, Sack, SackBits,
    SeqNr, Timestamp,
};
use proptest::collection::vec;
use proptest::prelude::*;

fn any_header() -> impl Strategy<Value = Header> {
    let numbers = any::<(u16, u32, u32, u32, u16, u16)>();
    (prop::sample::select(&Kind::ALL[..]), numbers).prop_map(|(kind, numbers)| Header {
        kind,
        conn_id: ConnId::new(numbers.0),
        sent_at: Timestamp::new(numbers.1),
        delay: Delay::new(numbers.2),
        window: numbers.3,
        seq: SeqNr::new(numbers.4),
        ack: SeqNr::new(numbers.5),
    })
}

/// An id, known ones more often than others, and data, often of a length that means something or lies next to it.
fn any_extension() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let id = prop_oneof![Just(1_u8), Just(2), Just(3), Just(0xB5), 1..=255_u8];
    let len = prop_oneof![prop::sample::select(vec![0_usize, 1, 3, 4, 5, 7, 8, 9, 252, 255]), 0..=255_usize];
    (id, len.prop_flat_map(|len| vec(any::<u8>(), len)))
}

/// A packet with a whole chain of extensions, as bytes.
fn any_datagram() -> impl Strategy<Value = Vec<u8>> {
    (any_header(), vec(any_extension(), 0..8), vec(any::<u8>(), 0..64)).prop_map(
        |(header, chain, payload)| {
            let mut fixed = [0; 20];
            header.write(chain.first().map_or(0, |(id, _)| *id), &mut fixed);
            let mut datagram = fixed.to_vec();
            for (index, (_, data)) in chain.iter().enumerate() {
                datagram.push(chain.get(index + 1).map_or(0, |(id, _)| *id));
                datagram.push(u8::try_from(data.len()).unwrap());
                datagram.extend(data);
            }
            datagram.extend(payload);
            datagram
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a05_random_bytes_are_read_as_the_slow_reader_reads_them(
        bytes in vec(any::<u8>(), 0..600),
        first in prop::option::of(prop::sample::select(vec![0x01_u8, 0x11, 0x21, 0x31, 0x41])),
    ) {
        let mut datagram = bytes;
        if let (Some(first), Some(byte)) = (first, datagram.first_mut()) {
            *byte = first;
        }
        reference::check(&datagram);
    }

    #[test]
    fn a05_packets_cut_anywhere_or_with_one_wrong_byte_are_read_as_the_slow_reader_reads_them(
        datagram in any_datagram(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        reference::check(&datagram);
        let at = at.index(datagram.len());
        reference::check(&datagram[..at]);
        let mut wrong = datagram;
        wrong[at] = byte;
        reference::check(&wrong);
    }

    #[test]
    fn a01_any_header_and_payload_survive_the_wire(header in any_header(), payload in vec(any::<u8>(), 0..1_500)) {
        let packet = Packet { header, extensions: Extensions::EMPTY, payload: &payload };
        let mut datagram = Vec::new();
        packet.encode(&mut datagram);
        prop_assert_eq!(Packet::decode(&datagram), Ok(packet));
    }

    #[test]
    fn a02_a_built_chain_holds_what_is_welcome_and_reads_back(
        wanted in vec((0..=255_u8, vec(any::<u8>(), 0..300)).boxed().prop_union(any_extension().boxed()), 0..8),
    ) {
        let mut buf = ExtensionsBuf::new();
        let mut taken = Vec::new();
        for (id, data) in &wanted {
            let welcome = reference::is_welcome(taken.is_empty(), *id, data.len());
            prop_assert_eq!(buf.push(*id, data).is_ok(), welcome, "id {} with {} bytes", id, data.len());
            if welcome {
                taken.push((*id, data.as_slice()));
            }
        }
        let header = Header {
            kind: Kind::State,
            conn_id: ConnId::new(0),
            sent_at: Timestamp::new(0),
            delay: Delay::NONE,
            window: 0,
            seq: SeqNr::new(65_535),
            ack: SeqNr::new(65_534),
        };
        let packet = Packet { header, extensions: buf.as_extensions(), payload: b"payload" };
        let mut datagram = Vec::new();
        packet.encode(&mut datagram);
        prop_assert_eq!(Packet::decode(&datagram), Ok(packet));
        let found: Vec<_> = packet.extensions.iter().map(|it| (it.id, it.data)).collect();
        prop_assert_eq!(found, taken);
    }

    #[test]
    fn a03_a_built_mask_reports_what_was_set(ack in any::<u16>(), indices in vec(0..2_100_usize, 0..200)) {
        let mut bits = SackBits::new();
        for &index in &indices {
            bits.set(index);
        }
        let expected: std::collections::BTreeSet<usize> =
            indices.into_iter().filter(|index| *index < 2_016).collect();
        let ack = SeqNr::new(ack);
        let found: Vec<SeqNr> = Sack::new(bits.as_bytes()).received(ack).collect();
        let expected: Vec<SeqNr> = expected.iter().map(|index| ack + 2 + u16::try_from(*index).unwrap()).collect();
        prop_assert_eq!(found, expected);
        prop_assert!(bits.as_bytes().len().is_multiple_of(4));
    }
}

/// Fields that are more or less right, with padding between them.
fn any_own_block() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![0..=13_u8, 0..=13_u8, any::<u8>()];
    let len = prop_oneof![prop::sample::select(vec![0_usize, 2, 7, 8, 9, 16, 20, 32, 66]), 0..70_usize];
    let field = (kind, len.prop_flat_map(|len| vec(any::<u8>(), len)));
    (vec(field, 0..10), prop::option::of(0..40_usize)).prop_map(|(fields, cut)| {
        let mut block = Vec::new();
        for (kind, value) in fields {
            if kind != 0 {
                block.extend([kind, u8::try_from(value.len()).unwrap()]);
                block.extend(value);
            } else {
                block.push(0);
            }
        }
        block.truncate(block.len() - cut.unwrap_or(0).min(block.len()));
        block
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn n21_an_own_block_is_read_as_the_slow_reader_reads_it_and_written_again(
        block in any_own_block(),
        pad in 0..260_usize,
    ) {
        reference::own::check(&block);
        if let Ok(own) = Own::decode(&block) {
            let mut out = Vec::new();
            let fits = own.encoded_len(pad) <= Own::LEN_MAX;
            prop_assert_eq!(own.encode(pad, &mut out).is_ok(), fits);
            prop_assert!(!fits || Own::decode(&out) == Ok(own));
        }
    }

    #[test]
    fn n20_eight_bytes_are_a_mark_or_somebody_elses(bits in any::<[u8; 8]>(), ours in any::<bool>()) {
        let mut bits = bits;
        if ours {
            let begins = [0x55, 0x78, 0x10 | bits[2] & 0x0F];
            bits[..3].copy_from_slice(&begins);
        }
        let expected = bits[..2] == [0x55, 0x78] && bits[2] / 16 == 1;
        let mark = Mark::decode(bits);
        prop_assert_eq!(mark.is_some(), expected);
        if let Some(mark) = mark {
            bits[2] &= 0xF0;
            prop_assert_eq!(mark.encode(), bits);
        }
    }
}

#[test]
fn a02_refusals_to_build_say_why() {
    let mut buf = ExtensionsBuf::new();
    let refused = buf.push(3, &[0; 4]).unwrap_err();
    assert_eq!(refused, EncodeError::FirstId);
    assert!(refused.to_string().contains("libutp"));
}
