//! Two sessions, and a cable between them that the fuzzer holds in its hands.
//!
//! ```text
//!   input = 2 bytes: limits, room of a cable; then commands, one byte of which the low half says what happens and the
//!           highest bit to which side
//! ```

use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use ebbtide::packet::{Packet, PacketCodec};
use ebbtide::session::{ProtocolError, SendError, Session, SessionConfig, SessionError};
use futures_core::Stream;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::runtime::{Builder, Handle};
use tokio::task::yield_now;
use tokio_util::codec::Encoder;

use super::script::Script;
use super::tasks::{cx, ignore};

/// Bytes of payload, at most.
const PAYLOAD_MAX: usize = 64;

/// Turns that the tasks of two connections need to come to rest, at most.
const TURNS: usize = 6;

/// Times that a cable is emptied until everything has to be through: a packet at a time, and its acknowledgement.
const CARRIES_MAX: usize = 20_000;

/// Sessions are plugged together, torn apart and lied to as the bytes say. Without lies each packet arrives exactly once
/// and in order, and over a cable that holds all of them do; with lies all limits hold. In the end no task is left.
pub fn session(input: &[u8]) {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        let mut script = Script::new(input);
        let mut talk = Talk::new(&mut script);
        while !script.is_over() {
            talk.step(&mut script).await;
        }
        talk.end().await;
        assert_eq!(Handle::current().metrics().num_alive_tasks(), 0, "a task has outlived its session");
    });
}

struct Side {
    session: Session,
    /// Everything that was taken to be sent.
    sent: Vec<Packet>,
    /// How many of the other side's have arrived.
    received: usize,
    closed: bool,
}

/// What connects the sides: two pipes, and what has been read from one and not written to the other.
struct Cable {
    ends: [DuplexStream; 2],
    on_the_way: [VecDeque<u8>; 2],
}

struct Talk {
    config: SessionConfig,
    cable_room: usize,
    sides: [Side; 2],
    cable: Option<Cable>,
    /// Somebody has lied: what arrives may be anything.
    tampered: bool,
}

impl Talk {
    fn new(script: &mut Script<'_>) -> Self {
        let config = SessionConfig {
            max_payload: PAYLOAD_MAX,
            queue_packets: script.pick(&[1, 2, 8, 64]),
            queue_bytes: script.pick(&[1, 100, 1000, 1 << 20]),
            ..SessionConfig::default()
        };
        let cable_room = script.pick(&[4096, 64, 16, 7]);
        let side =
            || Side { session: Session::with_config(config), sent: Vec::new(), received: 0, closed: false };
        Self { config, cable_room, sides: [side(), side()], cable: None, tampered: false }
    }

    async fn step(&mut self, script: &mut Script<'_>) {
        let command = script.byte();
        let at = usize::from(command >> 7);
        match command & 15 {
            0..=2 => self.send(at, script.byte()),
            3 => self.receive(at),
            4 => self.plug(&[0, 1]),
            5 => self.plug(&[at]),
            6 => self.cable = None,
            7 => self.carry(at, script.byte().into()),
            8 => {
                self.carry(0, usize::MAX);
                self.carry(1, usize::MAX);
            }
            9 => self.sides[at].session.detach(),
            10 => {
                self.sides[at].closed = true;
                let session = self.sides[at].session.clone();
                ignore(pin!(session.close()).poll(&mut cx()));
            }
            11 => tokio::time::advance(Duration::from_millis(64 * u64::from(script.byte()))).await,
            12 => self.look_at_errors(at),
            13 => self.lie(at, script.counted()),
            14 => {
                let frame = self.frame(at, script);
                self.lie(at, &frame);
            }
            _ => {
                let lost = usize::from(script.byte());
                if let Some(cable) = &mut self.cable {
                    let way = &mut cable.on_the_way[at];
                    self.tampered |= lost > 0 && !way.is_empty();
                    way.drain(..lost.min(way.len()));
                }
            }
        }
        self.settle().await;
    }

    async fn settle(&self) {
        for _ in 0..TURNS {
            yield_now().await;
        }
        for side in &self.sides {
            assert!(side.session.unconfirmed() <= self.config.queue_packets);
        }
    }

    fn send(&mut self, at: usize, len: u8) {
        let side = &mut self.sides[at];
        let count = side.sent.len();
        let mut payload = vec![count as u8; usize::from(len) % (PAYLOAD_MAX + 8)];
        payload.iter_mut().zip(count.to_le_bytes()).for_each(|(to, from)| *to = from);
        let packet = Packet::new(len, payload);
        match side.session.try_send(packet.clone()) {
            Ok(()) => side.sent.push(packet),
            Err(SendError::TooLong(back)) => assert!(back == packet && packet.payload.len() > PAYLOAD_MAX),
            Err(SendError::Closed(back)) => {
                assert!(back == packet && (side.closed || self.sides[1 - at].closed || self.tampered));
            }
            Err(SendError::Full(back)) => assert!(back == packet),
            Err(error) => panic!("{error}"),
        }
    }

    fn receive(&mut self, at: usize) {
        let mut count = 0;
        while let Some(packet) = self.sides[at].session.try_recv() {
            count += 1;
            assert!(packet.payload.len() <= PAYLOAD_MAX);
            let expected = self.sides[1 - at].sent.get(self.sides[at].received);
            assert!(self.tampered || expected == Some(&packet), "{packet:?} instead of {expected:?}");
            self.sides[at].received += 1;
        }
        assert!(count <= self.config.queue_packets, "{count} packets had been kept");
    }

