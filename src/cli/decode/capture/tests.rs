//! Captures made here, in each format, whole and damaged.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

const SYN: &[u8] = &[0x41, 0, 0x30, 0x39, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0];

fn ipv4(payload: &[u8]) -> Vec<u8> {
    let len = u8::try_from(28 + payload.len()).unwrap();
    let mut packet = vec![0x45, 0, 0, len, 0, 1, 0x40, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1];
    packet.extend([0x0F, 0xA0, 0x1A, 0xE1, 0, len - 20, 0, 0]);
    packet.extend_from_slice(payload);
    packet
}

fn pcap(frames: &[Vec<u8>], big_endian: bool) -> Vec<u8> {
    let word = |value: u32| if big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
    let mut out = word(0xA1B2_C3D4).to_vec();
    out.extend(if big_endian { [0, 2, 0, 4] } else { [2, 0, 4, 0] });
    for value in [0, 0, 65_535, 101] {
        out.extend(word(value));
    }
    for (index, frame) in (0_u32..).zip(frames) {
        let len = u32::try_from(frame.len()).unwrap();
        for value in [1_700_000_000 + index, 250, len, len] {
            out.extend(word(value));
        }
        out.extend(frame);
    }
    out
}

fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len().next_multiple_of(4) + 12).unwrap().to_le_bytes();
    let mut out = [&kind.to_le_bytes()[..], &len, body].concat();
    out.resize(out.len().next_multiple_of(4), 0);
    out.extend(len);
    out
}

fn pcapng(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut out =
        block(0x0A0D_0D0A, &[0x4D, 0x3C, 0x2B, 0x1A, 1, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255]);
    // Raw IP, and nanoseconds as option 9.
    out.extend(block(1, &[101, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0]));
    for (index, frame) in (0_u32..).zip(frames) {
        let len = u32::try_from(frame.len()).unwrap();
        let head = [0, 0, index * 1_500_000, len, len];
        let mut body: Vec<u8> = head.iter().flat_map(|value| value.to_le_bytes()).collect();
        body.extend(frame);
        out.extend(block(6, &body));
    }
    out
}

fn decoded(bytes: &[u8]) -> (String, bool) {
    let mut printer = Printer::new(Vec::new());
    let outcome = decode(bytes, &mut printer);
    printer.flush().unwrap();
    (String::from_utf8(printer.out.into_inner().unwrap()).unwrap(), outcome.is_ok())
}

const SYN_TEXT: &str = "ST_SYN conn 12345 seq 1 ack 0 window 0 sent 1 us delay none payload 0";

#[test]
fn both_byte_orders_of_pcap_are_read() {
    for big_endian in [false, true] {
        let file = pcap(&[ipv4(SYN), ipv4(b"d1:x")], big_endian);
        assert!(is_capture(&file));
        let expected = format!(
            "1 0.000000 127.0.0.1:4000 > 127.0.0.1:6881 {SYN_TEXT}\n\
             2 1.000000 127.0.0.1:4000 > 127.0.0.1:6881 not uTP: 4 bytes are less than a header of 20 (4 bytes)\n"
        );
        assert_eq!(decoded(&file), (expected, true), "big endian: {big_endian}");
    }
}

#[test]
fn pcapng_is_read_with_its_resolution() {
    let file = pcapng(&[ipv4(SYN), ipv4(SYN)]);
    assert!(is_capture(&file));
    let expected = format!(
        "1 0.000000 127.0.0.1:4000 > 127.0.0.1:6881 {SYN_TEXT}\n\
         2 0.001500 127.0.0.1:4000 > 127.0.0.1:6881 {SYN_TEXT}\n"
    );
    assert_eq!(decoded(&file), (expected, true));
}

#[test]
fn frames_without_udp_are_counted() {
    let mut tcp = ipv4(SYN);
    tcp[9] = 6;
    let mut printer = Printer::new(Vec::new());
    assert!(decode(&pcap(&[tcp, ipv4(SYN)], false)[..], &mut printer).is_ok());
    assert_eq!((printer.not_udp, printer.utp), (1, 1));
}

#[test]
fn a_frame_larger_than_the_buffer_is_read() {
    let mut large = ipv4(SYN);
    large.resize(3 * BUFFER, 0);
    assert_eq!(decoded(&pcap(&[large, ipv4(SYN)], false)).0.lines().count(), 2);
}

#[test]
fn a_capture_that_breaks_off_shows_what_it_has_and_fails() {
    for file in [pcap(&[ipv4(SYN), ipv4(SYN)], false), pcapng(&[ipv4(SYN), ipv4(SYN)])] {
        let (text, whole) = decoded(&file[..file.len() - 7]);
        assert_eq!(text.lines().count(), 1);
        assert!(!whole);
    }
}

#[test]
fn damaged_captures_do_not_panic() {
    for file in [pcap(&[ipv4(SYN)], false), pcap(&[ipv4(SYN)], true), pcapng(&[ipv4(SYN)])] {
        for at in 0..file.len() {
            for value in [0, 1, 0x7F, 0x80, 0xFF] {
                let mut bent = file.clone();
                bent[at] = value;
                decoded(&bent);
            }
            decoded(&file[..at]);
        }
    }
}

#[test]
fn resolutions_are_powers_of_ten_or_two() {
    assert_eq!(resolution(6), 1_000_000);
    assert_eq!(resolution(0x80 | 10), 1024);
    assert_eq!(resolution(127), u64::MAX);
}
