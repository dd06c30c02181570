//! STUN on the port: asked, answered, and told apart from what else comes there.

use super::*;
use crate::proto::endpoint::{Reflecting, Surveying};
use crate::proto::punch::NatReport;
use crate::proto::stun::StunError;
use crate::wire::{Mapping, StunBuf, StunClass, StunId, StunMessage};

const SERVER: &str = "198.51.100.9:3478";
const SEEN: &str = "203.0.113.7:40000";

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn ask(side: &Side, server: &str) -> Reflecting {
    side.lease.reflect(None, addr(server))
}

fn poll(asked: &mut Reflecting) -> Option<Result<SocketAddr, StunError>> {
    match asked.poll(&mut cx()) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    }
}

fn id_of(question: &Datagram) -> StunId {
    let message = StunMessage::decode(&question.1).unwrap();
    assert_eq!((message.class, question.1.len()), (StunClass::Request, 44));
    message.id
}

fn answer_to(question: &Datagram, seen: &str) -> Vec<u8> {
    StunBuf::success(id_of(question), addr(seen)).bytes().to_vec()
}

#[test]
fn a_question_is_asked_until_it_is_answered() {
    let mut side = Side::new(1, Config::default());
    let mut asked = ask(&side, SERVER);
    let sent = side.turn(Instant::ZERO);
    assert_eq!((sent.len(), sent[0].0), (1, addr(SERVER)));
    assert_eq!(side.endpoint.poll_timeout(), Some(Instant::ZERO + millis(250)));
    let later = Instant::ZERO + millis(250);
    let again = side.turn(later);
    assert_eq!(again, sent, "the same question");
    side.receive(later, addr("198.51.100.8:3478"), &answer_to(&sent[0], SEEN));
    assert_eq!(poll(&mut asked), None, "from somebody else");
    side.receive(later, addr(SERVER), &answer_to(&sent[0], SEEN));
    assert_eq!(poll(&mut asked), Some(Ok(addr(SEEN))));
    side.receive(later, addr(SERVER), &answer_to(&sent[0], SEEN));
    assert!(side.turn(later + secs(1)).is_empty(), "neither asked again nor answered with a RESET");
    assert_eq!(side.endpoint.poll_timeout(), None);
}

#[test]
fn whoever_gets_no_answer_hears_why() {
    let mut side = Side::new(1, Config::default());
    assert_eq!(poll(&mut ask(&side, "[2001:db8::1]:3478")), Some(Err(StunError::Unreachable)));
    assert_eq!(poll(&mut ask(&side, "224.0.0.1:3478")), Some(Err(StunError::Unreachable)));
    let mut asked = ask(&side, SERVER);
    let mut now = Instant::ZERO;
    let mut questions = 0;
    while poll(&mut asked).is_none() {
        questions += side.turn(now).len();
        now = side.endpoint.poll_timeout().unwrap_or(now);
    }
    assert_eq!(
        (poll(&mut asked), questions, now),
        (Some(Err(StunError::Timeout)), 5, Instant::ZERO + secs(3))
    );
    let mut refused = ask(&side, SERVER);
    let question = side.turn(now).remove(0);
    let refusal = StunBuf::unknown_attributes(id_of(&question), [0x8].into_iter());
    side.receive(now, addr(SERVER), refusal.bytes());
    assert_eq!(poll(&mut refused), Some(Err(StunError::Refused(420))));
}

#[test]
fn the_end_of_the_endpoint_answers_all_questions() {
    let mut side = Side::new(1, Config::default());
    let mut asked = ask(&side, SERVER);
    side.turn(Instant::ZERO);
    let mut unread = ask(&side, SERVER);
    side.endpoint.shut_down(CloseReason::EndpointClosed);
    for asked in [&mut asked, &mut unread, &mut ask(&side, SERVER)] {
        assert_eq!(poll(asked), Some(Err(StunError::Closed)));
    }
}

