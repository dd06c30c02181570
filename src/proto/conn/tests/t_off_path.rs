//! Rows t09 and t10: an attacker who does not see the packets, and forges the peer's address.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;
use crate::proto::conn::checks::ResetVerdict;

const FLIGHT: usize = 256;

/// Connected, with 256 packets in flight.
fn busy() -> Raw {
    let mut raw = Raw::dialled(unlimited().send_buffer(4 << 20));
    raw.say(Kind::Data, b"first");
    raw.write(&[0; FLIGHT * FULL]);
    assert_eq!(raw.hear().len(), FLIGHT);
    raw
}

fn forged(kind: Kind, id: u16, seq: u16, ack: u16, raw: &Raw) -> Header {
    Header { conn_id: ConnId::new(id), seq: SeqNr::new(seq), ack: SeqNr::new(ack), ..raw.header(kind) }
}

/// Everything about a connection, but for the count of packets that did not fit.
fn snapshot(raw: &mut Raw) -> String {
    let invalid = std::mem::take(&mut raw.conn.counters.packets_invalid);
    let snapshot = format!("{:?}", raw.conn);
    raw.conn.counters.packets_invalid = invalid;
    snapshot
}

#[test]
fn t09_a_blind_reset_takes_eight_million_packets() {
    let mut raw = busy();
    // Both ids are honoured, so every second one will do; so does one acknowledgement in as many as are in flight.
    const STRIDE: usize = FLIGHT + 2;
    let bound = (1 << 15) * (65_536 / STRIDE as u64);
    let mut rng = StdRng::seed_from_u64(9);
    let (mut packets, mut answers) = (0_u64, 0);
    'sweep: for id in (0..=u16::MAX).step_by(2) {
        for ack in (0..=u16::MAX).step_by(STRIDE) {
            let header = forged(Kind::Reset, id, rng.random(), ack, &raw);
            raw.say_with(header, Extensions::EMPTY, b"");
            packets += 1;
            if packets.is_multiple_of(1000) {
                // A million packets per second.
                raw.now = raw.now + millis(1);
                answers += only(Kind::State, &raw.hear()).len();
            }
            if raw.conn.close_reason().is_some() {
                break 'sweep;
            }
        }
    }
    eprintln!("t09 bound={bound} measured={packets} packets to sweep all ids, {answers} challenges");
    assert!(packets >= bound - 65_536 / STRIDE as u64, "{packets} of {bound}");
    assert!(answers <= 10, "{answers} answers");
}

#[test]
fn t09_an_idle_connection_believes_exact_numbers_only() {
    let mut raw = busy();
    raw.acknowledge_all();
    raw.hear();
    for id in [raw.conn.ids().recv, raw.conn.ids().send] {
        let believed: Vec<u16> = (0..=u16::MAX)
            .filter(|ack| {
                let header = forged(Kind::Reset, id.get(), raw.seq.get(), *ack, &raw);
                let packet = Packet { header, extensions: Extensions::EMPTY, payload: b"" };
                raw.conn.judge_reset(raw.now, &packet) == ResetVerdict::Valid
            })
            .collect();
        let next = raw.conn.send.next_seq();
        let mut exact = [next.prev().get(), next.get()];
        exact.sort_unstable();
        assert_eq!(believed, exact);
    }
}

#[test]
fn t09_a_doubtful_reset_is_challenged_once_a_second() {
    let mut raw = busy();
    let wrong = Header { ack: OUR_SYN - 100, ..raw.header(Kind::Reset) };
    let mut states = 0;
    for _ in 0..5000 {
        raw.say_with(wrong, Extensions::EMPTY, b"");
        states += only(Kind::State, &raw.hear()).len();
        raw.now = raw.now + millis(1);
        raw.acknowledge_all();
    }
    eprintln!("t09 bound=5 measured={states} challenges in 5 s of 1,000 forged RESETs per second");
    assert!((1..=5).contains(&states), "{states}");
    assert_eq!(raw.conn.close_reason(), None);
}

