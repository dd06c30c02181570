//! Two endpoints that were told of each other, with nothing between them but time.

use super::*;
use crate::proto::conn::Role;
use crate::proto::endpoint::{Mover, PunchHandle, SocketRequest};
use crate::proto::punch::{PunchError, PunchPlan, PunchReport, PunchRole, Start};
use crate::wire::{Candidate, CandidateKind, Mapping, NatClass, Session, Token};

fn plan(side: usize, peer: SocketAddr) -> PunchPlan {
    let role = if side == 0 { PunchRole::Initiator } else { PunchRole::Acceptor };
    let tokens = [Token::new(0xAAAA), Token::new(0xBBBB)];
    let candidates = vec![Candidate::new(CandidateKind::Reflexive, peer)];
    PunchPlan::new(Session::new([7; 16]), role, tokens[side], tokens[1 - side], candidates)
}

fn done(handle: &mut PunchHandle) -> Option<Result<(Handle, PunchReport), PunchError>> {
    match handle.poll_done(&mut cx()) {
        Poll::Ready(outcome) => Some(outcome),
        Poll::Pending => None,
    }
}

/// Two that do not listen.
fn strangers(config: Config) -> Pair {
    let mut pair = Pair::new(config.clone());
    pair.b = Side::new(2, config);
    pair
}

fn meet(pair: &mut Pair) -> [PunchHandle; 2] {
    let (a, b) = (pair.a.lease.punch(plan(0, pair.b.addr)), pair.b.lease.punch(plan(1, pair.a.addr)));
    pair.pass(millis(500));
    [a, b]
}

#[test]
fn two_who_were_told_of_each_other_get_one_stream_each_and_nobody_else_hears_of_it() {
    let mut pair = strangers(Config::default());
    let [mut a, mut b] = meet(&mut pair);
    let (ours, report) = done(&mut a).unwrap().unwrap();
    let (theirs, _) = done(&mut b).unwrap().unwrap();
    // This wire knows no hops: openers arrive.
    assert!(report.probes_sent > 0 && report.probes_seen > 0 && report.path.is_some(), "{report:?}");
    assert_eq!((ours.role(), theirs.role()), (Role::Initiator, Role::Acceptor));
    assert_eq!(ours.try_write(b"hello"), Poll::Ready(Ok(5)));
    pair.settle();
    assert_eq!(read_some(&theirs).unwrap(), b"hello");
    assert_eq!((pair.a.endpoint.connections(), pair.b.endpoint.connections()), (1, 1));
    assert!(pair.a.incoming().is_none() && pair.b.incoming().is_none());
    drop((ours, theirs));
    pair.pass(secs(120));
    assert_eq!((pair.a.endpoint.connections(), pair.b.endpoint.connections()), (0, 0));
    assert!(pair.a.endpoint.poll_timeout().is_none(), "nothing of the punch is left");
}

/// Looks for another way for a stream.
fn again(side: &Side, number: usize, peer: SocketAddr, stream: &Mover) -> PunchHandle {
    let plan = PunchPlan { session: Session::new([8; 16]), ..plan(number, peer) };
    side.lease.punch_again(plan, stream)
}

#[test]
fn n46_a_stream_goes_on_when_its_ends_have_met_again_if_both_would_follow() {
    for migration in [true, false] {
        let mut pair = strangers(Config::default().migration(migration));
        let streams = meet(&mut pair).map(|mut handle| done(&mut handle).unwrap().unwrap().0);
        let [a, b] = [&streams[0], &streams[1]].map(Handle::mover);
        let handles = [again(&pair.a, 0, pair.b.addr, &a), again(&pair.b, 1, pair.a.addr, &b)];
        pair.pass(millis(500));
        for mut handle in handles {
            match done(&mut handle).unwrap() {
                Ok(_) => assert!(migration),
                Err(error) => assert!(!migration && matches!(error, PunchError::Vanilla(_)), "{error}"),
            }
        }
        pair.pass(secs(60));
        assert_eq!((pair.a.endpoint.connections(), pair.b.endpoint.connections()), (1, 1));
        assert_eq!(streams[0].try_write(b"still there"), Poll::Ready(Ok(11)));
        pair.pass(secs(1));
        assert_eq!(read_some(&streams[1]).unwrap(), b"still there");
        drop(streams);
        pair.pass(secs(120));
        let mut late = again(&pair.a, 0, pair.b.addr, &a);
        assert!(matches!(done(&mut late), Some(Err(PunchError::Cancelled(_)))), "it is over");
    }
}

