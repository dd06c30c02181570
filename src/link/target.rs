//! The packets that everything depends on: which they are, and the how manieth of its connection each is.
//!
//! Looks into headers, on both directions of a line, and remembers a bounded number of connections. Drops nothing
//! itself.

use std::fmt;

use super::line::Direction;
use crate::wire::{ConnId, Kind, Packet, SeqNr};

/// A kind of packet that a connection has few of and needs badly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PacketClass {
    /// The first packet of a connection.
    Syn,
    /// The acceptor's answer to it: an acknowledgement of the SYN and of nothing else.
    SynReply,
    /// The first packet with data in that direction.
    FirstData,
    /// The end of that direction.
    Fin,
    /// An acknowledgement, in that direction, of the other's end.
    LastAck,
    /// The refusal.
    Reset,
}

impl PacketClass {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Syn, Self::SynReply, Self::FirstData, Self::Fin, Self::LastAck, Self::Reset];
}

impl fmt::Display for PacketClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syn => "SYN",
            Self::SynReply => "SYN-reply",
            Self::FirstData => "first DATA",
            Self::Fin => "FIN",
            Self::LastAck => "last ACK",
            Self::Reset => "RESET",
        })
    }
}

/// Which packets of a class are lost, on every connection of the line: one transmission, or some in a row.
///
/// ```
/// use ebbtide::link::{PacketClass, Target};
/// assert_eq!(Target::first(PacketClass::SynReply, 3).to_string(), "SYN-reply 1 to 3");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    class: PacketClass,
    from: u32,
    count: u32,
}

impl Target {
    /// The first so many transmissions.
    #[must_use]
    pub const fn first(class: PacketClass, count: u32) -> Self {
        Self { class, from: 1, count }
    }

    /// Transmission number `n` alone, counted from 1.
    #[must_use]
    pub const fn nth(class: PacketClass, n: u32) -> Self {
        Self { class, from: n, count: 1 }
    }

    pub(super) fn hits(self, seen: Sighting) -> bool {
        seen.class == self.class && seen.number >= self.from && seen.number - self.from < self.count
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { class, from, count } = self;
        match count {
            1 => write!(f, "{class} {from}"),
            _ => write!(f, "{class} {from} to {}", u64::from(*from) + u64::from(*count) - 1),
        }
    }
}

/// A packet of a class, and the how manieth of its connection and direction, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sighting {
    class: PacketClass,
    number: u32,
}

/// How many connections of a line are told apart. Another one takes the place of the oldest.
const CONNECTIONS_MAX: usize = 64;

/// What is known about the connections of a line.
#[derive(Debug, Default)]
pub(crate) struct Tracker {
    known: Vec<Connection>,
    /// The place of the oldest, once all are taken.
    oldest: usize,
}

/// Fields in pairs are those of [`Direction::There`] and [`Direction::Back`].
#[derive(Clone, Copy, Debug, Default)]
struct Connection {
    /// The ids that packets in either direction carry, as far as known.
    ids: [Option<ConnId>; 2],
    /// Direction and number of the SYN, if it was seen.
    syn: Option<(usize, SeqNr)>,
    first_data: [Option<SeqNr>; 2],
    fin: [Option<SeqNr>; 2],
    seen: [[u32; PacketClass::ALL.len()]; 2],
}

impl Tracker {
    /// Takes note of a packet, and says whether it is of a class.
    pub(crate) fn sight(&mut self, direction: Direction, datagram: &[u8]) -> Option<Sighting> {
        let packet = Packet::decode(datagram).ok()?;
        let way = direction as usize;
        let place = self.place(way, &packet);
        let connection = &mut self.known[place];
        let class = connection.classify(way, &packet)?;
        let number = &mut connection.seen[way][class as usize];
        *number = number.saturating_add(1);
        Some(Sighting { class, number: *number })
    }

    fn place(&mut self, way: usize, packet: &Packet<'_>) -> usize {
        let id = packet.header.conn_id;
        let found = match packet.header.kind {
            Kind::Syn => self.known.iter().position(|known| {
                known.syn == Some((way, packet.header.seq)) && known.ids[1 - way] == Some(id)
            }),
            // It may carry the id of either direction.
            Kind::Reset => self.known.iter().position(|known| known.ids.contains(&Some(id))),
            _ => self.known.iter().position(|known| known.is_of(way, id)),
        };
        let place = found.unwrap_or_else(|| self.add());
        let known = &mut self.known[place];
        match packet.header.kind {
            Kind::Syn => {
                known.syn = Some((way, packet.header.seq));
                known.ids[way] = Some(id.next());
                known.ids[1 - way] = Some(id);
            }
            Kind::Reset => {}
            _ => known.ids[way] = Some(id),
        }
        place
    }