#[test]
fn t09_hardened_a_reset_counts_when_its_sender_hears_us() {
    let mut raw = Raw::dialled(unlimited().hardened_reset(true));
    raw.write(&[0; 10 * FULL]);
    raw.hear();
    let reset = raw.header(Kind::Reset);
    for blind in [OUR_SYN + 3, OUR_SYN + 5, OUR_SYN + 3] {
        raw.say_with(Header { ack: blind, ..reset }, Extensions::EMPTY, b"");
        assert_eq!(raw.conn.close_reason(), None);
    }
    let challenge = only(Kind::State, &raw.hear());
    assert_eq!((challenge.len(), challenge[0].seq), (1, OUR_SYN + 11));
    // As libutp answers it.
    let echo =
        Header { conn_id: challenge[0].conn_id, seq: SeqNr::new(4711), ack: challenge[0].seq, ..reset };
    raw.say_with(echo, Extensions::EMPTY, b"");
    assert_eq!(raw.conn.close_reason(), Some(CloseReason::Reset));
}

#[test]
fn t09_hardened_an_answer_that_comes_late_is_only_a_question() {
    let mut raw = Raw::dialled(unlimited().hardened_reset(true));
    let exact = Header { ack: OUR_SYN + 1, ..raw.header(Kind::Reset) };
    for _ in 0..5 {
        raw.say_with(exact, Extensions::EMPTY, b"");
        assert_eq!(raw.hear().len(), 1, "a challenge");
        raw.pass(secs(20));
        raw.hear();
    }
    assert_eq!(raw.conn.close_reason(), None);
}

#[test]
fn t10_blind_packets_change_nothing() {
    const COUNT: u64 = if cfg!(miri) { 1000 } else { 1_000_000 };
    let mut raw = busy();
    let before = snapshot(&mut raw);
    let mut rng = StdRng::seed_from_u64(10);
    let payload = [0x66; 1000];
    for _ in 0..COUNT {
        let kind = [Kind::Data, Kind::Fin, Kind::State][rng.random_range(0..3)];
        let mut header = forged(kind, rng.random(), rng.random(), rng.random(), &raw);
        (header.window, header.sent_at) = (rng.random(), Timestamp::new(rng.random()));
        header.delay = Delay::new(rng.random());
        raw.say_with(header, Extensions::EMPTY, if kind == Kind::State { b"" } else { &payload });
    }
    assert_eq!(raw.conn.counters.packets_invalid, COUNT);
    assert!(snapshot(&mut raw) == before, "something changed");
    eprintln!("t10 bound=0 measured={} bytes injected by {COUNT} blind packets", raw.read().len() - 5);
}

#[test]
fn t10_even_with_the_id_one_packet_in_thousands_fits() {
    let raw = busy();
    let id = raw.conn.ids().recv.get();
    let mut rng = StdRng::seed_from_u64(11);
    const TRIES: u64 = 1_000_000;
    let fits = (0..TRIES)
        .filter(|_| {
            let header = forged(Kind::Data, id, rng.random(), rng.random(), &raw);
            raw.conn.is_plausible(&Packet { header, extensions: Extensions::EMPTY, payload: b"" })
        })
        .count() as u64;
    // Behind and ahead 1,024 numbers each, and a byte into the stream only ahead.
    let bound = (1 << 16) * (65_536 / (2 * 1024 + 9)) * (65_536 / (FLIGHT as u64 + 33));
    let measured = (1 << 16) * TRIES / fits;
    eprintln!(
        "t10 bound={bound} measured={measured} packets on average for one that counts, {fits} of {TRIES}"
    );
    assert!(measured * 10 >= bound * 9, "{measured} of {bound}");
}

#[test]
fn t10_an_overtaken_acknowledgement_is_as_old_as_the_flight_of_late() {
    let mut raw = busy();
    let old = raw.header(Kind::State);
    raw.acknowledge_all();
    raw.say_with(old, Extensions::EMPTY, b"");
    assert_eq!(raw.conn.counters.packets_invalid, 0, "overtaken by the whole flight");
    for _ in 0..4 {
        raw.pass(secs(1));
        raw.acknowledge_all();
    }
    raw.unmoved_by(old, Extensions::EMPTY);
}
