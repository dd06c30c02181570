//! Each kind of box by itself: which port, whom it lets in, and for how long.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::*;
use crate::sim::nat::{NatKind, NatPorts};

const SECOND: u64 = 1_000_000_000;

fn inside(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 168, 1, 2], port))
}

fn remote(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([198, 18, 0, host], port))
}

fn table(setup: Nat) -> Table {
    Table::new(setup, Rng::new(7))
}

/// The ports that one socket gets for four peers, two of them at one address.
fn ports_for_peers(table: &mut Table) -> [u16; 4] {
    let peers = [remote(9, 1), remote(9, 2), remote(10, 1), remote(11, 1)];
    peers.map(|peer| table.translate_out(0, inside(5000), peer).unwrap())
}

#[test]
fn independent_mappings_are_one_port_and_dependent_ones_one_for_each_peer() {
    for kind in NatKind::ALL {
        let ports = ports_for_peers(&mut table(kind.nat()));
        match kind {
            NatKind::Symmetric => {
                let mut sorted = ports.to_vec();
                sorted.sort_unstable();
                sorted.dedup();
                assert_eq!(sorted.len(), 4, "{kind}: {ports:?}");
            }
            // Linux keeps the port as long as nothing is in the way, and so looks independent.
            _ => assert_eq!(ports, [5000; 4], "{kind}"),
        }
    }
}

#[test]
fn ports_that_go_up_or_down_by_a_step_do_so_across_the_end_of_the_range() {
    for step in [1, 2, -4] {
        let mut table = table(Nat::symmetric().ports(NatPorts::Step(step)).first_port(64_000));
        let ports: Vec<i64> = (0..2000)
            .map(|peer| table.translate_out(0, inside(5), remote(9, peer)).unwrap().into())
            .collect();
        let steps = ports.windows(2).filter(|pair| pair[1] - pair[0] == i64::from(step)).count();
        assert!(steps >= 1990, "step {step}: {steps}");
        assert!(ports.iter().all(|port| (64_000..=65_535).contains(port)));
    }
}

#[test]
fn random_ports_are_all_over_the_range_and_follow_from_the_seed() {
    let draw = |seed| {
        let mut table = Table::new(Nat::symmetric(), Rng::new(seed));
        (0..500).map(|peer| table.translate_out(0, inside(5), remote(9, peer)).unwrap()).collect::<Vec<_>>()
    };
    let ports = draw(1);
    assert_eq!(ports, draw(1));
    assert_ne!(ports, draw(2));
    assert!(ports.iter().all(|&port| port >= 1024));
    assert!(ports.iter().any(|&port| port < 6000) && ports.iter().any(|&port| port > 60_000));
}

#[test]
fn filters_let_in_whom_they_should() {
    let asked = remote(9, 1);
    let knocks = [asked, remote(9, 2), remote(10, 1)];
    let admitted = |setup: Nat| {
        let mut table = table(setup);
        let port = table.translate_out(0, inside(5000), asked).unwrap();
        knocks.map(|from| table.translate_in(1, from, port) == Ok(inside(5000)))
    };
    assert_eq!(admitted(Nat::full_cone()), [true; 3]);
    assert_eq!(admitted(Nat::address_restricted()), [true, true, false]);
    for restricted in [Nat::port_restricted(), Nat::linux(), Nat::linux_open(), Nat::symmetric()] {
        assert_eq!(admitted(restricted), [true, false, false], "{restricted:?}");
    }
    for (filter, expected) in [
        (NatFilter::EndpointIndependent, [true; 3]),
        (NatFilter::AddressDependent, [true, true, false]),
        (NatFilter::AddressAndPortDependent, [true, false, false]),
    ] {
        assert_eq!(admitted(Nat::symmetric().filter(filter)), expected, "symmetric, {filter:?}");
    }
}

#[test]
fn a_firewall_translates_nothing_and_filters_by_flow() {
    let mut table = table(Nat::firewall());
    let filter = NatFilter::AddressAndPortDependent;
    assert_eq!(table.pass_in(0, remote(9, 1), inside(5000), filter), Err(NatRefusal::Filtered));
    table.pass_out(0, inside(5000), remote(9, 1)).unwrap();
    assert_eq!(table.pass_in(0, remote(9, 1), inside(5000), filter), Ok(()));
    assert_eq!(table.pass_in(0, remote(9, 1), inside(5001), filter), Err(NatRefusal::Filtered));
    assert_eq!(table.pass_in(0, remote(9, 2), inside(5000), filter), Err(NatRefusal::Filtered));
}

