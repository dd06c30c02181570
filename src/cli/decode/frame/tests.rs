//! Frames built by hand, one per kind of link.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

const PAYLOAD: &[u8] = b"payload";

fn udp_packet() -> Vec<u8> {
    let mut packet = vec![0x0F, 0xA0, 0x1A, 0xE1, 0, 15, 0, 0];
    packet.extend_from_slice(PAYLOAD);
    packet
}

fn ipv4_packet() -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 35, 0, 1, 0x40, 0, 64, UDP, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    packet.extend(udp_packet());
    packet
}

fn ipv6_packet() -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 23, HOP_BY_HOP, 64];
    packet.extend(Ipv6Addr::LOCALHOST.octets());
    packet.extend(Ipv6Addr::LOCALHOST.octets());
    packet.extend([FRAGMENT, 0, 1, 4, 0, 0, 0, 0]);
    packet.extend([UDP, 0, 0, 1, 0, 0, 0, 9]);
    packet.extend(udp_packet());
    packet
}

fn framed(link_header: &[u8], packet: &[u8]) -> Vec<u8> {
    [link_header, packet].concat()
}

#[test]
fn each_link_layer_leads_to_the_datagram() {
    let ethernet = framed(&[&[0; 12][..], &[0x81, 0, 0, 5, 8, 0]].concat(), &ipv4_packet());
    let cooked = framed(&[&[0; 14][..], &[8, 0]].concat(), &ipv4_packet());
    let cooked2 = framed(&[&[8, 0][..], &[0; 18]].concat(), &ipv4_packet());
    let frames = [
        (Linktype::ETHERNET, ethernet),
        (Linktype::LINUX_SLL, cooked),
        (Linktype::LINUX_SLL2, cooked2),
        (Linktype::NULL, framed(&[2, 0, 0, 0], &ipv4_packet())),
        (Linktype::LOOP, framed(&[0, 0, 0, 2], &ipv4_packet())),
        (Linktype::RAW, ipv4_packet()),
        (Linktype::IPV4, ipv4_packet()),
    ];
    for (link, frame) in frames {
        assert!(is_known(link));
        let found = datagram(link, &frame).unwrap();
        assert_eq!(found.from, "10.0.0.1:4000".parse().unwrap(), "{link:?}");
        assert_eq!(found.to, "10.0.0.2:6881".parse().unwrap(), "{link:?}");
        assert_eq!((found.payload, found.cut), (PAYLOAD, None), "{link:?}");
    }
}

#[test]
fn ipv6_extension_headers_are_stepped_over() {
    let packet = ipv6_packet();
    let found = datagram(Linktype::IPV6, &packet).unwrap();
    assert_eq!(found.from, "[::1]:4000".parse().unwrap());
    assert_eq!(found.payload, PAYLOAD);
}

#[test]
fn a_short_capture_says_how_long_the_datagram_was() {
    let mut packet = ipv4_packet();
    packet.truncate(30);
    let found = datagram(Linktype::RAW, &packet).unwrap();
    assert_eq!((found.payload, found.cut), (&PAYLOAD[..2], Some(7)));
}

#[test]
fn padding_of_the_link_is_not_payload() {
    let mut packet = ipv4_packet();
    packet.extend([0; 9]);
    assert_eq!(datagram(Linktype::RAW, &packet).unwrap().payload, PAYLOAD);
}

#[test]
fn whatever_is_not_udp_is_left_alone() {
    let mut tcp = ipv4_packet();
    tcp[9] = 6;
    assert_eq!(datagram(Linktype::RAW, &tcp), None);
    let mut later = ipv4_packet();
    later[7] = 9;
    assert_eq!(datagram(Linktype::RAW, &later), None);
    assert!(!is_known(Linktype::NFLOG));
    assert_eq!(datagram(Linktype::NFLOG, &ipv4_packet()), None);
}

#[test]
fn frames_cut_or_bent_anywhere_do_not_panic() {
    let ethernet = framed(&[&[0; 12][..], &[0x86, 0xDD]].concat(), &ipv6_packet());
    for link in (0..300).map(Linktype) {
        for len in 0..=ethernet.len() {
            datagram(link, &ethernet[..len]);
        }
        for at in 0..ethernet.len() {
            for value in [0, 1, 0x45, 0x4F, 0x60, 0xFF] {
                let mut bent = ethernet.clone();
                bent[at] = value;
                datagram(link, &bent);
                datagram(link, &bent[14..]);
            }
        }
    }
}
