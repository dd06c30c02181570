//! Hand-made packets and garbage.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::super::hex;
use super::*;

fn read(text: &str) -> (Verdict, String) {
    let mut out = String::new();
    let verdict = dissect(&hex::parse(text).unwrap(), None, &mut out).unwrap();
    (verdict, out)
}

const HEADER: &str = "0000 3039 00000064 00000007 00100000 fffa 0001";

fn with(first: &str, rest: &str) -> String {
    format!("{first}{}{rest}", &HEADER[4..])
}

#[test]
fn every_header_field_is_shown() {
    let (verdict, text) = read(&with("0100", "aabbcc"));
    assert_eq!(verdict, Verdict::Utp);
    let expected =
        "ST_DATA conn 12345 seq 65530 ack 1 window 1048576 sent 100 us delay 7 us payload 3\n".to_owned();
    assert_eq!(text, expected);
}

#[test]
fn delays_that_mean_none_say_so() {
    let (_, text) = read("4100 0001 00000001 00000000 00000000 0001 0000");
    assert_eq!(text, "ST_SYN conn 1 seq 1 ack 0 window 0 sent 1 us delay none payload 0\n");
}

#[test]
fn selective_acks_are_ranges_across_the_wrap() {
    // ack 65,532: bit 0 is 65,534. Bits 0, 1, 2 and 4: 65,534 to 0, and 2.
    let (verdict, text) =
        read("2101 0001 00000001 00000001 00000000 0001 fffc 00 04 17000000".replace(' ', "").as_str());
    assert_eq!(verdict, Verdict::Utp);
    assert!(text.ends_with("payload 0\n    selective ack, 4 bytes: received 65534-0, 2\n"), "{text}");
    let (_, text) = read(&with("2101", "0000"));
    assert!(text.ends_with("selective ack, 0 bytes: nothing received\n"), "{text}");
}

#[test]
fn known_and_unknown_extensions_are_named() {
    let (_, text) = read(&with("1102", "0308 0000000000100000 b504 00000005 6302 beef 0001 ff"));
    let lines: Vec<&str> = text.lines().skip(1).map(str::trim).collect();
    assert_eq!(
        lines,
        [
            "extension bits: 00 00 00 00 00 10 00 00",
            "close reason: 5 (address blocked)",
            "ebbtide, 2 bytes: be ef",
            "unknown extension, id 99, 1 bytes: ff",
        ]
    );
    let (_, text) = read(&with("1103", "0002 0005"));
    assert!(text.ends_with("close reason of an odd length, id 3, 2 bytes: 00 05\n"), "{text}");
}

#[test]
fn what_is_not_utp_is_told_from_what_is_broken() {
    assert_eq!(read("64313a").0, Verdict::NotUtp);
    let (verdict, text) = read(&with("0101", "00"));
    assert_eq!(verdict, Verdict::Malformed);
    assert_eq!(text, "malformed uTP: the extensions run past the end of the datagram (21 bytes)\n");
}

#[test]
fn a_cut_capture_is_not_called_malformed() {
    let mut out = String::new();
    let bytes = hex::parse(&with("0101", "0004 00")).unwrap();
    assert_eq!(dissect(&bytes, Some(1420), &mut out), Ok(Verdict::Utp));
    assert_eq!(out, "uTP, cut within the extensions\n    only 23 of 1420 bytes were captured\n");
}

#[test]
fn garbage_is_dissected_without_panic() {
    let mut state = 0x9E37_79B9_u32;
    for round in 0..20_000_usize {
        let mut bytes: Vec<u8> = (0..round % 97)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state.to_be_bytes()[0]
            })
            .collect();
        if let Some(first) = bytes.first_mut() {
            *first = (*first % 6) << 4 | 1;
        }
        let mut out = String::new();
        dissect(&bytes, None, &mut out).unwrap();
        assert!(out.ends_with('\n'));
    }
}
