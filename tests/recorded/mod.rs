//! Packets of real peers, as they were recorded.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use pcap_parser::PcapCapture;

/// Ethernet, IPv4 without options, UDP.
const FRAMING: usize = 14 + 20 + 8;

/// Where they are.
pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/captures")
}

/// Name, and per datagram the source port and the bytes.
pub(crate) fn captures() -> BTreeMap<String, Vec<(u16, Vec<u8>)>> {
    let mut captures = BTreeMap::new();
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "pcap") {
            let bytes = fs::read(&path).unwrap();
            let capture = PcapCapture::from_file(&bytes).unwrap();
            let datagrams = capture.blocks.iter().map(|frame| {
                let port = u16::from_be_bytes(frame.data[34..36].try_into().unwrap());
                (port, frame.data[FRAMING..].to_vec())
            });
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            captures.insert(name, datagrams.collect());
        }
    }
    captures
}