    fn add(&mut self) -> usize {
        if self.known.len() < CONNECTIONS_MAX {
            self.known.push(Connection::default());
            return self.known.len() - 1;
        }
        let place = self.oldest;
        self.oldest = (place + 1) % CONNECTIONS_MAX;
        self.known[place] = Connection::default();
        place
    }
}

impl Connection {
    /// The ids of the two directions are neighbours, so a connection whose SYN nobody saw can be put together.
    fn is_of(&self, way: usize, id: ConnId) -> bool {
        match self.ids {
            ids if ids[way].is_some() => ids[way] == Some(id),
            ids => ids[1 - way].is_some_and(|other| other == id.next() || id == other.next()),
        }
    }

    fn classify(&mut self, way: usize, packet: &Packet<'_>) -> Option<PacketClass> {
        let header = &packet.header;
        match header.kind {
            Kind::Syn => Some(PacketClass::Syn),
            Kind::Reset => Some(PacketClass::Reset),
            Kind::Fin => {
                self.fin[way] = Some(header.seq);
                Some(PacketClass::Fin)
            }
            Kind::Data => {
                let first = *self.first_data[way].get_or_insert(header.seq);
                (first == header.seq).then_some(PacketClass::FirstData)
            }
            Kind::State if self.syn == Some((1 - way, header.ack)) => Some(PacketClass::SynReply),
            Kind::State if self.fin[1 - way] == Some(header.ack) => Some(PacketClass::LastAck),
            Kind::State => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Direction::{Back, There};
    use super::*;
    use crate::link::tests::packet;

    #[test]
    fn the_packets_of_a_connection_are_told_apart_and_numbered() {
        use PacketClass as Class;
        let script = [
            (There, Kind::Syn, 65_535, 65_534, 0, Some((Class::Syn, 1))),
            (There, Kind::Syn, 65_535, 65_534, 0, Some((Class::Syn, 2))),
            (Back, Kind::State, 65_535, 7, 65_534, Some((Class::SynReply, 1))),
            (There, Kind::State, 0, 65_535, 6, None),
            (There, Kind::Data, 0, 65_535, 6, Some((Class::FirstData, 1))),
            (There, Kind::Data, 0, 0, 6, None),
            (There, Kind::Data, 0, 65_535, 6, Some((Class::FirstData, 2))),
            (There, Kind::Fin, 0, 1, 6, Some((Class::Fin, 1))),
            (Back, Kind::State, 65_535, 7, 0, None),
            (Back, Kind::State, 65_535, 7, 1, Some((Class::LastAck, 1))),
            (Back, Kind::Fin, 65_535, 7, 1, Some((Class::Fin, 1))),
            (There, Kind::State, 0, 1, 7, Some((Class::LastAck, 1))),
            (There, Kind::Reset, 65_535, 1, 7, Some((Class::Reset, 1))),
            // A connection whose SYN was never seen.
            (There, Kind::Fin, 301, 50, 9, Some((Class::Fin, 1))),
            (Back, Kind::State, 300, 9, 50, Some((Class::LastAck, 1))),
        ];
        let mut tracker = Tracker::default();
        for (way, kind, id, seq, ack, expected) in script {
            let seen = tracker.sight(way, &packet(kind, id, seq, ack));
            let seen = seen.map(|seen| (seen.class, seen.number));
            assert_eq!(seen, expected, "{kind} {id} {seq} {ack}");
        }
    }

    #[test]
    fn memory_is_bounded_whatever_comes() {
        let mut tracker = Tracker::default();
        for id in (0..2000).step_by(2) {
            tracker.sight(There, &packet(Kind::Syn, id, 1, 0));
        }
        assert_eq!(tracker.known.len(), CONNECTIONS_MAX);
        // The youngest is still known.
        let again = tracker.sight(There, &packet(Kind::Syn, 1998, 1, 0));
        assert_eq!(again, Some(Sighting { class: PacketClass::Syn, number: 2 }));
    }
}
