//! Packets that nobody asked for, of every kind that an endpoint throws away. Knows nothing of who receives them.

use std::net::SocketAddr;

use ebbtide::wire::{ConnId, Delay, HEADER_LEN, Header, Kind, SeqNr, Timestamp};

/// A stray, and where it claims to come from.
pub struct Stray {
    pub from: SocketAddr,
    pub bytes: Vec<u8>,
}

/// As many of them, from as many addresses. One in eight carries the id `used`, which belongs to somebody else.
pub fn strays(count: u32, used: ConnId) -> Vec<Stray> {
    (0..count).map(|number| stray(number, used)).collect()
}

fn stray(number: u32, used: ConnId) -> Stray {
    // Any mixture will do that repeats itself late.
    let mixed = number.wrapping_mul(0x9e37_79b9);
    let [a, b, c, d] = mixed.to_be_bytes();
    let (id, seq) = (ConnId::new(u16::from_be_bytes([a, b])), SeqNr::new(u16::from_be_bytes([c, d])));
    let packet = |kind, conn_id, payload: usize| {
        let sent_at = Timestamp::new(mixed);
        let header =
            Header { kind, conn_id, sent_at, delay: Delay::NONE, window: 1 << 20, seq, ack: seq.prev() };
        let mut bytes = [0; HEADER_LEN];
        header.write(0, &mut bytes);
        [&bytes[..], &vec![0x5a; payload]].concat()
    };
    let bytes = match number % 8 {
        0 => packet(Kind::Data, id, 100),
        1 => packet(Kind::State, id, 0),
        2 => packet(Kind::Fin, id, 0),
        3 => packet(Kind::Reset, id, 0),
        4 => packet(Kind::Syn, id, 0),
        5 => {
            // An extension that does not fit.
            let mut bytes = packet(Kind::State, id, 6);
            bytes[1] = 1;
            bytes[HEADER_LEN + 1] = 200;
            bytes
        }
        6 => b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe".to_vec(),
        _ => packet(Kind::Data, used, 1000),
    };
    Stray { from: SocketAddr::from(([10, b, c, d], 1024 + u16::from(a))), bytes }
}
