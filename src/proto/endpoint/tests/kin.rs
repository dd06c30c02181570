//! Endpoints of this crate's making recognise each other, and nobody else notices.

use super::*;
use crate::proto::conn::Role;
use crate::wire::{Extension, ExtensionsBuf, HEADER_LEN, Mark, MarkFlags, Tag};

/// What leaves, decoded by whoever looks.
fn packets(sent: &[Datagram]) -> Vec<Packet<'_>> {
    sent.iter().map(|(_, bytes)| Packet::decode(bytes).unwrap()).collect()
}

fn marked(header: Header, mark: Mark) -> Vec<u8> {
    let mut chain = ExtensionsBuf::new();
    chain.push(Extension::BITS, &mark.encode()).unwrap();
    let mut out = Vec::new();
    Packet { header, extensions: chain.as_extensions(), payload: &[] }.encode(&mut out);
    out
}

#[test]
fn n01_an_answer_is_never_longer_than_the_syn() {
    for (migration, extensions) in [(true, true), (false, true), (true, false)] {
        let config = Config::default().migration(migration).extensions(extensions);
        for peer in ["192.0.2.2:4000", "[2001:db8::2]:4000"] {
            let mut side = Side::listening(2, config.clone());
            let mut dialler = Side::new(1, config.clone());
            dialler.endpoint.add_socket("[2001:db8::1]:4000".parse().unwrap());
            let _handle = dialler.lease.connect(peer.parse().unwrap(), None);
            let syn = dialler.turn(Instant::ZERO).remove(0).1;
            let from = if peer.starts_with('[') { "[2001:db8::1]:4000" } else { "198.51.100.1:4000" };
            side.receive(Instant::ZERO, from.parse().unwrap(), &syn);
            let _accepted = side.incoming().unwrap().accept();
            let answer = side.turn(Instant::ZERO).remove(0).1;
            assert!(answer.len() <= syn.len(), "{} for {}, {peer}", answer.len(), syn.len());
            let mark = Packet::decode(&answer).unwrap().extensions.mark();
            assert_eq!(mark.is_some(), extensions);
            let observed = Packet::decode(&answer).unwrap().extensions.own_block().unwrap();
            assert_eq!(observed.is_some_and(|own| own.observed.is_some()), migration && extensions);
        }
    }
}

#[test]
fn n22_two_endpoints_recognise_each_other_and_data_shows_nothing() {
    let mut pair = Pair::new(Config::default());
    let (ours, theirs) = pair.connect();
    assert!(ours.peer_is_ebbtide() && theirs.peer_is_ebbtide());
    assert_eq!((ours.role(), theirs.role()), (Role::Initiator, Role::Acceptor));
    assert_eq!(ours.observed_addr(), Some(pair.a.addr));
    assert_eq!(ours.try_write(&[7; 5000]), Poll::Ready(Ok(5000)));
    let sent = pair.a.turn(pair.now);
    assert!(packets(&sent).iter().all(|packet| packet.extensions.is_empty()), "data carries nothing");
    assert!(packets(&sent).iter().any(|packet| packet.header.kind == Kind::Data));
}

#[test]
fn n22_a_peer_that_skips_extensions_is_an_ordinary_one() {
    for configs in [[true, false], [false, true]] {
        let [a, b] = configs.map(|extensions| Config::default().extensions(extensions));
        let mut pair = Pair::new(a);
        pair.b = Side::listening(2, b);
        let (ours, theirs) = pair.connect();
        assert!(!ours.peer_is_ebbtide() && !theirs.peer_is_ebbtide());
        assert_eq!(ours.try_write(b"hello"), Poll::Ready(Ok(5)));
        pair.settle();
        assert_eq!(read_some(&theirs).unwrap(), b"hello");
    }
}

#[test]
fn n22_only_the_right_tag_from_the_other_role_counts() {
    let now = Instant::ZERO;
    let mut side = Side::new(1, Config::default());
    let handle = side.lease.connect(stranger(1), Some(ConnId::new(0xFFFE)));
    let sent = side.turn(now);
    let syn = packets(&sent)[0];
    let tag = syn.extensions.mark().unwrap().tag;
    let answer = header(Kind::State, 0xFFFE, 65_535, syn.header.seq.get());
    let wrong = Tag::new(tag.get() ^ 1);
    for mark in [Mark { flags: MarkFlags::ACCEPTOR, tag: wrong }, Mark { flags: MarkFlags::NONE, tag }] {
        side.receive(now, stranger(1), &marked(answer, mark));
        side.turn(now);
        assert!(handle.poll_connected(&mut cx()).is_pending(), "{mark:?}");
    }
    side.receive(now, stranger(1), &marked(answer, Mark { flags: MarkFlags::ACCEPTOR, tag }));
    side.turn(now);
    assert!(handle.poll_connected(&mut cx()).is_ready() && handle.peer_is_ebbtide());

    // A RESET that names the wrong tag is somebody else's.
    let reset = Header { seq: SeqNr::new(0), ack: syn.header.seq, ..header(Kind::Reset, 0xFFFF, 0, 0) };
    let reset = Header { ack: syn.header.seq.next(), ..reset };
    side.receive(now, stranger(1), &marked(reset, Mark { flags: MarkFlags::ACCEPTOR, tag: wrong }));
    side.turn(now);
    assert_eq!(handle.close_reason(), None);
    side.receive(now, stranger(1), &marked(reset, Mark { flags: MarkFlags::ACCEPTOR, tag }));
    side.turn(now);
    assert_eq!(handle.close_reason(), Some(CloseReason::Reset));
}

