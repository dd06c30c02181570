//! Row C: whole transfers between two connections, over links and with peers of every badness.

use std::collections::{HashMap, HashSet};

use super::*;

/// A link of 10 ms each way whose fate for a packet a closure decides.
fn pair(link: impl FnMut(usize, u64, &Packet<'_>) -> Fate + 'static) -> Pair {
    let mut pair = Pair::new(config());
    pair.link = Box::new(link);
    pair
}

/// Whether this is the last of every `period` packets.
const fn every(period: u64, n: u64) -> bool {
    n % period == period - 1
}

/// What is called that where every instruction is interpreted.
const MEGABYTE: usize = if cfg!(miri) { 100_000 } else { 1_000_000 };

#[test]
fn c15_a_clean_transfer_both_ways_ends_well() {
    for verify in [false, true] {
        let mut pair = Pair::new(config().verify_acks(verify));
        pair.transfer([3 * MEGABYTE, 2 * MEGABYTE], secs(60));
        for end in &pair.ends {
            let stats = end.stats();
            assert_eq!((stats.packets_retransmitted, stats.packets_lost, stats.timeouts), (0, 0, 0));
            assert_eq!((stats.packets_invalid, stats.packets_duplicate), (0, 0));
            assert_eq!(stats.packets_reordered > 0, verify, "a packet kept back arrives out of order");
        }
    }
}

#[test]
fn c15_each_direction_alone() {
    Pair::new(config()).transfer([MEGABYTE, 0], secs(30));
    Pair::new(config()).transfer([0, MEGABYTE], secs(30));
    Pair::new(config()).transfer([0, 0], secs(5));
}

#[test]
fn c15_one_byte_at_a_time() {
    const BYTES: usize = if cfg!(miri) { 200 } else { 2000 };
    for nodelay in [false, true] {
        let mut pair = Pair::new(config().nodelay(nodelay));
        for len in 1..=BYTES {
            pair.outgoing = [pattern(len), pattern(len)];
            pair.run(millis(1), |_| false);
        }
        pair.transfer([BYTES, BYTES], secs(10));
        let packets = pair.ends[0].stats().packets_sent;
        assert_eq!(packets > BYTES as u64, nodelay, "{packets} packets");
    }
}

#[test]
fn c15_numbers_go_round_the_circle_twice() {
    let configs = [config().mtu(150).congestion(Congestion::Fixed(100_000)), config()];
    let mut pair = Pair::with(configs);
    let packets = if cfg!(miri) { 200 } else { 140_000 };
    pair.transfer([packets * 130, MEGABYTE], secs(120));
    assert!(pair.ends[0].stats().packets_sent > packets as u64);
}

#[test]
fn c16_periodic_loss() {
    for [there, back] in [[33, 47], [7, 13], [3, 5]] {
        pair(move |side, n, _| if every([there, back][side], n) { vec![] } else { vec![ONE_WAY] })
            .transfer([MEGABYTE / 2, MEGABYTE / 2], secs(300));
    }
}

#[test]
fn c16_periodic_reordering() {
    let mut reordered = pair(|side, n, _| {
        let late = if every([27, 23][side], n) { millis(9) } else { Duration::ZERO };
        vec![ONE_WAY + late]
    });
    reordered.transfer([MEGABYTE, MEGABYTE], secs(60));
    for end in &reordered.ends {
        assert_eq!(end.stats().timeouts, 0);
    }
}

#[test]
fn c16_loss_and_reordering_at_once() {
    for [there, back] in [[33, 47], [7, 13]] {
        pair(move |side, n, _| {
            if every([there, back][side], n) {
                return vec![];
            }
            vec![if every([27, 23][side], n) { 2 * ONE_WAY } else { ONE_WAY }]
        })
        .transfer([MEGABYTE / 2, MEGABYTE / 2], secs(300));
    }
}

#[test]
fn c16_duplicates() {
    for period in [1, 2, 10] {
        let mut doubled =
            pair(
                move |_, n, _| {
                    if every(period, n) { vec![ONE_WAY, ONE_WAY + millis(3)] } else { vec![ONE_WAY] }
                },
            );
        doubled.transfer([MEGABYTE, MEGABYTE / 10], secs(60));
        assert_eq!(doubled.ends[0].stats().timeouts, 0);
    }
}

#[test]
fn c16_lost_acks() {
    for kept in [2, 5, 20] {
        let mut lossy = pair(move |side, n, packet| {
            // Neither at the beginning nor at the end, where packets are few and somebody might give up.
            let ack = side == 1 && packet.header.kind == Kind::State && (100..300).contains(&n);
            if ack && !every(kept, n) { vec![] } else { vec![ONE_WAY] }
        });
        lossy.transfer([MEGABYTE, 0], secs(120));
        assert_eq!(lossy.ends[1].stats().packets_refused, 0, "one of {kept} kept");
    }
}

#[test]
fn c16_bursts_of_loss() {
    for (from, len) in [(100, 30), (100, 300), (0, 3), (740, 30)] {
        let mut burst = Pair::new(config().pacing(false).congestion(Congestion::Fixed(400 * FULL as u32)));
        burst.link =
            Box::new(
                move |side, n, _| {
                    if side == 0 && (from..from + len).contains(&n) { vec![] } else { vec![ONE_WAY] }
                },
            );
        burst.transfer([MEGABYTE, 0], secs(20));
    }
}

/// Loses the first `times` transmissions of every 50th data packet.
#[test]
fn c16_lost_retransmissions() {
    for times in [2, 3] {
        let mut seen = HashMap::new();
        pair(move |side, _, packet| {
            let seq = packet.header.seq.get();
            if side == 1 || packet.header.kind != Kind::Data || seq % 50 != 0 {
                return vec![ONE_WAY];
            }
            let count = seen.entry(seq).or_insert(0);
            *count += 1;
            if *count <= times { vec![] } else { vec![ONE_WAY] }
        })
        .transfer([MEGABYTE, 0], secs(60));
    }
}

/// Loses the first transmission of the last packets: data alone, data and FIN, the FIN alone.
#[test]
fn c16_lost_tails() {
    for (from_end, len) in [(1, 1), (1, 2), (0, 1), (4, 5)] {
        let mut seen = HashSet::new();
        let total = 40_u16;
        let mut tail = pair(move |side, _, packet| {
            let index = packet.header.seq.distance_from(OUR_SYN) as u16;
            let fin = total + 1;
            let in_tail = (fin - from_end..fin - from_end + len).contains(&index);
            let first = matches!(packet.header.kind, Kind::Data | Kind::Fin) && seen.insert((side, index));
            if side == 0 && in_tail && first { vec![] } else { vec![ONE_WAY] }
        });
        tail.outgoing[0] = pattern(usize::from(total) * FULL);
        tail.finish_when_written[0] = true;
        let start = tail.now;
        assert!(tail.run(secs(5), |pair| pair.eof[1]), "{len} from {from_end} before the end");
        let took = tail.now.since(start);
        assert!(took < millis(500), "{took:?}: a tail probe is faster than a timeout");
        assert_eq!(tail.ends[0].stats().timeouts, 0);
        assert!(tail.ends[0].stats().packets_retransmitted >= u64::from(len));
    }
}

#[test]
fn c16_a_link_that_is_gone_for_seconds() {
    let mut pair = Pair::new(config());
    pair.outgoing = [pattern(MEGABYTE), pattern(MEGABYTE)];
    pair.run(millis(300), |_| false);
    pair.blackout = [pair.now + secs(10); 2];
    pair.transfer([MEGABYTE, MEGABYTE], secs(120));
}

/// libtorrent: a mask that may miss what it is about. Says nothing at all here.
fn zero_mask(datagram: &mut Vec<u8>) {
    if datagram[1] == 1 {
        datagram.truncate(HEADER_LEN + 2);
        datagram[HEADER_LEN + 1] = 1;
        datagram.push(0);
    }
}

/// libutp: four bytes, of which 30 bits are used.
fn short_mask(datagram: &mut Vec<u8>) {
    if datagram[1] == 1 {
        datagram.truncate(HEADER_LEN + 2 + 4);
        datagram[HEADER_LEN + 1] = 4;
        datagram[HEADER_LEN + 2 + 3] &= 0x3F;
    }
}

fn no_mask(datagram: &mut Vec<u8>) {
    if datagram[1] == 1 {
        datagram.truncate(HEADER_LEN);
        datagram[1] = 0;
    }
}

/// A make of masks, and what it turns a datagram into.
type PoorMask = (&'static str, fn(&mut Vec<u8>));

pub(super) const POOR_MASKS: [PoorMask; 3] = [("zero", zero_mask), ("short", short_mask), ("none", no_mask)];

#[test]
fn c17_receivers_with_poor_masks_get_everything() {
    let losses: [fn(u64) -> bool; 3] = [|n| every(33, n), |n| (100..140).contains(&n), |n| every(7, n)];
    for (name, rewrite) in POOR_MASKS {
        for lost in losses {
            let mut pair = pair(move |side, n, _| if side == 0 && lost(n) { vec![] } else { vec![ONE_WAY] });
            pair.rewrite = Box::new(move |side, datagram| {
                if side == 1 {
                    rewrite(datagram);
                }
            });
            pair.transfer([500_000, 0], secs(120));
            assert!(pair.ends[0].stats().packets_retransmitted > 0, "{name}: nothing was lost");
        }
    }
}

#[test]
fn c17_a_lone_loss_costs_a_peer_without_masks_no_timeout() {
    for (name, rewrite) in POOR_MASKS {
        let mut pair = pair(|side, n, _| if side == 0 && n == 200 { vec![] } else { vec![ONE_WAY] });
        pair.rewrite = Box::new(move |_, datagram| rewrite(datagram));
        pair.transfer([500_000, 0], secs(60));
        let stats = pair.ends[0].stats();
        assert_eq!((stats.timeouts, stats.packets_retransmitted), (0, 1), "{name}");
    }
}

/// libutp returns before it looks at the acknowledgement in a packet whose number it has.
#[test]
fn c17_a_peer_that_ignores_acks_under_old_numbers_is_served() {
    let mut pair = pair(|side, n, _| if every([33, 47][side], n) { vec![] } else { vec![ONE_WAY] });
    let (mut received, mut believed) = (THEIR_FIRST.prev(), OUR_SYN);
    pair.rewrite = Box::new(move |side, datagram| {
        let mut header = Packet::decode(datagram).unwrap().header;
        let old = header.seq.distance_from(received) <= 0;
        match side {
            0 if header.kind != Kind::Syn => received = header.ack,
            1 if old => {
                no_mask(datagram);
                header.ack = believed;
                header.write(datagram[1], datagram.first_chunk_mut().unwrap());
            }
            1 => believed = header.ack,
            _ => {}
        }
    });
    pair.transfer([MEGABYTE / 2, MEGABYTE / 2], secs(120));
}

#[test]
fn t06_the_bound_of_memory_is_no_obstacle_on_a_long_fat_lossy_path() {
    const WINDOW: usize = 8 << 20;
    const TOTAL: usize = 64 << 20;
    let config = config()
        .congestion(Congestion::Fixed(WINDOW as u32))
        .pacing(false)
        .send_buffer(2 * WINDOW)
        .receive_buffer(WINDOW)
        .receive_buffer_max(WINDOW)
        .packets_in_flight(8000);
    let mut pair = Pair::new(config);
    let mut rng = 1_u64;
    pair.link = Box::new(move |_, _, _| {
        rng = rng.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if (rng >> 33).is_multiple_of(50) { vec![] } else { vec![millis(225)] }
    });
    pair.outgoing[0] = pattern(TOTAL);
    pair.finish_when_written[0] = true;
    let (start, mut most) = (pair.now, 0);
    let done = pair.run(secs(600), |pair| {
        most = most.max(pair.ends[1].memory());
        pair.eof[1]
    });
    let took = pair.now.since(start).as_secs_f64();
    let stats = pair.ends[1].stats();
    eprintln!(
        "t06 bound={} measured={most} bytes of memory; {took:.1} s for 64 MiB at 450 ms and 2 % loss, {} refused",
        2 * WINDOW,
        stats.packets_refused
    );
    assert!(done && pair.incoming[1] == pair.outgoing[0], "{stats:#?}");
    assert_eq!(stats.packets_refused, 0);
    assert!(most <= 2 * WINDOW + (1 << 20), "{most}");
    // A window per round trip would be 3.6 s. What is lost twice or thrice holds everything up for round trips more.
    assert!(took <= 18.0, "{took}");
}