#[test]
fn whoever_knocks_too_early_at_an_open_box_moves_the_mapping() {
    let (server, peer) = (remote(1, 1), remote(9, 1));
    for (setup, moves) in [
        (Nat::linux_open(), true),
        (Nat::linux(), false),
        // Its port has an owner whoever comes, so the box does not take what is not meant for it.
        (Nat::port_restricted().input_open(true), false),
    ] {
        let mut table = table(setup);
        assert_eq!(table.translate_out(0, inside(5000), server), Ok(5000));
        let refusal = table.translate_in(1, peer, 5000).unwrap_err();
        let port = table.translate_out(2, inside(5000), peer).unwrap();
        assert_eq!(port != 5000, moves, "{setup:?}");
        assert_eq!(refusal == NatRefusal::Taken, moves, "{refusal}");
        assert_eq!(table.moved, u64::from(moves));
        // The way to the server is what it was.
        assert_eq!(table.translate_in(2, server, 5000), Ok(inside(5000)));
        // The peer speaks to the box itself, or to the host, and to the moved port if it learns of it.
        assert_eq!(table.translate_in(3, peer, 5000).is_ok(), !moves);
        assert_eq!(table.translate_in(3, peer, port), Ok(inside(5000)));
    }
}

#[test]
fn a_box_forgets_who_has_knocked_and_whoever_goes_first_is_not_moved() {
    let peer = remote(9, 1);
    let mut late = table(Nat::linux_open());
    assert_eq!(late.translate_in(0, peer, 5000), Err(NatRefusal::Taken));
    assert_eq!(late.translate_out(31 * SECOND, inside(5000), peer), Ok(5000));
    let mut first = table(Nat::linux_open());
    assert_eq!(first.translate_out(0, inside(5000), peer), Ok(5000));
    assert_eq!(first.translate_in(1, peer, 5000), Ok(inside(5000)));
}

#[test]
fn what_is_unanswered_is_forgotten_after_30_s_and_what_is_answered_after_120() {
    let peer = remote(9, 1);
    for kind in NatKind::ALL.into_iter().filter(|&kind| kind != NatKind::Firewall) {
        let mut table = table(kind.nat());
        let port = table.translate_out(0, inside(5000), peer).unwrap();
        assert!(table.translate_in(30 * SECOND, peer, port).is_err(), "{kind}");
        let port = table.translate_out(40 * SECOND, inside(5000), peer).unwrap();
        table.translate_in(41 * SECOND, peer, port).unwrap();
        table.translate_in(160 * SECOND, peer, port).unwrap();
        assert!(table.translate_in(280 * SECOND, peer, port).is_err(), "{kind}");
        assert_eq!(table.live(280 * SECOND), 0);
    }
}

#[test]
fn a_plain_time_out_is_the_same_whether_answered_or_not() {
    let peer = remote(9, 1);
    let plain = NatTimeouts::plain(std::time::Duration::from_secs(30));
    let mut table = table(Nat::port_restricted().timeouts(plain));
    let port = table.translate_out(0, inside(5000), peer).unwrap();
    table.translate_in(SECOND, peer, port).unwrap();
    assert_eq!(table.translate_in(30 * SECOND, peer, port), Ok(inside(5000)));
    assert!(table.translate_in(60 * SECOND, peer, port).is_err());
}

#[test]
fn a_box_that_counts_only_what_goes_out_is_not_kept_open_from_outside() {
    let peer = remote(9, 1);
    let mut table = table(Nat::symmetric().inbound_refreshes(false));
    let port = table.translate_out(0, inside(5000), peer).unwrap();
    for second in 1..30 {
        assert_eq!(table.translate_in(second * SECOND, peer, port), Ok(inside(5000)));
    }
    assert!(table.translate_in(31 * SECOND, peer, port).is_err());
}

#[test]
fn a_new_mapping_after_a_time_out_is_another_port_where_ports_are_random() {
    let peer = remote(9, 1);
    for (setup, same) in [(Nat::symmetric(), false), (Nat::carrier(), false), (Nat::port_restricted(), true)]
    {
        let mut table = table(setup);
        let port = table.translate_out(0, inside(5000), peer).unwrap();
        let again = table.translate_out(100 * SECOND, inside(5000), peer).unwrap();
        assert_eq!(port == again, same, "{setup:?}");
    }
}

