//! Packets of libutp and libtorrent, recorded from life: what we read in them, and that we write them alike.
//!
//! `tests/captures/NAME.pcap` is read, and what came out is compared with `NAME.txt`. `UPDATE_GOLDEN=1` rewrites the
//! texts; the difference is part of the review. New recordings: `EBBTIDE_RECORD=1 cargo test --test interop`.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod recorded;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use ebbtide::wire::{Extension, Kind, Packet};

use recorded::{captures, folder};

/// One line for the packet, one more for each extension.
fn dissect(port: u16, packet: &Packet<'_>) -> String {
    let header = packet.header;
    let mut text = format!(
        "{port} {} id {} seq {} ack {} window {} sent {} delay {} payload {}\n",
        header.kind,
        header.conn_id,
        header.seq,
        header.ack,
        header.window,
        header.sent_at.get(),
        header.delay.get(),
        packet.payload.len(),
    );
    for Extension { id, data } in packet.extensions.iter() {
        write!(text, "    extension {id}: {data:02x?}").unwrap();
        match (id, packet.extensions.sack(), packet.extensions.close_reason()) {
            (Extension::SACK, Some(sack), _) => {
                let received: Vec<_> = sack.received(header.ack).map(|seq| seq.to_string()).collect();
                write!(text, " received {}", received.join(" ")).unwrap();
            }
            (Extension::CLOSE_REASON, _, Some(reason)) => write!(text, " close reason {reason}").unwrap(),
            _ => {}
        }
        text.push('\n');
    }
    text
}

#[test]
fn a02_recorded_packets_mean_what_they_meant() {
    for (name, datagrams) in captures() {
        let text: String = datagrams
            .iter()
            .map(|(port, datagram)| dissect(*port, &Packet::decode(datagram).unwrap()))
            .collect();
        let path = folder().join(&name).with_extension("txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
            fs::write(path, text).unwrap();
        } else {
            let expected = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
            for (found, expected) in text.lines().zip(expected.lines()) {
                assert_eq!(found, expected, "{name}");
            }
            assert_eq!(text.lines().count(), expected.lines().count(), "{name}");
        }
    }
}

#[test]
fn a01_recorded_packets_are_written_as_they_were_read() {
    for (name, datagrams) in captures() {
        for (_, datagram) in datagrams {
            let packet = Packet::decode(&datagram).unwrap();
            let mut again = Vec::with_capacity(packet.encoded_len());
            packet.encode(&mut again);
            assert_eq!(again, datagram, "{name}: {packet:?}");
        }
    }
}

#[test]
fn the_recordings_show_every_kind_of_packet_of_both_peers() {
    let mut kinds: BTreeMap<String, Vec<Kind>> = BTreeMap::new();
    let mut extensions: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for (name, datagrams) in captures() {
        let peer = name.split('_').next().unwrap().to_owned();
        for (_, datagram) in datagrams {
            let packet = Packet::decode(&datagram).unwrap();
            kinds.entry(peer.clone()).or_default().push(packet.header.kind);
            extensions.entry(peer.clone()).or_default().extend(packet.extensions.iter().map(|each| each.id));
        }
    }
    for peer in ["libutp", "libtorrent"] {
        for kind in [Kind::Syn, Kind::State, Kind::Data, Kind::Fin] {
            assert!(kinds[peer].contains(&kind), "{peer} {kind}");
        }
        assert!(extensions[peer].contains(&Extension::SACK), "{peer}");
    }
    assert!(kinds["libutp"].contains(&Kind::Reset));
    assert!(extensions["libtorrent"].contains(&Extension::CLOSE_REASON));
}
