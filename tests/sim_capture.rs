//! Captures of simulated worlds before the eyes of others: a parser of pcapng, tshark, and our own `decode`.

#![expect(clippy::unwrap_used, reason = "a test that unwraps nothing has failed")]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use ebbtide::Config;
use ebbtide::sim::{
    Direction, Discipline, Fault, LineId, Link, LinkFault, Rate, Size, Strike, Traffic, World,
};
use pcap_parser::traits::PcapReaderIterator;
use pcap_parser::{Block, Linktype, PcapBlockOwned, PcapError, PcapNGReader};

/// A capture in a folder of its own, and the world that it shows.
struct Captured {
    _folder: tempfile::TempDir,
    path: PathBuf,
    world: World,
    lines: [LineId; 2],
}

/// Three hosts, two lines, one with loss and one with CoDel.
fn captured() -> Captured {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("world.pcapng");
    let mut world = World::new(11);
    // Wireshark knows no extension but the first three ids, and shows packets with others as plain UDP.
    let hosts = [(); 3].map(|()| world.host(Config::default().extensions(false)));
    let link = Link::perfect().rate(Rate::megabits(4)).delay(Duration::from_millis(15)).queue(Size::kib(128));
    let lossy = link.loss(Strike::random(0.02)).with(LinkFault::Truncate(Strike::every(100)));
    let first = world.join(hosts[0], hosts[1], lossy);
    world.record_pcapng(File::create(&path).unwrap()).unwrap();
    // A line that comes later has its interface too.
    let second = world.join(hosts[0], hosts[2], link.discipline(Discipline::codel()));
    world.start(hosts[0], hosts[1], &Traffic::echo(Size::kib(300)));
    world.start(hosts[2], hosts[0], &Traffic::bulk(Size::kib(600)));
    world.settle(Duration::from_secs(120)).unwrap();
    world.stop_recording().unwrap();
    Captured { _folder: folder, path, world, lines: [first, second] }
}

impl Captured {
    fn packets(&self, line: LineId) -> u64 {
        Direction::BOTH.into_iter().map(|way| self.world.link_stats(line, way).packets).sum()
    }

    fn struck(&self, fault: Fault) -> u64 {
        let links = self.lines.into_iter().flat_map(|line| Direction::BOTH.map(|way| (line, way)));
        links.map(|(line, way)| self.world.link_stats(line, way).struck(fault)).sum()
    }
}

/// What a parser finds.
#[derive(Debug, Default)]
struct Found {
    interfaces: u32,
    packets: [u64; 2],
    comments: Vec<String>,
    last: u64,
}

fn parse(path: &Path) -> Found {
    let mut reader = PcapNGReader::new(1 << 16, File::open(path).unwrap()).unwrap();
    let mut found = Found::default();
    loop {
        match reader.next() {
            Ok((offset, block)) => {
                match block {
                    PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
                        assert_eq!((interface.linktype, interface.if_tsresol), (Linktype::RAW, 9));
                        found.interfaces += 1;
                    }
                    PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                        found.packets[packet.if_id as usize] += 1;
                        let at = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
                        assert!(at >= found.last, "in the order of time");
                        found.last = at;
                        assert!(packet.data[0] == 0x45 && packet.caplen == packet.origlen);
                        let comments = packet.options.iter().filter(|option| option.code.0 == 1);
                        let text =
                            |value: &[u8]| String::from_utf8_lossy(value).trim_end_matches('\0').to_owned();
                        found.comments.extend(comments.map(|option| text(option.value())));
                    }
                    PcapBlockOwned::NG(Block::SectionHeader(_)) => {}
                    PcapBlockOwned::NG(other) => panic!("{other:?}"),
                    _ => panic!("an old kind of file"),
                }
                reader.consume(offset);
            }
            Err(PcapError::Eof) => return found,
            Err(PcapError::Incomplete(_)) => reader.refill().unwrap(),
            Err(error) => panic!("{error:?}"),
        }
    }
}

