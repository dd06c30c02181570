//! The inputs that fuzzing found interesting, replayed through the functions that the fuzzer calls; without nightly.
//!
//! `fuzz/corpus` is what minimised fuzzing left, `fuzz/crashes` what once went wrong, `fuzz/seeds` packets made by
//! hand. Further inputs are made here out of packets of real peers. `EBBTIDE_SEEDS=FOLDER` writes all that is not a
//! corpus into FOLDER, a folder for each target, for the fuzzer to begin with.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "a library where it comes from")]
mod fuzz;
mod recorded;

use std::fs;
use std::path::{Path, PathBuf};

use ebbtide::wire::{Kind, Packet};

/// A name and the bytes.
type Input = (String, Vec<u8>);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn files(folder: &Path) -> Vec<Input> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = paths.map(|path| (path.display().to_string(), fs::read(path).unwrap())).collect();
    files.sort();
    files
}

fn run(target: &str, inputs: &[Input]) {
    let (_, function) = fuzz::TARGETS.iter().find(|(name, _)| *name == target).unwrap();
    for (name, bytes) in inputs {
        // Shown if it fails; the last one is the culprit.
        println!("{target}: {name}");
        function(bytes);
    }
}

fn replay(target: &str) {
    let corpus = files(&folder().join("corpus").join(target));
    assert!(corpus.len() >= 10, "the corpus of {target} is where this test looks for it");
    run(target, &corpus);
    run(target, &files(&folder().join("crashes").join(target)));
}

macro_rules! replays {
    ($($test:ident: $target:literal,)*) => {
        $(#[test]
        fn $test() {
            replay($target);
        })*

        #[test]
        fn every_target_is_replayed_and_has_a_binary_and_instructions() {
            let replayed = [$($target),*];
            let readme = fs::read_to_string(folder().join("README.md")).unwrap();
            assert_eq!(fuzz::TARGETS.map(|(name, _)| name), replayed);
            for target in replayed {
                assert!(folder().join(format!("fuzz_targets/{target}.rs")).exists(), "{target}");
                assert!(readme.contains(&format!("`{target}`")), "{target} is in the README");
            }
        }
    };
}

replays! {
    any_bytes_decode_or_are_refused: "decode",
    what_decodes_is_encoded_again_and_read_alike_by_a_slow_reader: "round_trip",
    any_chain_of_extensions_is_walked_and_rebuilt: "chain",
    any_acknowledgement_leaves_the_books_of_the_sender_balanced: "sack",
    any_own_block_is_read_alike_by_a_slow_reader_and_written_again: "own",
    any_peer_and_any_application_leave_a_connection_sound: "connection",
    any_crowd_leaves_an_endpoint_within_its_bounds: "endpoint",
    any_network_delivers_a_prefix_and_in_the_end_everything: "pair",
    any_settings_are_refused_or_move_data: "config",
    any_stream_of_messages_is_read_alike_however_it_is_cut: "messages",
    any_clients_leave_a_rendezvous_server_within_its_bounds: "rendezvous",
    any_datagrams_leave_an_endpoint_that_asks_and_answers_sound: "stun",
    any_peer_server_or_forger_leaves_a_punch_within_its_bounds: "punch",
    any_frames_are_sorted_as_a_slow_mailroom_sorts_them: "frames",
    any_network_leaves_each_channel_its_promise: "channels",
    any_cables_and_lies_leave_sessions_their_promise: "session",
    any_stream_of_packets_is_read_as_a_slow_reader_reads_it: "codec",
}

/// Bytes of payload that a seed keeps: the content is made up by the target anyway.
const PAYLOAD_KEPT: usize = 32;

/// All packets: made by hand, and recorded.
fn packets() -> Vec<Input> {
    let mut packets = files(&folder().join("seeds"));
    for (name, datagrams) in recorded::captures() {
        for (index, (_, datagram)) in datagrams.into_iter().enumerate() {
            packets.push((format!("{name}-{index}"), without_payload(&datagram)));
        }
    }
    packets
}

fn without_payload(datagram: &[u8]) -> Vec<u8> {
    let payload = Packet::decode(datagram).map_or(0, |packet| packet.payload.len());
    datagram[..datagram.len() - payload.saturating_sub(PAYLOAD_KEPT)].to_vec()
}

/// The id of the first extension, and the chain with what follows.
fn chains() -> Vec<Input> {
    let long_enough = packets().into_iter().filter(|(_, bytes)| bytes.len() > 20);
    long_enough.map(|(name, bytes)| (name, [&bytes[1..2], &bytes[20..]].concat())).collect()
}

/// Recorded conversations, in which we stand in for one side and hear what the other one said.
fn conversations() -> Vec<Input> {
    let mut scripts = Vec::new();
    for (name, datagrams) in recorded::captures() {
        for dials in [true, false] {
            if let Some(script) = conversation(&datagrams, dials) {
                scripts.push((format!("{name}-{}", if dials { "dialling" } else { "dialled" }), script));
            }
        }
    }
    scripts
}

fn conversation(datagrams: &[(u16, Vec<u8>)], dials: bool) -> Option<Vec<u8>> {
    let packets: Vec<_> =
        datagrams.iter().map(|(port, bytes)| (*port, Packet::decode(bytes).unwrap(), bytes)).collect();
    let (dialler, syn, _) = packets.iter().find(|(_, packet, _)| packet.header.kind == Kind::Syn)?;
    let (_, answer, _) =
        packets.iter().find(|(port, packet, _)| port != dialler && packet.header.ack == syn.header.seq)?;
    // Large buffers, no delay for small writes, a fixed window; see `settings::small`.
    let mut script = vec![3, 3, 0b1000_0010, 0, dials.into()];
    script.extend(syn.header.conn_id.get().to_be_bytes());
    let (ours, theirs) = if dials { (syn, answer) } else { (answer, syn) };
    script.extend(ours.header.seq.get().to_be_bytes());
    script.extend(theirs.header.seq.get().to_be_bytes());
    if !dials {
        script.extend(syn.header.window.to_be_bytes());
        script.extend(syn.header.sent_at.get().to_be_bytes());
    }
    for (port, packet, bytes) in
        packets.iter().filter(|(_, packet, _)| packet.header.kind != Kind::Syn).take(80)
    {
        if (port == dialler) == dials {
            match packet.header.kind {
                Kind::Data => script.extend([11, u8::try_from(packet.payload.len() / 64).unwrap_or(u8::MAX)]),
                Kind::Fin => script.extend([15, 0]),
                _ => script.extend([8, 10]),
            }
        } else {
            let heard = without_payload(bytes);
            script.push(6);
            script.extend(u16::try_from(heard.len()).unwrap().to_be_bytes());
            script.extend(heard);
            script.extend([12, 255]);
        }
    }
    Some(script)
}

#[test]
fn packets_of_real_peers_are_good_seeds() {
    let packets = packets();
    assert!(packets.len() > 50, "captures and packets made by hand are where this test looks for them");
    let seeds = [
        ("decode", packets.clone()),
        ("round_trip", packets),
        ("chain", chains()),
        ("connection", conversations()),
    ];
    for (target, inputs) in &seeds {
        assert!(!inputs.is_empty());
        run(target, inputs);
        if let Some(folder) = std::env::var_os("EBBTIDE_SEEDS") {
            let folder = Path::new(&folder).join(target);
            fs::create_dir_all(&folder).unwrap();
            for (index, (_, bytes)) in inputs.iter().enumerate() {
                fs::write(folder.join(format!("seed-{index}")), bytes).unwrap();
            }
        }
    }
}