    fn look_at_errors(&self, at: usize) {
        let mut errors = self.sides[at].session.errors();
        while let Poll::Ready(Some(error)) = Pin::new(&mut errors).poll_next(&mut cx()) {
            assert!(!error.to_string().is_empty());
            let is_honest = matches!(
                error,
                SessionError::Disconnected(_)
                    | SessionError::Protocol(ProtocolError::Silent)
                    | SessionError::PeerClosed { .. }
            );
            assert!(is_honest || self.tampered, "{error} without a lie");
        }
    }

    /// A new cable, into which these sides are plugged.
    fn plug(&mut self, sides: &[usize]) {
        let (pipes, ends): (Vec<_>, Vec<_>) = (0..2).map(|_| duplex(self.cable_room)).unzip();
        for (at, pipe) in pipes.into_iter().enumerate() {
            if sides.contains(&at) {
                self.sides[at].session.attach(pipe);
            }
        }
        let ends = ends.try_into().expect("two ends");
        self.cable = Some(Cable { ends, on_the_way: Default::default() });
    }

    /// Up to so many bytes go on from that side to the other.
    fn carry(&mut self, from: usize, most: usize) {
        let Some(cable) = &mut self.cable else { return };
        cable.carry(from, most);
    }

    /// That side hears something that the other one has not said.
    fn lie(&mut self, to: usize, bytes: &[u8]) {
        let Some(cable) = &mut self.cable else { return };
        self.tampered |= !bytes.is_empty();
        cable.on_the_way[1 - to].extend(bytes);
        cable.carry(1 - to, usize::MAX);
    }

    /// A frame as one could be, for that side; see `src/api/session/frame.rs` of the crate.
    fn frame(&self, to: usize, script: &mut Script<'_>) -> Vec<u8> {
        let mut out = BytesMut::new();
        let kind = script.byte();
        match kind % 5 {
            0 => {
                // Ids are drawn by chance, so the script says whose.
                let id = |which: u8| match which % 4 {
                    0 => self.sides[1 - to].session.id().to_bytes(),
                    1 => self.sides[to].session.id().to_bytes(),
                    2 => [0; 16],
                    _ => [which; 16],
                };
                out.put_u8(1);
                out.put_slice(&id(script.byte()));
                out.put_slice(&id(script.byte()));
                out.put_u64(script.byte().into());
            }
            1 | 2 => {
                out.put_u64(script.byte().into());
                out.put_u8(kind);
                out.put_bytes(kind, usize::from(kind / 3));
            }
            3 => out.put_u64(script.byte().into()),
            _ => {}
        }
        let packet = Packet::new([1, 2, 2, 3, 4][usize::from(kind % 5)], out);
        let mut bytes = BytesMut::new();
        PacketCodec::new().encode(packet, &mut bytes).expect("a short packet");
        bytes.to_vec()
    }

    async fn end(mut self) {
        if !self.tampered {
            self.plug(&[0, 1]);
            for _ in 0..CARRIES_MAX {
                self.turn().await;
                if [0, 1].iter().all(|&at| self.is_through(at)) {
                    break;
                }
            }
            assert!([0, 1].iter().all(|&at| self.is_through(at)), "it holds, and not everything has arrived");
            self.check_end().await;
        }
        for at in 0..2 {
            self.receive(at);
            self.look_at_errors(at);
        }
        let Self { sides, cable, .. } = self;
        drop((sides, cable));
        for _ in 0..TURNS {
            yield_now().await;
        }
    }

    /// Whether nothing of that side is left to be sent.
    fn is_through(&self, at: usize) -> bool {
        let session = &self.sides[at].session;
        session.unconfirmed() == 0 && (!self.sides[at].closed || session.is_closed())
    }

    async fn turn(&mut self) {
        for at in 0..2 {
            self.carry(at, usize::MAX);
            self.receive(at);
        }
        self.settle().await;
    }

    /// Who closes first has said everything before; who does not close, and is not closed to, as well.
    async fn check_end(&mut self) {
        let missing = |talk: &Self, at: usize| talk.sides[at].sent.len() - talk.sides[1 - at].received;
        let closed = [0, 1].map(|at| self.sides[at].closed);
        for at in 0..2 {
            assert!(closed[1 - at] || missing(self, at) == 0, "{} packets are missing", missing(self, at));
        }
        assert!((0..2).any(|at| missing(self, at) == 0), "the first to close has said everything");
        if closed == [false; 2] {
            let session = self.sides[0].session.clone();
            ignore(pin!(session.close()).poll(&mut cx()));
            for _ in 0..CARRIES_MAX {
                self.turn().await;
                if session.is_closed() && self.sides[1].session.is_closed() {
                    break;
                }
            }
            assert!(session.is_closed() && self.sides[1].session.is_closed());
            assert!(matches!(self.sides[1].session.poll_recv(&cx()), Poll::Ready(None)));
        }
    }
}

impl Cable {
    fn carry(&mut self, from: usize, most: usize) {
        let mut piece = [0; 4096];
        let mut piece = ReadBuf::new(&mut piece[..most.min(4096)]);
        if Pin::new(&mut self.ends[from]).poll_read(&mut cx(), &mut piece).is_ready() {
            self.on_the_way[from].extend(piece.filled());
        }
        let way = &mut self.on_the_way[from];
        while !way.is_empty() {
            let bytes = way.make_contiguous();
            let to = Pin::new(&mut self.ends[1 - from]);
            match to.poll_write(&mut cx(), bytes) {
                Poll::Ready(Ok(written)) => ignore(way.drain(..written)),
                // Nobody is plugged in there.
                Poll::Ready(Err(_)) => way.clear(),
                Poll::Pending => return,
            }
        }
    }
}
