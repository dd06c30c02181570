//! Row B: how a connection comes to be.

use super::*;

#[test]
fn b06_numbers_of_a_handshake_that_we_start() {
    let mut raw = Raw::dialling(config());
    let syn = raw.hear();
    assert_eq!(syn.len(), 1);
    let header = syn[0].header();
    assert_eq!((header.kind, header.conn_id, header.seq), (Kind::Syn, OUR_ID, OUR_SYN));
    assert_eq!((header.ack, header.delay), (SeqNr::new(0), Delay::NONE));
    raw.pass(Duration::from_millis(20));
    raw.say(Kind::State, b"");
    assert!(raw.conn.is_connected());
    assert_eq!(raw.conn.write(b"hello"), WriteOutcome::Written(5));
    let data = raw.hear().into_iter().find(|heard| heard.kind() == Kind::Data).unwrap();
    assert_eq!(data.header().seq, OUR_SYN.next());
    assert_eq!(data.header().ack, THEIR_FIRST.prev(), "a SYN-ACK does not use up its number");
    assert_eq!(data.header().conn_id, OUR_ID.next());
    raw.ack = OUR_SYN.next();
    raw.say(Kind::Data, b"first");
    assert_eq!(raw.read(), b"first");
}

#[test]
fn a_clean_transfer_both_ways_ends_well() {
    Pair::new(config()).transfer([3_000_000, 2_000_000], Duration::from_secs(60));
}

#[test]
fn a_lossy_transfer_both_ways_ends_well() {
    let mut pair = Pair::new(config());
    pair.link = Box::new(|side, n, _| {
        let period = if side == 0 { 33 } else { 47 };
        if n % period == period - 1 { vec![] } else { vec![ONE_WAY] }
    });
    pair.transfer([1_000_000, 1_000_000], Duration::from_secs(120));
}

#[test]
fn b09_a_lost_third_leg_is_repeated_until_there_is_data() {
    let mut raw = Raw::dialling(config());
    raw.hear();
    raw.say(Kind::State, b"");
    let start = raw.now;
    let legs: Vec<_> = raw.pass_hearing(secs(14)).iter().map(|leg| leg.at.since(start).as_secs()).collect();
    assert_eq!(legs, [0, 1, 3, 7]);
    for heard in [true, false] {
        let mut raw = Raw::dialled(config());
        if heard {
            raw.say(Kind::Data, b"I know you");
        } else {
            raw.write(b"my first packet is proof");
        }
        raw.hear();
        raw.acknowledge_all();
        assert_eq!(raw.pass_hearing(secs(14)).len(), 0);
    }
}

#[test]
fn b09_a_server_that_speaks_first_outlives_a_lost_third_leg() {
    let mut pair = Pair::new(config());
    pair.link = Box::new(|side, n, _| if side == 0 && n == 1 { vec![] } else { vec![ONE_WAY] });
    pair.outgoing[1] = b"welcome".to_vec();
    assert!(pair.run(secs(5), |pair| pair.incoming[0] == b"welcome"));
}

#[test]
fn b11_an_unproved_address_receives_no_more_than_was_sent_from_it() {
    for abort_first in [true, false] {
        let mut raw = Raw::dialled_by(config(), syn());
        raw.write(&[0; 5000]);
        raw.conn.finish();
        let mut heard = vec![];
        if !abort_first {
            heard.extend(raw.hear());
        }
        raw.conn.abort();
        heard.extend(raw.pass_hearing(secs(20)));
        assert_eq!(heard.iter().map(|heard| heard.bytes.len()).sum::<usize>(), HEADER_LEN);
        assert_eq!(heard[0].kind() == Kind::Reset, abort_first);
        assert!(raw.conn.is_drained());
    }
}
