//! What a connection sends, packet by packet, against what it may send.

use ebbtide::proto::conn::ConnIds;
use ebbtide::wire::{HEADER_LEN, Header, Kind, Packet, SeqNr};

use super::pattern::stretch;

/// What has left so far.
#[derive(Debug)]
pub(crate) struct Outgoing {
    ids: ConnIds,
    mtu: usize,
    window_max: u32,
    /// Number of the first data packet.
    first: SeqNr,
    /// Number of the next new packet.
    next: SeqNr,
    /// From `first` on; no input makes so many that numbers come round.
    cut: Vec<Cut>,
    cut_bytes: usize,
    /// A full packet that later ones have overtaken, so that a peer which acknowledges it gives itself away.
    kept_back: Option<SeqNr>,
    fin: Option<SeqNr>,
    /// Bytes the application has written.
    pub(crate) written: usize,
    pub(crate) bytes: usize,
    round: Round,
}

/// What a number stands for.
#[derive(Clone, Copy, Debug)]
struct Cut {
    from: usize,
    len: usize,
    /// The round in which it left last.
    round: u64,
}

/// What has left since the last call to [`Outgoing::begin_round`].
#[derive(Debug, Default)]
struct Round {
    number: u64,
    acks: u32,
    others: u32,
}

impl Outgoing {
    pub(crate) fn new(ids: ConnIds, first: SeqNr, mtu: usize, window_max: usize) -> Self {
        Self {
            ids,
            mtu,
            window_max: u32::try_from(window_max).unwrap_or(u32::MAX),
            first,
            next: first,
            cut: Vec::new(),
            cut_bytes: 0,
            kept_back: None,
            fin: None,
            written: 0,
            bytes: 0,
            round: Round::default(),
        }
    }

    /// The last number that the peer can have heard of, with all before it.
    pub(crate) fn newest(&self) -> SeqNr {
        self.kept_back.unwrap_or(self.next).prev()
    }

    /// Time passed, a packet came, or the application did something.
    pub(crate) fn begin_round(&mut self) {
        self.round = Round { number: self.round.number + 1, ..Round::default() };
    }

    /// One packet that left.
    pub(crate) fn left(&mut self, datagram: &[u8]) {
        self.bytes += datagram.len();
        let packet = Packet::decode(datagram).unwrap_or_else(|error| panic!("{error}: {datagram:02x?}"));
        let header = packet.header;
        let id = if header.kind == Kind::Syn { self.ids.recv } else { self.ids.send };
        assert_eq!(header.conn_id, id, "{header:?}");
        assert!(datagram.len() <= self.mtu, "{} bytes: {header:?}", datagram.len());
        assert!(header.window <= self.window_max, "a window that was never granted: {header:?}");
        match header.kind {
            Kind::Data | Kind::Fin => {
                assert!(packet.extensions.is_empty());
                self.segment(&header, packet.payload);
            }
            Kind::State => {
                self.round.acks += 1;
                assert!(packet.payload.is_empty());
                // The one after the next, if the next is being kept back.
                let known = [self.next, self.next.prev(), self.next.next(), self.first];
                assert!(known.contains(&header.seq), "{header:?}, but {:?} is next", self.next);
            }
            Kind::Syn | Kind::Reset => {
                self.round.others += 1;
                assert_eq!(datagram.len(), 20);
            }
        }
        // Two acknowledgements after a FIN, an answer to a SYN, a keepalive; a SYN or a RESET.
        assert!(self.round.acks <= 4 && self.round.others <= 1, "more answers than questions");
    }

    fn segment(&mut self, header: &Header, payload: &[u8]) {
        let Header { seq, kind, .. } = *header;
        assert_eq!(payload.is_empty(), kind == Kind::Fin, "{header:?}");
        if seq == self.next.next() {
            assert_eq!(self.kept_back, None, "one at a time");
            self.kept_back = Some(self.next);
            self.cut(Kind::Data, self.mtu - HEADER_LEN);
        }
        if seq == self.next {
            self.cut(kind, payload.len());
        }
        self.kept_back = self.kept_back.filter(|kept| *kept != seq);
        let place = usize::from(seq.get().wrapping_sub(self.first.get()));
        let cut = self.cut.get_mut(place).unwrap_or_else(|| panic!("{seq} out of turn"));
        let Cut { from, len, round } = *cut;
        assert!(round < self.round.number, "{seq} was sent twice at once");
        cut.round = self.round.number;
        assert_eq!(len, payload.len(), "{seq} has changed its length");
        assert_eq!(self.fin == Some(seq), kind == Kind::Fin, "{header:?}");
        assert!(payload == stretch(from, len), "{seq} has other bytes");
    }

    /// The next number gets its place in the stream.
    fn cut(&mut self, kind: Kind, len: usize) {
        assert_eq!(self.fin, None, "nothing follows the end");
        if kind == Kind::Fin {
            assert_eq!(self.cut_bytes, self.written, "the end comes after all bytes");
            self.fin = Some(self.next);
        }
        let cut = Cut { from: self.cut_bytes, len, round: self.round.number - 1 };
        self.cut.push(cut);
        self.cut_bytes += len;
        assert!(self.cut_bytes <= self.written, "bytes that nobody wrote");
        self.next = self.next.next();
    }
}
