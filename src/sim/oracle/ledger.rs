//! The oracle of amplification: what one host has taken from one address, and sent to it.
//!
//! An address is validated by the wire alone: a packet came from it that only somebody can send who has received what
//! we sent there. What the host's own application asked for, a SYN and the RESET that takes it back, is no answer to
//! anybody and is not counted.

use crate::wire::{ConnId, Kind, Packet, SeqNr};

/// Bytes between one host and one address, until that address has proved itself.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    validated: bool,
    bytes_in: u64,
    bytes_out: u64,
    /// Answers to probes that were repeated unasked.
    repeated: u8,
    /// Connections that this host has asked for: the id of the SYN, its number once it was sent, and whether a RESET has
    /// taken it back.
    own: Vec<(ConnId, Option<SeqNr>, bool)>,
    /// What was to be repeated by whoever receives there.
    challenges: Vec<u64>,
    /// Ids of SYNs that came, and the numbers with which they were answered.
    answers: Vec<(ConnId, Option<SeqNr>)>,
}

impl Ledger {
    /// The host itself wants a connection there: the SYN will have this id.
    pub(super) fn asked(&mut self, id: ConnId) {
        if !self.validated {
            self.own.push((id, None, false));
        }
    }

    /// A datagram came from there.
    pub(super) fn arrived(&mut self, len: usize, packet: Option<&Packet<'_>>) {
        if self.validated {
            return;
        }
        self.bytes_in += len as u64;
        let Some(header) = packet.map(|packet| packet.header) else { return };
        match header.kind {
            Kind::Syn => {
                if !self.answers.contains(&(header.conn_id, None)) {
                    self.answers.push((header.conn_id, None));
                }
            }
            Kind::State if self.is_answered(packet) => *self = Self { validated: true, ..Self::default() },
            Kind::Data | Kind::Fin | Kind::State => {
                let (id, acked) = (header.conn_id, header.ack);
                let answered =
                    |&(own, seq, _): &(ConnId, Option<SeqNr>, bool)| own == id && seq == Some(acked);
                let heard = |&(syn, seq): &(ConnId, Option<SeqNr>)| {
                    syn.next() == id && seq.is_some_and(|seq| seq.prev() == acked)
                };
                if self.own.iter().any(answered) || self.answers.iter().any(heard) {
                    *self = Self { validated: true, ..Self::default() };
                }
            }
            Kind::Reset => {}
        }
    }

    fn is_answered(&self, packet: Option<&Packet<'_>>) -> bool {
        let own = packet.and_then(|packet| packet.extensions.own_block().ok().flatten());
        own.and_then(|own| own.path_response).is_some_and(|response| self.challenges.contains(&response))
    }

    /// The answer to a probe leaves for there. The last one is repeated three times, since the peer may not know yet.
    pub(super) fn answered_probe(&mut self, len: usize) -> Result<(), String> {
        let free = self.bytes_out + len as u64 > self.bytes_in && self.repeated < 3;
        self.repeated += u8::from(free && !self.validated);
        if free { Ok(()) } else { self.sent(len, None) }
    }

    /// A datagram leaves for there. Returns what is wrong.
    pub(super) fn sent(&mut self, len: usize, packet: Option<&Packet<'_>>) -> Result<(), String> {
        if self.validated {
            return Ok(());
        }
        if let Some(header) = packet.map(|packet| packet.header) {
            let id = header.conn_id;
            match header.kind {
                Kind::Syn => {
                    let number = Some(header.seq);
                    let is_it = |own: &&mut (ConnId, Option<SeqNr>, bool)| {
                        own.0 == id && (own.1.is_none() || own.1 == number)
                    };
                    match self.own.iter_mut().find(is_it) {
                        Some(own) => own.1 = number,
                        None => self.own.push((id, number, false)),
                    }
                    return Ok(());
                }
                // Sent on the id on which the peer would receive.
                Kind::Reset => {
                    let taken_back = self.own.iter_mut().find(|own| own.0.next() == id && !own.2);
                    if let Some(own) = taken_back {
                        own.2 = true;
                        return Ok(());
                    }
                }
                Kind::State => {
                    let own = packet.and_then(|packet| packet.extensions.own_block().ok().flatten());
                    self.challenges.extend(own.and_then(|own| own.path_challenge));
                    let answer = (id, Some(header.seq));
                    let is_answer = self.answers.contains(&(id, None)) && !self.answers.contains(&answer);
                    if is_answer {
                        self.answers.push(answer);
                    }
                }
                Kind::Data | Kind::Fin => {}
            }
        }
        self.bytes_out += len as u64;
        let Self { bytes_in, bytes_out, .. } = self;
        if bytes_out <= bytes_in {
            return Ok(());
        }
        Err(format!("{bytes_out} bytes for {bytes_in} from an address that has proved nothing"))
    }
}
