//! What a packet costs between datagram and connection: decoding, encoding, reading a mask.
//!
//! `cargo bench --no-default-features --bench wire`. Each case first asserts that it does the work it is timed for.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ebbtide::wire::{
    ConnId, Delay, Extensions, ExtensionsBuf, HEADER_LEN, Header, Kind, Packet, Sack, SackBits, SeqNr,
    Timestamp,
};

const ACK: SeqNr = SeqNr::new(65_530);
const PAYLOAD: [u8; 1_452] = [0xAB; 1_452];

fn header(kind: Kind) -> Header {
    Header {
        kind,
        conn_id: ConnId::new(65_535),
        sent_at: Timestamp::new(0xFFFF_FFF0),
        delay: Delay::new(12_345),
        window: 1_048_576,
        seq: SeqNr::new(65_533),
        ack: ACK,
    }
}

/// 32 bytes, every third packet received.
fn mask() -> SackBits {
    let mut bits = SackBits::new();
    for index in (0..256).step_by(3) {
        bits.set(index);
    }
    assert_eq!(bits.as_bytes().len(), 32);
    bits
}

fn encoded(packet: &Packet<'_>) -> Vec<u8> {
    let mut datagram = Vec::new();
    packet.encode(&mut datagram);
    assert_eq!(Packet::decode(&datagram).as_ref(), Ok(packet));
    datagram
}

fn decode(c: &mut Criterion) {
    let bits = mask();
    let mut padding = ExtensionsBuf::new();
    for (id, data) in [(1, &[0; 4][..]), (99, &[0; 255]), (99, &[0; 255]), (99, &[0; 255]), (99, &[0; 255])] {
        assert_eq!(padding.push(id, data), Ok(()));
    }
    let cases = [
        ("data", header(Kind::Data), Extensions::EMPTY, &PAYLOAD[..]),
        ("state", header(Kind::State), Extensions::EMPTY, &[]),
        ("state with sack", header(Kind::State), bits.as_extensions(), &[]),
        ("padded probe", header(Kind::Data), padding.as_extensions(), &PAYLOAD[..400]),
    ];
    let mut group = c.benchmark_group("wire/decode");
    for (name, header, extensions, payload) in cases {
        let packet = Packet { header, extensions, payload };
        let datagram = encoded(&packet);
        group.throughput(Throughput::Elements(1));
        group.bench_function(name, |b| b.iter(|| Packet::decode(black_box(&datagram))));
    }
    group.finish();
}

fn encode(c: &mut Criterion) {
    let bits = mask();
    let cases = [
        ("data", header(Kind::Data), Extensions::EMPTY, &PAYLOAD[..]),
        ("state", header(Kind::State), Extensions::EMPTY, &[]),
        ("state with sack", header(Kind::State), bits.as_extensions(), &[]),
    ];
    let mut group = c.benchmark_group("wire/encode");
    for (name, header, extensions, payload) in cases {
        let packet = Packet { header, extensions, payload };
        let expected = encoded(&packet);
        let mut out = vec![0; expected.len()];
        packet.encode(&mut out.as_mut_slice());
        assert_eq!(out, expected);
        group.throughput(Throughput::Bytes(expected.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| black_box(&packet).encode(&mut black_box(out.as_mut_slice())))
        });
    }
    group.throughput(Throughput::Bytes(HEADER_LEN as u64));
    group.bench_function("header alone", |b| {
        let mut out = [0; HEADER_LEN];
        b.iter(|| black_box(header(Kind::Data)).write(0, black_box(&mut out)));
        assert_eq!(Packet::decode(&out).map(|packet| packet.header), Ok(header(Kind::Data)));
    });
    group.finish();
}

fn sack(c: &mut Criterion) {
    let bits = mask();
    let mut far = SackBits::new();
    far.set(2_015);
    let cases = [("86 of 256 packets", bits.as_bytes(), 86), ("1 of 2016 packets", far.as_bytes(), 1)];
    let mut group = c.benchmark_group("wire/sack");
    for (name, mask, received) in cases {
        assert_eq!(Sack::new(mask).received(ACK).count(), received);
        group.throughput(Throughput::Elements(received as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                for seq in Sack::new(black_box(mask)).received(ACK) {
                    black_box(seq);
                }
            });
        });
    }
    group.throughput(Throughput::Elements(86));
    group.bench_function("build 86 of 256 packets", |b| {
        let mut bits = SackBits::new();
        b.iter(|| {
            bits.clear();
            (0..256).step_by(3).for_each(|index| bits.set(black_box(index)));
            black_box(bits.as_bytes().len())
        });
        assert_eq!(bits.as_bytes(), mask().as_bytes());
    });
    group.finish();
}

criterion_group!(benches, decode, encode, sack);
criterion_main!(benches);
