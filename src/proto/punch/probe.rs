//! Probes and their answers, on the wire.
//!
//! ```text
//!   ST_STATE, random id and numbers     20 bytes
//!   mark: a token follows               10
//!   token, question or answer, padding  46      76 bytes, both
//! ```
//!
//! A uTP peer that knows nothing of this takes a probe for an acknowledgement of a connection that it does not have:
//! libutp answers with one RESET of 20 bytes, libtorrent with nothing. A SYN would have cost it a socket. Knows the
//! bytes, and nothing of when they are sent.

use std::net::SocketAddr;

use crate::time::Instant;
use crate::wire::{
    ConnId, Delay, Extension, HEADER_LEN, Header, Kind, Mark, MarkFlags, Own, Packet, SeqNr, Tag, Token, Txn,
};

/// Ours: the bytes of a probe, and of its answer: room for a token, an answer, and an IPv6 address.
pub const PROBE_LEN: usize = HEADER_LEN + 10 + 2 + OWN_LEN;

/// Ours: what the fields of a probe are padded to, so that an answer is never longer.
const OWN_LEN: usize = 44;

/// A packet of a punch, as it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Chosen by its receiver, if its sender may send it.
    pub token: Token,
    /// What it is for.
    pub kind: ProbeKind,
    /// The bytes of the datagram: what an answer may have at most.
    pub len: usize,
}

/// What a probe is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeKind {
    /// Wants an answer.
    Question {
        /// To be repeated in the answer.
        txn: Txn,
        /// The number that decides who starts the connection, if nobody else has.
        tie_break: Option<u64>,
    },
    /// The answer.
    Answer {
        /// The question.
        echo: Txn,
        /// From where the question came.
        observed: Option<SocketAddr>,
    },
}

impl Probe {
    /// Reads a packet that belongs to no connection; `None` if it is something else.
    #[must_use]
    pub fn read(packet: &Packet<'_>) -> Option<Self> {
        if packet.header.kind != Kind::State || !packet.payload.is_empty() {
            return None;
        }
        let mark = packet.extensions.mark()?;
        if !mark.flags.contains(MarkFlags::MORE) {
            return None;
        }
        let own = packet.extensions.own_block().ok()??;
        let kind = match (own.txn, own.txn_echo) {
            (_, Some(echo)) => ProbeKind::Answer { echo, observed: own.observed },
            (Some(txn), None) => ProbeKind::Question { txn, tie_break: own.tie_break },
            (None, None) => return None,
        };
        Some(Self { token: own.token?, kind, len: packet.encoded_len() })
    }
}

/// The numbers in the header of a probe, which mean nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Disguise {
    pub(super) id: ConnId,
    pub(super) seq: SeqNr,
    pub(super) ack: SeqNr,
}

/// Writes a question or an answer for the peer with that token.
pub(super) fn write(
    now: Instant,
    disguise: Disguise,
    token: Token,
    kind: ProbeKind,
    out: &mut [u8; PROBE_LEN],
) {
    let Disguise { id, seq, ack } = disguise;
    let header = Header {
        kind: Kind::State,
        conn_id: id,
        sent_at: now.stamp(),
        delay: Delay::NONE,
        window: 0,
        seq,
        ack,
    };
    let mark = Mark { flags: MarkFlags::MORE | MarkFlags::SIMULTANEOUS, tag: Tag::default() };
    let token = Some(token);
    let own = match kind {
        ProbeKind::Question { txn, tie_break } => Own { token, txn: Some(txn), tie_break, ..Own::default() },
        ProbeKind::Answer { echo, observed } => {
            Own { token, txn_echo: Some(echo), observed, ..Own::default() }
        }
    };
    let (head, chain) = out.split_first_chunk_mut::<HEADER_LEN>().unwrap_or_else(|| unreachable!());
    header.write(Extension::BITS, head);
    chain[..2].copy_from_slice(&[Extension::EBBTIDE, 8]);
    chain[2..10].copy_from_slice(&mark.encode());
    chain[10..12].copy_from_slice(&[0, OWN_LEN as u8]);
    let mut fields = &mut chain[12..];
    let written = own.encode(OWN_LEN, &mut fields);
    debug_assert!(written.is_ok() && fields.is_empty(), "three fields fit");
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn written(kind: ProbeKind) -> [u8; PROBE_LEN] {
        let disguise = Disguise { id: ConnId::new(0xFFFF), seq: SeqNr::new(65_535), ack: SeqNr::new(65_530) };
        let mut out = [0xEE; PROBE_LEN];
        write(Instant::from_micros(7), disguise, Token::new(0x0102_0304_0506_0708), kind, &mut out);
        out
    }

    #[test]
    fn a_probe_is_an_acknowledgement_of_seventy_six_bytes_that_libutp_can_read() {
        let bytes = written(ProbeKind::Question { txn: Txn::new(9), tie_break: None });
        assert_eq!(bytes.len(), 76);
        assert_eq!(bytes[..2], [0x21, 2], "ST_STATE, and the first extension is one that libutp knows");
        assert_eq!(bytes[20..32], [0xB5, 8, 0x55, 0x78, 0x10, 0x12, 0, 0, 0, 0, 0, 44]);
        assert_eq!(bytes[32..42], [1, 8, 1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn what_is_written_is_read() {
        let six = "[2001:db8::1]:9".parse().unwrap();
        for kind in [
            ProbeKind::Question { txn: Txn::new(9), tie_break: Some(u64::MAX) },
            ProbeKind::Question { txn: Txn::new(9), tie_break: None },
            ProbeKind::Answer { echo: Txn::new(9), observed: Some(six) },
            ProbeKind::Answer { echo: Txn::new(9), observed: "192.0.2.1:9".parse().ok() },
        ] {
            let bytes = written(kind);
            let probe = Probe::read(&Packet::decode(&bytes).unwrap()).unwrap();
            assert_eq!(probe, Probe { token: Token::new(0x0102_0304_0506_0708), kind, len: PROBE_LEN });
        }
    }

    #[test]
    fn other_packets_are_no_probes() {
        let bytes = written(ProbeKind::Question { txn: Txn::new(9), tie_break: None });
        let changed = |at: usize, to: u8| {
            let mut bytes = bytes;
            bytes[at] = to;
            Packet::decode(&bytes).is_ok_and(|packet| Probe::read(&packet).is_some())
        };
        assert!(changed(4, 0xFF), "the time may be anything");
        assert!(!changed(0, 0x41), "a SYN");
        assert!(!changed(22, 0), "no mark");
        assert!(!changed(25, 0), "nothing follows the mark");
        assert!(!changed(32, 0x7F), "no token");
        assert!(!changed(42, 0x7F), "neither question nor answer");
        assert!(!changed(32, 0x80), "something that must be understood");
        let payload = [&bytes[..], b"x"].concat();
        assert_eq!(Probe::read(&Packet::decode(&payload).unwrap()), None);
    }
}