#[test]
fn a_question_that_is_taken_back_makes_room_for_another() {
    let mut side = Side::new(1, Config::default());
    let many: Vec<_> = (0..40).map(|_| ask(&side, SERVER)).collect();
    assert_eq!(side.turn(Instant::ZERO).len(), 32);
    let failed = many.into_iter().filter_map(|mut asked| poll(&mut asked)).collect::<Vec<_>>();
    assert_eq!(failed, [Err(StunError::Busy); 8]);
    let mut asked = ask(&side, SERVER);
    assert_eq!(side.turn(Instant::ZERO + millis(1)).len(), 1);
    assert_eq!(poll(&mut asked), None);
    drop(asked);
    assert!(side.turn(Instant::ZERO + millis(251)).is_empty());
    assert_eq!(side.endpoint.poll_timeout(), None);
}

#[test]
fn an_answer_among_the_packets_of_a_connection_is_neither_taken_for_one_nor_in_the_way() {
    let mut pair = Pair::new(Config::default());
    // The id is what the length of the answer looks like.
    let here = pair.a.lease.connect(pair.b.addr, Some(ConnId::new(24)));
    pair.settle();
    let there = pair.b.incoming().unwrap().accept();
    pair.settle();
    let mut asked = pair.a.lease.reflect(None, pair.b.addr);
    let question = pair.a.turn(pair.now).remove(0);
    assert!(matches!(there.try_write(&[7; 24]), Poll::Ready(Ok(24))));
    let data = pair.b.turn(pair.now).remove(0).1;
    let answer = answer_to(&question, "[2001:db8::1]:9");
    assert_eq!((data.len(), answer.len()), (44, 44));
    let path = pair.a.path(pair.b.addr);
    let run = [&data[..], &answer, &data, &answer].concat();
    pair.a.endpoint.handle_datagrams(pair.now, path, &run, 44);
    assert_eq!(poll(&mut asked), Some(Ok(addr("[2001:db8::1]:9"))));
    assert_eq!(read_some(&here), Some(vec![7; 24]));
    assert_eq!((here.stats().packets_duplicate, pair.a.endpoint.stats().resets_sent), (1, 0));
    assert_eq!(pair.a.dropped(), crate::stats::DropStats::default());
}

#[test]
fn an_answer_that_nobody_here_waits_for_goes_to_whoever_shares_the_port() {
    let mut side = Side::new(1, Config::default());
    side.lease.set_foreign(true);
    // Long enough to pass for a packet with a selective acknowledgement.
    let mut answer = StunBuf::success(StunId([9; 12]), addr(SEEN)).bytes().to_vec();
    for long in [false, true] {
        if long {
            answer.extend([0x80, 0x22, 0, 60].into_iter().chain([b'x'; 60]));
            answer[3] += 64;
        }
        side.receive(Instant::ZERO, addr(SERVER), &answer);
        assert!(side.turn(Instant::ZERO).is_empty(), "no RESET");
        let Poll::Ready(Some(foreign)) = side.lease.poll_foreign(&mut cx()) else { panic!("nothing came") };
        assert_eq!(foreign.bytes, answer);
    }
}

#[test]
fn a_server_tells_where_questions_come_from_and_only_while_it_is_one() {
    let mut side = Side::new(1, Config::default());
    let question = StunBuf::request(StunId([3; 12]));
    let hears = |side: &mut Side| {
        side.receive(Instant::ZERO, addr(SEEN), question.bytes());
        side.turn(Instant::ZERO)
    };
    assert!(hears(&mut side).is_empty());
    side.lease.serve_stun(true);
    side.turn(Instant::ZERO);
    let answers = hears(&mut side);
    assert_eq!((answers.len(), answers[0].0), (1, addr(SEEN)));
    let message = StunMessage::decode(&answers[0].1).unwrap();
    assert_eq!((message.id, message.mapped_address()), (StunId([3; 12]), Some(addr(SEEN))));
    side.lease.serve_stun(false);
    side.turn(Instant::ZERO);
    assert!(hears(&mut side).is_empty());
    assert_eq!(side.endpoint.stats().stun_answered, 1);
}

