//! The BitTorrent peer of the examples, both sides, over a pipe in memory.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;

use bt_bencode::{ByteString, Value};
use sha1::{Digest, Sha1};
use tokio::fs::File;

#[path = "../examples/torrent/mod.rs"]
mod torrent;

use torrent::metainfo::Metainfo;

const PIECE: usize = 40_000;

/// A torrent of this content, as its maker writes it.
fn make(content: &[u8]) -> Vec<u8> {
    let pieces: Vec<u8> = content.chunks(PIECE).flat_map(Sha1::digest).collect();
    let text = |text: &str| ByteString::from(text);
    let info = BTreeMap::from([
        (text("length"), Value::from(content.len() as u64)),
        (text("name"), Value::ByteStr(text("content.bin"))),
        (text("piece length"), Value::from(PIECE as u64)),
        (text("pieces"), Value::ByteStr(ByteString::from(pieces))),
    ]);
    bt_bencode::to_vec(&BTreeMap::from([(text("info"), Value::Dict(info))])).unwrap()
}

fn content() -> Vec<u8> {
    (0..1_000_003_u32).map(|i| (i * 31 + (i >> 8) * 17) as u8).collect()
}

#[tokio::test]
async fn a_file_goes_from_seed_to_leech() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (folder.path().join("here"), folder.path().join("there"));
    std::fs::write(&here, content()).unwrap();
    let torrent = Metainfo::parse(&make(&content())).unwrap();
    // Smaller than the pipeline: neither side may need the other to read before it does.
    let (ours, theirs) = tokio::io::duplex(8192);
    let mut from = File::open(&here).await.unwrap();
    let mut to = File::create(&there).await.unwrap();
    let (given, taken) = tokio::join!(
        torrent::seed::seed(ours, &torrent, &mut from),
        torrent::leech::leech(theirs, &torrent, &mut to),
    );
    assert_eq!((given.unwrap(), taken.unwrap()), (1_000_003, 1_000_003));
    assert!(std::fs::read(&there).unwrap() == content());
}

#[tokio::test]
async fn a_wrong_piece_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (folder.path().join("here"), folder.path().join("there"));
    let mut wrong = content();
    wrong[500_000] ^= 1;
    std::fs::write(&here, wrong).unwrap();
    let torrent = Metainfo::parse(&make(&content())).unwrap();
    let (ours, theirs) = tokio::io::duplex(8192);
    let mut from = File::open(&here).await.unwrap();
    let mut to = File::create(&there).await.unwrap();
    let taken = tokio::select! {
        taken = torrent::leech::leech(theirs, &torrent, &mut to) => taken,
        given = torrent::seed::seed(ours, &torrent, &mut from) => panic!("{given:?}"),
    };
    assert!(taken.unwrap_err().to_string().contains("piece 12"));
}

#[test]
fn nonsense_is_no_torrent() {
    for bytes in [&b""[..], b"x", b"d4:infoi1ee", b"d4:infod6:lengthi7e12:piece lengthi0e6:pieces0:ee"] {
        assert!(Metainfo::parse(bytes).is_err());
    }
}