#[test]
fn n48_who_does_not_have_the_other_end_of_a_stream_does_not_meet_it_again() {
    let mut pair = strangers(Config::default());
    let streams = meet(&mut pair).map(|mut handle| done(&mut handle).unwrap().unwrap().0);
    let mut ours = again(&pair.a, 0, pair.b.addr, &streams[0].mover());
    let plan = PunchPlan { session: Session::new([8; 16]), ..plan(1, pair.a.addr) };
    let mut theirs = pair.b.lease.punch(plan);
    pair.pass(secs(30));
    assert!(matches!(done(&mut ours), Some(Err(_))) && matches!(done(&mut theirs), Some(Err(_))));
    assert!(streams.iter().all(|stream| stream.close_reason().is_none()));
}

#[test]
fn openers_are_out_when_ready_is_told_and_go_begins_at_once() {
    let mut pair = strangers(Config::default());
    let wait = Start::OnGo { server_rtt: secs(1) };
    let plans = [plan(0, pair.b.addr), plan(1, pair.a.addr)].map(|plan| PunchPlan { start: wait, ..plan });
    let [first, second] = plans;
    let (mut a, mut b) = (pair.a.lease.punch(first), pair.b.lease.punch(second));
    assert!(a.poll_ready(&mut cx()).is_pending());
    let sent = pair.a.turn(pair.now);
    assert_eq!((sent.len(), pair.a.batch.ttl()), (1, None), "the batch is cleared behind the last one");
    pair.pass(millis(100));
    assert!(a.poll_ready(&mut cx()).is_ready() && b.poll_ready(&mut cx()).is_ready());
    // This wire knows no hops, so the openers have arrived, and have been answered.
    a.go();
    b.go();
    pair.pass(millis(100));
    assert!(done(&mut a).unwrap().is_ok() && done(&mut b).unwrap().is_ok());
}

#[test]
fn n03_to_a_probe_with_a_wrong_token_nothing_is_answered_with_or_without_a_punch() {
    let mut asker = Side::new(3, Config::default());
    let victim = Side::new(1, Config::default());
    let wrong = PunchPlan { remote_token: Token::new(1), ..plan(0, victim.addr) };
    let _asking = asker.lease.punch(wrong);
    let mut probes = Vec::new();
    for millis_in in 0..3000 {
        probes.extend(asker.turn(Instant::ZERO + millis(millis_in)));
    }
    assert!(probes.len() > 10);
    for punching in [false, true] {
        let mut victim = Side::listening(1, Config::default());
        let _punch = punching.then(|| victim.lease.punch(plan(1, stranger(9))));
        let (mut bytes, mut now) = (0, Instant::ZERO);
        for (_, probe) in &probes {
            now = now + millis(10);
            victim.receive(now, asker.addr, probe);
            let sent = victim.turn(now);
            bytes +=
                sent.iter().filter(|(to, _)| *to == asker.addr).map(|(_, sent)| sent.len()).sum::<usize>();
        }
        println!("n03: {} probes with a wrong token, {bytes} bytes out, punching: {punching}", probes.len());
        assert_eq!(bytes, 0);
        assert_eq!(victim.endpoint.connections(), 0);
    }
}

#[test]
fn a_syn_of_a_punch_that_is_not_there_is_for_nobody() {
    let mut pair = Pair::new(Config::default());
    let mut handle = pair.a.lease.punch(plan(0, pair.b.addr));
    // The other side's answers, from one that has given up since.
    let gone = pair.b.lease.punch(plan(1, pair.a.addr));
    // Until the call is under way.
    for _ in 0..2 {
        pair.step();
    }
    drop(gone);
    pair.b.turn(pair.now);
    pair.pass(secs(20));
    assert!(matches!(done(&mut handle), Some(Err(PunchError::Timeout(_)))));
    assert!(pair.b.incoming().is_none(), "listeners have nothing to do with it");
    assert_eq!((pair.a.endpoint.connections(), pair.b.endpoint.connections()), (0, 0));
}

#[test]
fn a_punch_that_is_dropped_falls_silent() {
    let mut side = Side::new(1, Config::default());
    let handle = side.lease.punch(plan(0, stranger(1)));
    side.turn(Instant::ZERO);
    drop(handle);
    for later in 1..200 {
        assert!(side.turn(Instant::ZERO + millis(later * 100)).is_empty());
    }
    assert_eq!(side.endpoint.poll_timeout(), None);
}

