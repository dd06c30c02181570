//! Row C: acknowledgements that we send, keepalives, and small writes.

use super::*;

#[test]
fn c22_a_held_small_packet_serves_as_tail_probe() {
    let mut raw = Raw::dialled(Config::default());
    raw.write(b"lost");
    assert_eq!(only(Kind::Data, &raw.hear()).len(), 1);
    raw.write(b"held");
    assert_eq!(raw.hear().len(), 0);
    let probe = raw.pass_hearing(millis(200));
    assert_eq!((probe.len(), probe[0].packet().payload), (1, &b"held"[..]));
}