#[test]
fn a_capture_has_every_packet_with_what_struck_it() {
    let captured = captured();
    let found = parse(&captured.path);
    assert_eq!(found.interfaces, 2);
    assert_eq!(found.packets, captured.lines.map(|line| captured.packets(line)));
    assert!(found.last < captured.world.now().as_nanos() as u64);
    for fault in [Fault::Lost, Fault::Truncated, Fault::WaitedLong] {
        let shown = found.comments.iter().filter(|comment| **comment == fault.to_string()).count() as u64;
        assert!(shown > 0, "{fault}");
        assert_eq!(shown, captured.struck(fault), "{fault}");
    }
}

#[test]
fn recording_changes_nothing() {
    let run = |record: bool| {
        let mut world = World::new(5);
        let hosts = [world.host(Config::default()), world.host(Config::default())];
        world.join(hosts[0], hosts[1], Link::perfect().loss(Strike::random(0.05)));
        if record {
            world.record_pcapng(std::io::sink()).unwrap();
        }
        world.start(hosts[0], hosts[1], &Traffic::echo(Size::kib(100)));
        world.settle(Duration::from_secs(60)).unwrap();
        world.trace().hash()
    };
    assert_eq!(run(true), run(false));
}

#[test]
fn an_error_of_the_file_waits_for_the_end() {
    #[derive(Debug)]
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut world = World::new(5);
    let hosts = [world.host(Config::default()), world.host(Config::default())];
    world.join(hosts[0], hosts[1], Link::perfect());
    world.record_pcapng(Full).unwrap();
    world.start(hosts[0], hosts[1], &Traffic::echo(Size::kib(100)));
    world.settle(Duration::from_secs(60)).unwrap();
    assert_eq!(world.stop_recording().unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    assert!(world.stop_recording().is_ok());
}

/// Whether a program that starts with these arguments is there. If it has to be, and is not, that is a failure.
fn is_there(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_ok_and(|status| status.success()) {
        return true;
    }
    assert!(std::env::var_os("EBBTIDE_REQUIRE_PEERS").is_none(), "{program} is missing");
    eprintln!("skipped: {program} is not installed");
    false
}

/// How severe tshark finds it that a packet has a comment.
const COMMENT: &str = "1048576";

#[test]
fn tshark_reads_a_capture_and_finds_the_checksums_right() {
    if !is_there("tshark") {
        return;
    }
    let captured = captured();
    let columns = [
        "_ws.col.Protocol",
        "_ws.malformed",
        "_ws.expert.severity",
        "ip.checksum.status",
        "udp.checksum.status",
        "frame.interface_id",
    ];
    let mut command = Command::new("tshark");
    command.arg("-r").arg(&captured.path).args([
        "-d",
        "udp.port==6881,bt-utp",
        "--disable-protocol",
        "bittorrent",
    ]);
    command.args(["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-T", "fields"]);
    command.args(columns.iter().flat_map(|column| ["-e", column]));
    let output = command.stdin(Stdio::null()).stderr(Stdio::piped()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut packets = [0; 2];
    for line in text.lines() {
        let (rest, interface) = line.rsplit_once('\t').unwrap();
        // What struck a packet is a comment, and that is all there is to remark.
        let rest = rest.replace(COMMENT, "");
        assert_eq!(rest, "BT-uTP\t\t\t1\t1", "{columns:?}");
        packets[interface.parse::<usize>().unwrap()] += 1;
    }
    assert_eq!(packets, captured.lines.map(|line| captured.packets(line)));
}

#[cfg(feature = "cli")]
#[test]
fn our_own_decode_reads_a_capture() {
    let captured = captured();
    let output =
        Command::new(env!("CARGO_BIN_EXE_ebbtide")).arg("decode").arg(&captured.path).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let packets: u64 = captured.lines.into_iter().map(|line| captured.packets(line)).sum();
    let shown = text.lines().filter(|line| line.contains("ST_")).count() as u64;
    assert_eq!(shown, packets, "{}", text.lines().take(20).collect::<Vec<_>>().join("\n"));
}