#[test]
fn two_hosts_with_one_port_share_it_only_where_peers_tell_them_apart() {
    let other = SocketAddr::from(([192, 168, 1, 3], 5000));
    for (kind, shared) in
        [(NatKind::PortRestricted, false), (NatKind::FullCone, false), (NatKind::Linux, true)]
    {
        let mut table = table(kind.nat());
        assert_eq!(table.translate_out(0, inside(5000), remote(9, 1)), Ok(5000));
        assert_eq!(table.translate_out(0, other, remote(10, 1)) == Ok(5000), shared, "{kind}");
        // One peer cannot tell them apart.
        assert_ne!(table.translate_out(0, other, remote(9, 1)), Ok(5000), "{kind}");
        assert_eq!(table.translate_in(0, remote(9, 1), 5000), Ok(inside(5000)), "{kind}");
    }
}

#[test]
fn each_address_inside_has_ports_of_its_own_block_only() {
    let mut table = table(Nat::symmetric().block(Some(100)).first_port(10_000));
    let ports = |table: &mut Table, host: u8| -> Vec<u16> {
        let socket = SocketAddr::from(([192, 168, 1, host], 5000));
        (0..100).map(|peer| table.translate_out(0, socket, remote(9, peer)).unwrap()).collect()
    };
    let blocks: Vec<Vec<u16>> = (2..10).map(|host| ports(&mut table, host)).collect();
    let mut begins: Vec<_> = blocks
        .iter()
        .map(|block| {
            let (least, most) = (block.iter().min().unwrap(), block.iter().max().unwrap());
            assert_eq!((least - 10_000) / 100, (most - 10_000) / 100, "{least}..{most}");
            (least - 10_000) / 100
        })
        .collect();
    begins.sort_unstable();
    begins.dedup();
    assert_eq!(begins.len(), 8);
    // The block is used up for a peer that has all of it.
    let mut one = self::table(Nat::full_cone().block(Some(10)));
    let used = (0..11).map(|port| one.translate_out(0, inside(port), remote(9, 1)));
    assert_eq!(used.filter(|port| *port == Err(NatRefusal::NoPort)).count(), 1);
}

#[test]
fn everything_is_forgotten_after_a_reboot() {
    for kind in NatKind::ALL.into_iter().filter(|&kind| kind != NatKind::Firewall) {
        let mut table = table(kind.nat());
        let port = table.translate_out(0, inside(5000), remote(9, 1)).unwrap();
        table.reboot();
        assert!(table.translate_in(1, remote(9, 1), port).is_err(), "{kind}");
        assert_eq!(table.live(1), 0);
    }
}

#[test]
fn tables_are_bounded_and_have_room_again_when_something_has_expired() {
    for kind in NatKind::ALL {
        let mut table = table(kind.nat().capacity(100));
        let mut out = |now, port, peer| match kind {
            NatKind::Firewall => table.pass_out(now, inside(port), peer).map(|()| 0),
            _ => table.translate_out(now, inside(port), peer),
        };
        let fresh: Vec<_> = (0..300).map(|peer| out(0, peer, remote(9, peer))).collect();
        assert_eq!(fresh.iter().filter(|made| made.is_ok()).count(), 100, "{kind}");
        assert_eq!(fresh[200], Err(NatRefusal::Full));
        assert!(out(SECOND, 50, remote(9, 50)).is_ok(), "{kind}: what is known takes no room");
        assert_eq!(out(29 * SECOND, 7000, remote(10, 1)), Err(NatRefusal::Full));
        // All but the one that was used since.
        let later: Vec<_> = (0..300).map(|peer| out(30 * SECOND, peer, remote(11, peer))).collect();
        assert_eq!(later.iter().filter(|made| made.is_ok()).count(), 99, "{kind}");
        let memory = &table.memory;
        let sizes = [memory.replies.len(), memory.owners.len(), memory.contacts.len(), memory.holds.len()];
        assert!(sizes.iter().all(|&len| len <= 200), "{kind}: {sizes:?}");
    }
    let mut knocked = table(Nat::linux_open().capacity(100));
    let taken =
        (0..300).filter(|&port| knocked.translate_in(0, remote(9, 1), port) == Err(NatRefusal::Taken));
    assert_eq!(taken.count(), 100);
    assert_eq!(knocked.translate_in(31 * SECOND, remote(9, 1), 300), Err(NatRefusal::Taken));
}