/// Questions of that length from many hosts of one network; returns bytes in and bytes out.
fn flood(question: &[u8], count: u64) -> (u64, u64) {
    let mut side = Side::new(1, Config::default());
    side.lease.serve_stun(true);
    side.turn(Instant::ZERO);
    let (mut bytes_in, mut bytes_out) = (0, 0);
    for number in 0..count {
        let now = Instant::ZERO + millis(number);
        let from = SocketAddr::from(([203, 0, 113, number as u8], 1000));
        side.receive(now, from, question);
        bytes_in += question.len() as u64;
        bytes_out += side.turn(now).iter().map(|(_, datagram)| datagram.len() as u64).sum::<u64>();
    }
    (bytes_in, bytes_out)
}

#[test]
fn n10_a_server_sends_no_more_than_it_got_unless_it_is_ten_times_a_second() {
    let id = StunId([3; 12]);
    let (bytes_in, bytes_out) = flood(StunBuf::request(id).bytes(), 5000);
    eprintln!("n10 filled up: bound={bytes_in} bytes measured={bytes_out}");
    assert!(bytes_out > 0 && bytes_out <= bytes_in);
    let mut bare = StunBuf::request(id).bytes()[..20].to_vec();
    bare[3] = 0;
    let (_, bytes_out) = flood(&bare, 5000);
    // Ten at once, and ten for each of the five seconds.
    let bound = 60 * 32;
    eprintln!("n10 bare: bound={bound} bytes measured={bytes_out}");
    assert!(bytes_out > 40 * 32 && bytes_out <= bound);
}

#[test]
fn n10_answers_that_wait_to_be_sent_are_bounded() {
    let mut side = Side::new(1, Config::default());
    side.lease.serve_stun(true);
    side.turn(Instant::ZERO);
    for _ in 0..5000 {
        side.receive(Instant::ZERO, addr(SEEN), StunBuf::request(StunId([3; 12])).bytes());
    }
    let sent = side.turn(Instant::ZERO).len();
    eprintln!("n10 bound=256 answers measured={sent}");
    assert_eq!(sent, 256);
    let stats = side.endpoint.stats();
    assert_eq!((stats.stun_answered, stats.stun_withheld), (256, 4744));
}

fn survey(side: &Side, servers: &[&str]) -> Surveying {
    let servers: Vec<_> = servers.iter().map(|server| addr(server)).collect();
    side.lease.survey(Instant::ZERO, &servers)
}

#[test]
fn a_survey_asks_on_two_ports_and_compares() {
    let mut side = Side::new(1, Config::default());
    let mut surveying = survey(&side, &[SERVER]);
    let questions = side.turn(Instant::ZERO);
    assert_eq!(questions.iter().map(|(to, _)| to.port()).collect::<Vec<_>>(), [3478, 3479]);
    let later = Instant::ZERO + millis(20);
    for (question, seen) in questions.iter().zip(["203.0.113.7:40000", "203.0.113.7:40001"]) {
        assert_eq!(surveying.poll(&mut cx(), later, &[]), Poll::Pending);
        side.receive(later, question.0, &answer_to(question, seen));
    }
    let Poll::Ready(report) = surveying.poll(&mut cx(), later, &[side.addr]) else {
        panic!("all have answered")
    };
    assert_eq!(report.mapping, Mapping::EndpointDependent { step: 1, block: 2 });
    let mut none = survey(&side, &[SERVER]);
    for question in side.turn(later) {
        side.receive(later, question.0, &answer_to(&question, &side.addr.to_string()));
    }
    let report = none.poll(&mut cx(), later, &[side.addr]);
    assert!(matches!(report, Poll::Ready(NatReport { mapping: Mapping::None, .. })), "{report:?}");
}

#[test]
fn a_survey_that_nobody_answers_says_so_after_three_seconds() {
    let mut side = Side::new(1, Config::default());
    let mut surveying = survey(&side, &[SERVER]);
    let mut now = Instant::ZERO;
    let report = loop {
        side.turn(now);
        if let Poll::Ready(report) = surveying.poll(&mut cx(), now, &[]) {
            break report;
        }
        now = side.endpoint.poll_timeout().unwrap();
    };
    assert!(report.blocked && now == Instant::ZERO + secs(3));
    assert_eq!(surveying.failure(), Some(StunError::Timeout));
}
