//! STUN: one message read twice, and an endpoint that asks and answers while anything comes.
//!
//! ```text
//!   input = datagrams: a byte of flags (see `Shape`), a byte of length, the datagram
//! ```

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use ebbtide::proto::batch::{Batch, Path, SocketId};
use ebbtide::proto::endpoint::Endpoint;
use ebbtide::wire::{StunBuf, StunClass, StunId, StunMessage};
use ebbtide::{Config, Instant};

use super::script::Script;
use super::tasks::cx;

/// Answers that may be longer than the question, at one moment and towards one network.
const LONGER_MAX: usize = 10;

/// Bytes of the header.
const HEADER: usize = 20;

/// Any datagrams: reading them ends and agrees with a slow reader; an endpoint is asked no more than it wants to be, and
/// believes nobody but the one it has asked.
pub fn stun(input: &[u8]) {
    read(input);
    let mut script = Script::new(input);
    let mut place = Place::new();
    while !script.is_over() {
        place.step(&mut script);
    }
    place.end();
}

fn read(input: &[u8]) {
    let slow = Slow::read(input);
    match StunMessage::decode(input) {
        Ok(message) => {
            let slow = slow.expect("read by one and not by the other");
            assert_eq!(message.mapped_address(), slow.mapped(message.id));
            assert_eq!(message.unknown().count(), slow.unknown());
            assert!(message.error().is_none_or(|(code, text)| (300..700).contains(&code) && text.is_ascii()));
            assert!(!format!("{message:?}").is_empty());
        }
        // A wrong fingerprint is the only thing that the slow reader does not look at.
        Err(error) => assert!(slow.is_none() || error.to_string().contains("fingerprint"), "{error}"),
    }
}

/// Type and value of each attribute, found the slow way.
struct Slow(Vec<(u16, Vec<u8>)>);

impl Slow {
    fn read(bytes: &[u8]) -> Option<Self> {
        let short = |at: usize| Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
        let fits = bytes.len() >= HEADER && usize::from(short(2)?) + HEADER == bytes.len();
        if !fits || !bytes.len().is_multiple_of(4) || bytes[0] >= 4 || bytes[4..8] != [0x21, 0x12, 0xA4, 0x42]
        {
            return None;
        }
        let (mut at, mut found) = (HEADER, Vec::new());
        while at < bytes.len() {
            let (kind, len) = (short(at)?, usize::from(short(at + 2)?));
            found.push((kind, bytes.get(at + 4..at + 4 + len)?.to_vec()));
            at += 4 + len + (4 - len % 4) % 4;
        }
        Some(Self(found))
    }

    fn mapped(&self, id: StunId) -> Option<SocketAddr> {
        let key = [&[0x21, 0x12, 0xA4, 0x42][..], &id.0].concat();
        let first = |wanted: u16| self.0.iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
        let read = |value: &Vec<u8>, masked: bool| {
            let unmask = |(at, byte): (usize, &u8)| if masked { byte ^ key[at] } else { *byte };
            let port: Vec<u8> = value.get(2..4)?.iter().enumerate().map(unmask).collect();
            let ip: Vec<u8> = value[4..].iter().take(16).enumerate().map(unmask).collect();
            let port = u16::from_be_bytes([port[0], port[1]]);
            match (value[1], value.len()) {
                (1, 8) => Some(SocketAddr::from((<[u8; 4]>::try_from(ip).ok()?, port))),
                (2, 20) => Some(SocketAddr::from((<[u8; 16]>::try_from(ip).ok()?, port))),
                _ => None,
            }
        };
        first(0x20)
            .and_then(|value| read(value, true))
            .or_else(|| first(1).and_then(|value| read(value, false)))
    }

    fn unknown(&self) -> usize {
        const KNOWN: [u16; 12] = [1, 4, 5, 6, 8, 9, 10, 0x14, 0x15, 0x1C, 0x20, 0x26];
        self.0.iter().filter(|(kind, _)| *kind < 0x8000 && !KNOWN.contains(kind)).count()
    }
}

/// An endpoint that answers questions and has asked one itself.
struct Place {
    endpoint: Endpoint,
    asked: ebbtide::proto::endpoint::Reflecting,
    id: StunId,
    batch: Batch,
    longer: usize,
    /// Somebody has answered in the name of the server, with the number of the question.
    answered: bool,
}

const SERVER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 9);
const STRANGER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2)), 9);

impl Place {
    fn new() -> Self {
        let mut endpoint = Endpoint::new(Arc::new(Config::default()), [7; 32]);
        endpoint.add_socket(SocketAddr::from(([10, 0, 0, 1], 9)));
        let shared = endpoint.shared();
        shared.serve_stun(true);
        let asked = shared.reflect(None, SERVER);
        let mut batch = Batch::new(1);
        endpoint.handle_mail(Instant::ZERO);
        assert!(endpoint.poll_transmit(Instant::ZERO, &mut batch).is_some(), "the question");
        let id = StunMessage::decode(batch.bytes()).expect("a question").id;
        Self { endpoint, asked, id, batch, longer: 0, answered: false }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        let flags = script.byte();
        let mut datagram = script.counted().to_vec();
        if flags & 1 != 0 && datagram.len() >= HEADER {
            shape(&mut datagram);
        }
        if flags & 2 != 0 && datagram.len() >= HEADER {
            datagram[8..HEADER].copy_from_slice(&self.id.0);
        }
        if flags & 4 != 0 {
            datagram =
                StunBuf::success(self.id, SocketAddr::from(([203, 0, 113, flags], 9))).bytes().to_vec();
        }
        let peer = if flags & 8 != 0 { SERVER } else { STRANGER };
        let message = StunMessage::decode(&datagram);
        self.answered |= peer == SERVER
            && message.is_ok_and(|message| {
                message.id == self.id && matches!(message.class, StunClass::Success | StunClass::Error)
            });
        let path = Path { socket: SocketId::new(0), peer };
        self.endpoint.handle_datagrams(Instant::ZERO, path, &datagram, datagram.len());
        while let Some(to) = self.endpoint.poll_transmit(Instant::ZERO, &mut self.batch) {
            assert_eq!(to, path, "an answer goes to whoever asked");
            let is_longer = self.batch.bytes().len() > datagram.len();
            self.longer += usize::from(is_longer && StunMessage::decode(self.batch.bytes()).is_ok());
        }
        assert!(self.longer <= LONGER_MAX, "more out than in");
        assert!(self.answered || self.asked.poll(&mut cx()).is_pending(), "somebody else was believed");
    }

    /// The question ends, whatever has come.
    fn end(mut self) {
        let mut now = Instant::ZERO;
        while self.asked.poll(&mut cx()).is_pending() {
            now =
                self.endpoint.poll_timeout().expect("a question that nobody answers has a deadline").max(now);
            assert!(now <= Instant::ZERO + Duration::from_secs(3));
            self.endpoint.handle_timeout(now);
            while self.endpoint.poll_transmit(now, &mut self.batch).is_some() {}
        }
        if let Poll::Ready(Ok(addr)) = self.asked.poll(&mut cx()) {
            assert!(addr.port() != 0 && !addr.ip().is_unspecified() && !addr.ip().is_multicast());
        }
    }
}

/// Makes it look like STUN.
fn shape(datagram: &mut Vec<u8>) {
    datagram.truncate(datagram.len() / 4 * 4);
    let len = u16::try_from(datagram.len() - HEADER).expect("at most 255 bytes");
    datagram[0] &= 3;
    datagram[2..4].copy_from_slice(&len.to_be_bytes());
    datagram[4..8].copy_from_slice(&[0x21, 0x12, 0xA4, 0x42]);
}
