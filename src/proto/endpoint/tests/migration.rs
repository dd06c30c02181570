//! A stream follows its peer to another address, and nobody else.

use super::*;
use crate::wire::{Extension, ExtensionsBuf, Mark, MarkFlags, Own, PathToken};

/// A pair whose first side is behind a NAT that may forget it.
struct Nat {
    pair: Pair,
    /// Where the first side seems to be.
    outside: SocketAddr,
    /// Bytes that were sent where it is not.
    astray: usize,
}

impl Nat {
    fn new(config: Config) -> (Self, Handle, Handle) {
        let mut pair = Pair::new(config);
        let (ours, theirs) = pair.connect();
        let outside = pair.a.addr;
        (Self { pair, outside, astray: 0 }, ours, theirs)
    }

    fn rebind(&mut self, addr: &str) {
        self.outside = addr.parse().unwrap();
    }

    fn step(&mut self) -> bool {
        let pair = &mut self.pair;
        pair.now = pair.now + millis(10);
        let [to_a, to_b] = std::mem::take(&mut pair.under_way);
        for (_, datagram) in &to_b {
            pair.b.receive(pair.now, self.outside, datagram);
        }
        for (to, datagram) in &to_a {
            if *to == self.outside {
                pair.a.receive(pair.now, pair.b.addr, datagram);
            } else {
                self.astray += datagram.len();
            }
        }
        pair.under_way = [pair.b.turn(pair.now), pair.a.turn(pair.now)];
        pair.under_way.iter().any(|datagrams| !datagrams.is_empty())
    }

    fn pass(&mut self, time: Duration) {
        let end = self.pair.now + time;
        while self.pair.now < end {
            if !self.step() {
                let sides = [&self.pair.a, &self.pair.b];
                let next = sides.into_iter().filter_map(|side| side.endpoint.poll_timeout()).min();
                self.pair.now = next.unwrap_or(end).min(end).max(self.pair.now);
            }
        }
    }
}

/// Reads whatever there is.
fn drain(handle: &Handle) -> usize {
    std::iter::from_fn(|| read_some(handle).map(|read| read.len()).filter(|len| *len > 0)).sum()
}

#[test]
fn n40_a_stream_survives_that_its_peer_comes_from_elsewhere_whoever_sends() {
    for (uploads, elsewhere) in [
        (true, "192.0.2.1:4001"),
        (false, "192.0.2.1:4001"),
        (true, "203.0.113.9:77"),
        (false, "203.0.113.9:77"),
    ] {
        let (mut nat, ours, theirs) = Nat::new(Config::default());
        let (from, to) = if uploads { (&ours, &theirs) } else { (&theirs, &ours) };
        let (mut written, mut read, mut longest, mut last) = (0, 0, Duration::ZERO, nat.pair.now);
        while read < 6_000_000 {
            if let Poll::Ready(Ok(len)) = from.try_write(&vec![7; 100_000.min(6_000_000 - written)]) {
                written += len;
            }
            nat.pair.under_way[0].extend(nat.pair.b.turn(nat.pair.now));
            nat.pair.under_way[1].extend(nat.pair.a.turn(nat.pair.now));
            nat.pass(millis(20));
            let came = drain(to);
            if came > 0 {
                longest = longest.max(nat.pair.now.since(last));
                last = nat.pair.now;
            }
            read += came;
            if read > 2_000_000 && nat.outside == nat.pair.a.addr {
                nat.rebind(elsewhere);
            }
            assert!(nat.pair.now < Instant::ZERO + secs(300), "{read} bytes, uploads: {uploads}");
        }
        assert_eq!(theirs.peer_addr(), nat.outside);
        assert_eq!(nat.pair.b.endpoint.stats().migrations, 1);
        assert!(longest <= secs(3), "stalled for {longest:?}, uploads: {uploads}");
        drop((ours, theirs));
        nat.pass(secs(60));
        nat.pair.a.assert_empty();
        nat.pair.b.assert_empty();
    }
}

#[test]
fn n40_an_idle_stream_is_followed_at_the_next_question() {
    let (mut nat, ours, theirs) = Nat::new(Config::default());
    nat.rebind("192.0.2.1:4001");
    nat.pass(secs(40));
    assert_eq!(theirs.peer_addr(), nat.outside);
    assert_eq!(theirs.try_write(b"still there"), Poll::Ready(Ok(11)));
    nat.pair.under_way[0].extend(nat.pair.b.turn(nat.pair.now));
    nat.pass(secs(1));
    assert_eq!(read_some(&ours).unwrap(), b"still there");
    nat.pass(secs(40));
    assert_eq!(ours.observed_addr(), Some(nat.outside));
}

#[test]
fn n41_without_migration_the_stream_stays_where_it_was() {
    let (mut nat, ours, theirs) = Nat::new(Config::default().migration(false));
    nat.rebind("192.0.2.1:4001");
    assert_eq!(ours.try_write(b"lost"), Poll::Ready(Ok(4)));
    nat.pair.under_way[1].extend(nat.pair.a.turn(nat.pair.now));
    nat.pass(secs(20));
    assert_eq!(theirs.peer_addr(), nat.pair.a.addr);
    assert_eq!(ours.close_reason(), Some(CloseReason::Reset));
}