#[test]
fn n23_the_third_syn_that_nobody_answers_is_bare_and_otherwise_the_same() {
    let mut side = Side::new(1, Config::default());
    let _handle = side.lease.connect(stranger(1), None);
    let mut syns = Vec::new();
    for second in [0, 1, 3, 7] {
        syns.extend(side.turn(Instant::ZERO + secs(second)));
    }
    let syns = packets(&syns);
    assert_eq!(
        syns.iter().map(|syn| syn.extensions.is_empty()).collect::<Vec<_>>(),
        [false, false, true, false]
    );
    let names = |syn: &Packet<'_>| (syn.header.conn_id, syn.header.seq);
    assert!(syns.iter().all(|syn| names(syn) == names(&syns[0])));
    assert_eq!(syns[0].extensions, syns[1].extensions);
    assert_eq!(syns[2].encoded_len(), HEADER_LEN);
}

#[test]
fn n23_a_bare_repetition_gets_a_bare_answer_and_the_stream_finds_out_later() {
    let mut pair = Pair::new(Config::default());
    let ours = pair.a.lease.connect(pair.b.addr, None);
    // The first two get through, their answers do not.
    let mut theirs = None;
    for second in [0, 1, 3] {
        let now = Instant::ZERO + secs(second);
        for (_, syn) in pair.a.turn(now) {
            pair.b.receive(now, pair.a.addr, &syn);
        }
        theirs = pair.b.incoming().map(Incoming::accept).or(theirs);
        let answers = pair.b.turn(now);
        assert_eq!(packets(&answers)[0].extensions.is_empty(), second == 3);
        if second == 3 {
            pair.a.receive(now, pair.b.addr, &answers[0].1);
        }
        pair.now = now;
    }
    let theirs = theirs.unwrap();
    pair.settle();
    assert!(ours.poll_connected(&mut cx()).is_ready());
    assert!(!ours.peer_is_ebbtide() && theirs.peer_is_ebbtide());
    // The acceptor's keepalive is a question, which tells.
    pair.under_way = [pair.b.turn(pair.now), pair.a.turn(pair.now)];
    pair.pass(secs(40));
    assert!(ours.peer_is_ebbtide());
}

#[test]
fn n24_an_answer_that_is_forgotten_repeats_the_tag_and_a_question_tells_the_rest() {
    let mut pair = Pair::new(Config::default().half_open(1));
    pair.b.hears(pair.now, stranger(9), syn(77, 1));
    let ours = pair.a.lease.connect(pair.b.addr, None);
    let sent = pair.a.turn(pair.now);
    pair.b.receive(pair.now, pair.a.addr, &sent[0].1);
    let answers = pair.b.turn(pair.now);
    assert_eq!(pair.b.endpoint.stats().cookies_sent, 1);
    let [syn, answer] = [packets(&sent)[0], packets(&answers)[0]];
    assert_eq!(answer.extensions.mark().unwrap().tag, syn.extensions.mark().unwrap().tag);
    assert_eq!(answer.encoded_len(), 30);
    pair.under_way = [answers, Vec::new()];
    pair.settle();
    assert!(ours.peer_is_ebbtide());
    let theirs = pair.b.incoming().unwrap().accept();
    pair.settle();
    assert!(theirs.peer_is_ebbtide(), "the question has told");
    // A SYN without a mark is answered as before.
    let bare = pair.b.hears(pair.now, stranger(8), super::syn(99, 1));
    pair.b.hears(pair.now, stranger(7), super::syn(101, 1));
    assert!(bare.iter().all(|answer| answer.kind == Kind::State));
    assert_eq!(ours.try_write(b"hello"), Poll::Ready(Ok(5)));
    pair.settle();
    assert_eq!(read_some(&theirs).unwrap(), b"hello");
}

#[test]
fn n25_a_keepalive_between_two_of_ours_is_a_question_and_its_answer() {
    let mut pair = Pair::new(Config::default());
    let (ours, theirs) = pair.connect();
    let before = [ours.stats().packets_received, theirs.stats().packets_received];
    pair.pass(secs(60));
    let after = [ours.stats().packets_received, theirs.stats().packets_received];
    for (before, after) in before.iter().zip(after) {
        assert!((3..=9).contains(&(after - before)), "{} packets in a minute", after - before);
    }
}
