//! The peers among themselves, through a bad relay: proves the peer programs, and shows us what real packets look like.
//!
//! With `EBBTIDE_RECORD=1` the recordings become the golden files of `tests/captures`, which `tests/wire_captures.rs`
//! reads.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use ebbtide::wire::{ConnId, Delay, Header, Kind, Packet, SeqNr, Timestamp};

use crate::pattern;
use crate::pcap;
use crate::peer::{Need, Peer, is_installed};
use crate::relay::{Link, Recorded, Relay};

/// Bad enough that a few dozen packets show every kind of repair.
const BAD: Link = Link { loss: 0.08, duplicate: 0.03, reorder: 0.05, spared: 6, ..Link::CLEAN };
const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn libutp_understands_libutp_and_we_decode_it_all() {
    if !is_installed(Need::Libutp) {
        return;
    }
    let _turn = crate::TURN.lock().await;
    let mut listener = Peer::libutp(&["listen", "--send", "20000", "--close", "last"]).unwrap();
    let port = listener.wait_for("listening", LIMIT).await.unwrap().port;
    let relay = Relay::start(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), BAD, 7, 10_000).unwrap();
    let near = relay.addr().port().to_string();
    let mut connector = Peer::libutp(&["connect", &near, "--send", "60000", "--close", "first"]).unwrap();
    let theirs = connector.wait_for("done", LIMIT).await.unwrap();
    assert_eq!((theirs.received, theirs.sha256), (20_000, pattern::sha256(20_000)));
    let ours = listener.wait_for("done", LIMIT).await.unwrap();
    assert_eq!((ours.received, ours.sha256), (60_000, pattern::sha256(60_000)));
    check("libutp", &relay.recorded());
}

#[tokio::test(flavor = "multi_thread")]
async fn libutp_resets_what_it_does_not_know_and_we_decode_it() {
    if !is_installed(Need::Libutp) {
        return;
    }
    let _turn = crate::TURN.lock().await;
    let mut listener = Peer::libutp(&["listen"]).unwrap();
    let port = listener.wait_for("listening", LIMIT).await.unwrap().port;
    let relay = Relay::start(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), Link::CLEAN, 7, 10_000).unwrap();
    let header = Header {
        kind: Kind::Data,
        conn_id: ConnId::new(0x1234),
        sent_at: Timestamp::new(1_000_000),
        delay: Delay::NONE,
        window: 1 << 20,
        seq: SeqNr::new(65_535),
        ack: SeqNr::new(7),
    };
    let mut stray = Vec::new();
    Packet { header, extensions: Default::default(), payload: b"lost" }.encode(&mut stray);
    relay.inject(&stray).unwrap();
    let answer = async {
        while relay.recorded().len() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LIMIT, answer).await.unwrap();
    let recorded = relay.recorded();
    let reset = Packet::decode(&recorded[1].bytes).unwrap().header;
    assert_eq!((reset.kind, reset.conn_id, reset.ack), (Kind::Reset, header.conn_id, header.seq));
    check("libutp_reset", &recorded);
}

#[tokio::test(flavor = "multi_thread")]
async fn libtorrent_understands_libtorrent_and_we_decode_it_all() {
    if !is_installed(Need::Libtorrent) {
        return;
    }
    let _turn = crate::TURN.lock().await;
    let torrent = crate::torrents::make(100_000).await;
    let mut seed = Peer::libtorrent(&["seed", torrent.seed_dir()]).unwrap();
    let port = seed.wait_for("listening", LIMIT).await.unwrap().port;
    let relay = Relay::start(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), BAD, 3, 10_000).unwrap();
    let near = relay.addr().port().to_string();
    let mut leech = Peer::libtorrent(&["leech", torrent.leech_dir(), "--connect", &near]).unwrap();
    let theirs = leech.wait_for("done", LIMIT).await.unwrap();
    assert_eq!(theirs.sha256, pattern::sha256(100_000));
    seed.wait_for("done", LIMIT).await.unwrap();
    check("libtorrent", &relay.recorded());
}

/// Every datagram comes out of our encoder as it went into our decoder.
fn check(name: &str, recorded: &[Recorded]) {
    for datagram in recorded {
        let packet =
            Packet::decode(&datagram.bytes).unwrap_or_else(|error| panic!("{error}: {datagram:02x?}"));
        let mut again = Vec::with_capacity(packet.encoded_len());
        packet.encode(&mut again);
        assert_eq!(again, datagram.bytes, "{packet:?}");
    }
    if std::env::var_os("EBBTIDE_RECORD").is_some_and(|value| value == "1") {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures").join(name).with_extension("pcap");
        let mut file = Vec::new();
        pcap::write(&mut file, &worth_keeping(recorded)).unwrap();
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, file).unwrap();
    }
}

/// The beginning, the end, and from the middle whatever has extensions or ends something: files stay small.
fn worth_keeping(recorded: &[Recorded]) -> Vec<Recorded> {
    let mut special = 0;
    let keep = |(index, datagram): &(usize, &Recorded)| {
        let packet = Packet::decode(&datagram.bytes).expect("checked before");
        let rare = !packet.extensions.is_empty() || matches!(packet.header.kind, Kind::Fin | Kind::Reset);
        special += u32::from(rare);
        *index < 14 || *index + 14 >= recorded.len() || (rare && special <= 12)
    };
    recorded.iter().enumerate().filter(keep).map(|(_, datagram)| datagram.clone()).collect()
}