#[test]
fn n41_a_stream_that_the_peer_has_lost_is_reset_after_one_question() {
    let (mut nat, ours, theirs) = Nat::new(Config::default());
    theirs.abort();
    let _lost = nat.pair.b.turn(nat.pair.now);
    drop(theirs);
    let _lost = nat.pair.b.turn(nat.pair.now);
    assert_eq!(ours.try_write(b"anybody?"), Poll::Ready(Ok(8)));
    nat.pair.under_way = [Vec::new(), nat.pair.a.turn(nat.pair.now)];
    nat.pass(millis(200));
    assert_eq!(ours.close_reason(), Some(CloseReason::Reset));
}

/// What somebody says who has seen some packets of a stream, or guesses.
fn claim(nat: &Nat, ours: &Handle, mark: Option<Mark>, own: Own<'_>) -> Vec<u8> {
    let stats = nat.pair.a.endpoint.stats();
    assert_eq!(stats.connections, 1);
    let mut chain = ExtensionsBuf::new();
    if let Some(mark) = mark {
        chain.push(Extension::BITS, &mark.encode()).unwrap();
        let mut block = Vec::new();
        own.encode(20, &mut block).unwrap();
        chain.push(Extension::EBBTIDE, &block).unwrap();
    }
    let header = header(Kind::State, ours.conn_ids().send.get(), 0, 0);
    let mut out = Vec::new();
    Packet { header, extensions: chain.as_extensions(), payload: &[] }.encode(&mut out);
    out
}

#[test]
fn n42_nobody_takes_a_stream_along_who_cannot_name_it() {
    let (mut nat, ours, theirs) = Nat::new(Config::default());
    let attacker = stranger(66);
    let mut bytes_in = 0;
    let mut bytes_out = 0;
    for guess in 0..20_000u64 {
        let token = PathToken::new(guess.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let tag = crate::wire::Tag::new(guess as u32);
        let own = Own { path_token: Some(token), path_response: Some(guess), ..Own::default() };
        let mark = (guess % 3 != 0).then_some(Mark { flags: MarkFlags::PING | MarkFlags::MORE, tag });
        let packet = claim(&nat, &ours, mark, own);
        bytes_in += packet.len();
        nat.pair.b.receive(nat.pair.now, attacker, &packet);
        let sent = nat.pair.b.turn(nat.pair.now);
        bytes_out +=
            sent.iter().filter(|(to, _)| *to == attacker).map(|(_, bytes)| bytes.len()).sum::<usize>();
        assert!(bytes_out <= bytes_in);
        nat.pair.now = nat.pair.now + millis(1);
    }
    assert_eq!(theirs.peer_addr(), nat.pair.a.addr);
    assert_eq!(nat.pair.b.endpoint.stats().migrations, 0);
    assert!(ours.close_reason().is_none() && theirs.close_reason().is_none());
}

#[test]
fn n43_who_repeats_what_he_has_seen_from_elsewhere_gets_less_than_he_sends_and_no_stream() {
    let (mut nat, ours, theirs) = Nat::new(Config::default());
    // A question, seen on its way, which names the stream.
    let question = loop {
        nat.pair.now = nat.pair.now + secs(1);
        let sent = nat.pair.a.turn(nat.pair.now);
        let names = |bytes: &[u8]| Packet::decode(bytes).unwrap().extensions.own().is_some();
        if let Some((_, bytes)) = sent.into_iter().find(|(_, bytes)| names(bytes)) {
            break bytes;
        }
    };
    let named = Packet::decode(&question).unwrap().extensions.own_block().unwrap().unwrap().path_token;
    assert!(named.is_some());
    let victim = stranger(66);
    let mut out = 0;
    for _ in 0..1000 {
        nat.pair.b.receive(nat.pair.now, victim, &question);
        out += nat.pair.b.turn(nat.pair.now).iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
    }
    assert!(out <= 1000 * question.len(), "{out} bytes for {}", 1000 * question.len());
    assert_eq!(theirs.peer_addr(), nat.pair.a.addr, "it has proved nothing");
    assert_eq!(ours.close_reason(), None);
    nat.pass(secs(2));
    assert_eq!((nat.pair.b.endpoint.stats().migrations, nat.astray), (0, 0));
}

#[test]
fn n43_what_still_comes_from_the_old_address_is_taken_for_a_while() {
    let (mut nat, ours, theirs) = Nat::new(Config::default());
    let old = nat.outside;
    assert_eq!(ours.try_write(b"late"), Poll::Ready(Ok(4)));
    let late = nat.pair.a.turn(nat.pair.now);
    nat.rebind("192.0.2.1:4001");
    while nat.pair.b.endpoint.stats().migrations == 0 {
        nat.pass(millis(100));
        assert!(nat.pair.now < Instant::ZERO + secs(60));
    }
    let _unread = drain(&theirs);
    let routes = nat.pair.b.endpoint.routes.len();
    assert_eq!(routes, 2, "the old one is kept");
    nat.pair.b.receive(nat.pair.now, old, &late[0].1);
    assert_eq!(nat.pair.b.dropped().bad_reset, 0);
    nat.pass(secs(5));
    assert_eq!(nat.pair.b.endpoint.routes.len(), 1);
}
