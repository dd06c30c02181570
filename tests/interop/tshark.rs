//! Our own packets before the eyes of a third party: tshark's dissector for uTP.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::Duration;

use ebbtide::{Config, UtpSocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::pattern;
use crate::pcap;
use crate::peer::{Need, is_installed};
use crate::relay::{Link, Recorded, Relay};

#[tokio::test(flavor = "multi_thread")]
async fn tshark_finds_nothing_wrong_with_our_packets() {
    if !is_installed(Need::Tshark) {
        return;
    }
    let _turn = crate::TURN.lock().await;
    let transfer = tokio::time::timeout(Duration::from_secs(60), record_a_transfer(1_000_000));
    let recorded = transfer.await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ours.pcap");
    pcap::write(&mut std::fs::File::create(&path).unwrap(), &recorded).unwrap();

    let columns = ["_ws.col.Protocol", "_ws.malformed", "_ws.expert.severity", "bt-utp.extension_unknown"];
    let mut command = Command::new("tshark");
    command.arg("-r").arg(&path).args(["-d", &format!("udp.port=={},bt-utp", pcap::FAR_PORT)]);
    // What the stream carries is not BitTorrent, though its bytes may look like it.
    command.args(["--disable-protocol", "bittorrent", "-T", "fields"]);
    command.args(columns.iter().flat_map(|column| ["-e", column]));
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), recorded.len());
    for (line, datagram) in text.lines().zip(&recorded) {
        assert_eq!(line.trim_end(), "BT-uTP", "{columns:?} {datagram:02x?}");
    }
}

/// Through a bad relay, so that there are selective acknowledgements and repetitions to look at.
async fn record_a_transfer(bytes: u64) -> Vec<Recorded> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    // tshark shows packets with other extensions than the first three as plain UDP.
    let bind = || UtpSocket::bind_with(any, Config::default().extensions(false));
    let (near, far) = (bind().await.unwrap(), bind().await.unwrap());
    let relay = Relay::start(far.local_addr(), Link::LOSSY, 1, 100_000).unwrap();
    let listener = far.listen();
    let (connected, accepted) = tokio::join!(near.connect(relay.addr()), listener.accept());
    let (mut ours, (mut theirs, _)) = (connected.unwrap(), accepted.unwrap());
    let mut data = vec![0; bytes as usize];
    pattern::fill(0, &mut data);
    let there = async {
        ours.write_all(&data).await.unwrap();
        ours.shutdown().await.unwrap();
        let mut back = Vec::new();
        ours.read_to_end(&mut back).await.unwrap();
        assert!(back == data);
    };
    let back = async {
        let mut received = Vec::new();
        theirs.read_to_end(&mut received).await.unwrap();
        theirs.write_all(&received).await.unwrap();
        theirs.shutdown().await.unwrap();
        theirs.closed().await.unwrap();
    };
    tokio::join!(there, back);
    drop((ours, theirs));
    tokio::join!(near.close(), far.close());
    relay.recorded()
}
