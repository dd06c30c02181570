//! What the tests of several parts of a link send.

use crate::wire::{ConnId, Delay, Extensions, Header, Kind, Packet, SeqNr, Timestamp};

/// A packet without payload, with these numbers.
pub(super) fn packet(kind: Kind, id: u16, seq: u16, ack: u16) -> Vec<u8> {
    let header = Header {
        kind,
        conn_id: ConnId::new(id),
        sent_at: Timestamp::new(0),
        delay: Delay::new(0),
        window: 0,
        seq: SeqNr::new(seq),
        ack: SeqNr::new(ack),
    };
    let mut bytes = Vec::new();
    Packet { header, extensions: Extensions::EMPTY, payload: &[] }.encode(&mut bytes);
    bytes
}