#[test]
fn a_stream_that_nobody_collects_ends() {
    let mut pair = strangers(Config::default());
    let [a, mut b] = meet(&mut pair);
    let (theirs, _) = done(&mut b).unwrap().unwrap();
    drop(a);
    pair.settle();
    assert!(matches!(theirs.try_read(&mut [0; 8]), Poll::Ready(Ok(0))), "an ordinary end");
}

#[test]
fn n06_one_attempt_for_each_session_and_sixty_four_at_once() {
    let mut side = Side::new(1, Config::default());
    let _first = side.lease.punch(plan(0, stranger(1)));
    let mut second = side.lease.punch(plan(0, stranger(1)));
    side.turn(Instant::ZERO);
    assert!(matches!(done(&mut second), Some(Err(PunchError::SessionUsed(_)))));
    let mut others: Vec<_> = (1..80)
        .map(|n| side.lease.punch(PunchPlan { session: Session::new([100 + n; 16]), ..plan(0, stranger(1)) }))
        .collect();
    side.turn(Instant::ZERO);
    let refused =
        others.iter_mut().filter_map(done).filter(|end| matches!(end, Err(PunchError::TooMany(_)))).count();
    assert_eq!(refused, 80 - 64);
}

#[test]
fn closing_ends_punches_and_says_so() {
    let mut side = Side::new(1, Config::default());
    let mut handle = side.lease.punch(plan(0, stranger(1)));
    side.turn(Instant::ZERO);
    side.lease.close();
    side.turn(Instant::ZERO);
    assert!(matches!(done(&mut handle), Some(Err(PunchError::Cancelled(_)))));
    let mut late = side.lease.punch(plan(0, stranger(1)));
    assert!(matches!(done(&mut late), Some(Err(PunchError::Cancelled(_)))));
    let mut off = Side::new(1, Config::default().extensions(false));
    let mut handle = off.lease.punch(plan(0, stranger(1)));
    off.turn(Instant::ZERO);
    assert!(matches!(done(&mut handle), Some(Err(PunchError::SwitchedOff(_)))));
}

/// One that is behind a symmetric NAT.
fn hard(session: u8) -> PunchPlan {
    let mut plan = plan(1, stranger(session));
    plan.local.mapping = Mapping::EndpointDependent { step: 0, block: 0 };
    plan.remote = NatClass::new(Mapping::EndpointIndependent);
    PunchPlan { session: Session::new([session; 16]), ..plan }
}

/// Runs a side for that long and opens the sockets that it asks for. Returns how many it had at most, and when it
/// asked.
fn drive(side: &mut Side, from: Instant, time: Duration) -> (usize, Vec<Instant>) {
    let (mut open, mut most, mut asked, mut now) = (0, 0, Vec::new(), from);
    while now < from + time {
        side.turn(now);
        while let Some(request) = side.endpoint.poll_socket_request() {
            match request {
                SocketRequest::Open { like } => {
                    side.endpoint.socket_opened(like, SocketAddr::from(([192, 0, 2, 1], 5000 + open as u16)));
                    open += 1;
                    asked.push(now);
                }
                SocketRequest::Close(_) => open -= 1,
            }
        }
        most = most.max(open);
        now = now + millis(10);
    }
    assert_eq!(open, 0, "all are closed again");
    (most, asked)
}

#[test]
fn n08_a_search_takes_256_sockets_one_search_at_a_time_and_twenty_seconds_between() {
    let mut side = Side::new(1, Config::default());
    let _first = side.lease.punch(hard(1));
    let long = Duration::from_secs(60);
    let _second = side.lease.punch(PunchPlan { deadline: long, ..hard(2) });
    let (most, asked) = drive(&mut side, Instant::ZERO, secs(70));
    let first = asked.iter().filter(|at| **at < Instant::ZERO + secs(15)).count();
    let second = asked.iter().find(|at| **at >= Instant::ZERO + secs(15)).unwrap();
    println!("n08: {first} sockets, at most {most} at once, the next search {second} in");
    assert_eq!((most, first, asked.len()), (256, 256, 512));
    assert!(*second >= Instant::ZERO + secs(35), "the first one ended after 15 s");
}
