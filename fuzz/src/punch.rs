//! One side of an attempt of two peers to meet, against a peer, a server and forgers that do whatever they like.
//!
//! ```text
//!   input = 6 bytes: kinds of NAT, role, beginning, candidates, roads that exist, time that it may take
//!           then commands, one byte of which the low half says what happens
//! ```

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::Duration;

use ebbtide::Instant;
use ebbtide::proto::batch::{Batch, Path, SocketId};
use ebbtide::proto::punch::{
    Action, BIRTHDAY_SOCKETS, NatReport, PROBE_LEN, Probe, ProbeKind, Punch, PunchPlan, PunchRole, Start,
};
use ebbtide::wire::{
    Candidate, CandidateKind, ConnId, Mapping, NatClass, Packet, SeqNr, Session, Token, Txn,
};

use super::script::Script;

const OURS: Token = Token::new(0x0123_4567_89AB_CDEF);
const THEIRS: Token = Token::new(0xFEDC_BA98_7654_3210);
const SESSION: Session = Session::new([3; 16]);

/// Bytes that leave unasked, at most.
const UNASKED_MAX: usize = 170_000;

/// Answers, at most: those asked for, and three more.
const ANSWERS_MAX: usize = 512 + 3;

/// A punch begins, and whatever happens then is in the bytes.
pub fn punch(input: &[u8]) {
    thread_local! {
        /// Kept for its memory.
        static BATCH: RefCell<Batch> = RefCell::new(Batch::new(1));
    }
    BATCH.with_borrow_mut(|batch| {
        let mut script = Script::new(input);
        let Some(mut attempt) = Attempt::begin(&mut script, batch) else { return };
        while !script.is_over() && !attempt.over {
            attempt.step(&mut script);
        }
        attempt.end();
    });
}

struct Attempt<'a> {
    punch: Punch,
    batch: &'a mut Batch,
    now: Instant,
    deadline: Duration,
    sockets: u16,
    /// Questions that were asked, the last few.
    asked: Vec<(Path, Txn, ConnId, SeqNr)>,
    unasked_bytes: usize,
    answers: usize,
    /// Answers that may leave: one for each question that came.
    owed: usize,
    connected: Option<Instant>,
    failed: bool,
    over: bool,
}

fn mapping(script: &mut Script<'_>) -> Mapping {
    match script.byte() % 5 {
        0 => Mapping::Unknown,
        1 => Mapping::None,
        2 => Mapping::EndpointIndependent,
        3 => Mapping::EndpointDependent { step: 0, block: 0 },
        _ => Mapping::EndpointDependent { step: script.signed().into(), block: script.short() },
    }
}

/// One of the places where somebody may be, most of them fit to be probed.
fn place(which: u8) -> SocketAddr {
    match which % 8 {
        0 => ([203, 0, 113, 1], 40_000).into(),
        1 => ([203, 0, 113, 1], 50_000 + u16::from(which)).into(),
        2 => ([10, 0, 0, which], 40_000).into(),
        3 => ([0x2001, 0xDB8, 0, 0, 0, 0, 0, which.into()], 40_000).into(),
        4 => ([224, 0, 0, 1], 40_000).into(),
        5 => ([203, 0, 113, which], 53).into(),
        6 => ([127, 0, 0, 1], 40_000).into(),
        _ => ([198, 51, 100, which], 1024 + u16::from(which)).into(),
    }
}

fn plan(script: &mut Script<'_>) -> PunchPlan {
    let candidates = (0..script.byte() % 12).map(|_| {
        let kinds = [CandidateKind::Reflexive, CandidateKind::Host, CandidateKind::Mapped];
        Candidate::new(script.pick(&kinds), place(script.byte()))
    });
    let candidates = candidates.collect();
    let role = match script.byte() % 3 {
        0 => PunchRole::Initiator,
        1 => PunchRole::Acceptor,
        _ => PunchRole::Undecided { tie_break: script.byte().into() },
    };
    let mut plan = PunchPlan::new(SESSION, role, OURS, THEIRS, candidates);
    plan.local = NatReport::from(NatClass::new(mapping(script)));
    plan.local.blocked = script.byte() & 15 == 15;
    plan.local.public_v4 = script.flag().then(|| "203.0.113.1:1030".parse().expect("an address"));
    plan.remote = NatClass::new(mapping(script));
    plan.start = match script.byte() {
        byte @ 0..128 => Start::After(Duration::from_millis(u64::from(byte) * 10)),
        byte => Start::OnGo { server_rtt: Duration::from_millis(u64::from(byte - 128) * 10) },
    };
    let bits = script.byte();
    (plan.birthday, plan.believe_unnamed) = (bits & 1 == 0, bits & 2 == 0);
    plan.deadline = Duration::from_millis(100 * u64::from(script.byte()) % 15_001);
    plan
}

impl<'a> Attempt<'a> {
    fn begin(script: &mut Script<'_>, batch: &'a mut Batch) -> Option<Self> {
        let plan = plan(script);
        let deadline = plan.deadline;
        let roads = script.byte();
        let mut way = |peer: SocketAddr| {
            let exists = if peer.is_ipv6() { roads & 1 == 0 } else { roads & 2 == 0 };
            exists.then_some(Path { socket: SocketId::new(0), peer })
        };
        let punch = Punch::new(Instant::ZERO, plan, [roads; 32], &mut way).ok()?;
        let mut this = Self {
            punch,
            batch,
            now: Instant::ZERO,
            deadline,
            sockets: 0,
            asked: Vec::new(),
            unasked_bytes: 0,
            answers: 0,
            owed: 0,
            connected: None,
            failed: false,
            over: false,
        };
        this.settle();
        Some(this)
    }

    fn path(&self, script: &mut Script<'_>) -> Path {
        let socket = u16::from(script.byte()) % (self.sockets + 1);
        Path { socket: SocketId::new(socket), peer: place(script.byte()) }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        let command = script.byte();
        match command & 15 {
            0..=2 => {
                let next = self.punch.poll_timeout();
                self.now = next.map_or(self.now, |at| at.max(self.now));
            }
            3 => self.now = self.now + Duration::from_micros(script.short().into()) * 16,
            4 | 5 => {
                let (path, token) = (self.path(script), if command & 0x80 == 0 { OURS } else { THEIRS });
                let len = if command & 0x40 == 0 { PROBE_LEN } else { PROBE_LEN - 4 };
                let tie_break = (command & 0x20 == 0).then(|| script.byte().into());
                let kind = ProbeKind::Question { txn: Txn::new(script.byte().into()), tie_break };
                let taken = self.punch.handle_probe(self.now, path, &Probe { token, kind, len });
                assert!(!taken || token == OURS);
                self.owed += usize::from(taken && len == PROBE_LEN);
            }
            6..=8 => {
                let known = self.asked.get(usize::from(script.byte()) % self.asked.len().max(1)).copied();
                let Some((path, txn, ..)) = known else { return };
                let echo = Txn::new(txn.get() ^ u64::from(command >> 6) << 40);
                let kind = ProbeKind::Answer { echo, observed: None };
                self.punch.handle_probe(self.now, path, &Probe { token: OURS, kind, len: PROBE_LEN });
            }
            9 => {
                let path = self.path(script);
                let token = if command & 0x80 == 0 { OURS } else { THEIRS };
                let taken = self.punch.handle_syn(self.now, path, SESSION, token);
                assert!(!taken || token == OURS && self.punch.is_initiator() == Some(false));
            }
            10 => self.punch.go(self.now),
            11 => {
                let Some((path, _, id, seq)) = self.asked.last().copied() else { return };
                self.punch.handle_reset(path, id, seq);
            }
            12 => self.punch.begin_birthday(self.now),
            13 => self.punch.defer_birthday(self.now + Duration::from_millis(script.byte().into())),
            14 => {
                let path = self.path(script);
                self.punch.call_failed(self.now, path);
            }
            _ => {
                let path = self.path(script);
                self.punch.connected(self.now, path);
                if !self.failed {
                    self.connected.get_or_insert(self.now);
                }
            }
        }
        self.settle();
    }

    /// Time, wishes, packets.
    fn settle(&mut self) {
        self.punch.handle_timeout(self.now);
        while let Some(action) = self.punch.poll_action() {
            assert!(!self.over, "{action:?} after the end");
            match action {
                Action::OpenSockets { count, like } => {
                    assert_eq!(like, SocketId::new(0));
                    for _ in 0..count {
                        self.sockets += 1;
                        self.punch.socket_opened(self.now, Some(SocketId::new(self.sockets)));
                    }
                    assert!(usize::from(self.sockets) <= BIRTHDAY_SOCKETS + 1);
                }
                Action::Failed(_) => self.failed = true,
                Action::Over => self.over = true,
                Action::Ready | Action::CloseSockets | Action::Connect(_) | Action::Repeat(_) => {}
            }
        }
        self.batch.clear();
        while let Some(path) = self.punch.poll_transmit(self.now, self.batch, &|_, _| true) {
            self.look_at(path);
            self.batch.clear();
        }
        assert!(!self.punch.has_work());
    }

    /// A packet leaves.
    fn look_at(&mut self, path: Path) {
        assert!(!self.failed, "there is silence after failure");
        let packet = Packet::decode(self.batch.bytes()).expect("our own packet");
        let probe = Probe::read(&packet).expect("a probe");
        assert_eq!((probe.token, probe.len), (THEIRS, PROBE_LEN));
        match probe.kind {
            ProbeKind::Answer { .. } => {
                self.answers += 1;
                assert!(self.answers <= (self.owed + 3).min(ANSWERS_MAX));
            }
            ProbeKind::Question { txn, .. } => {
                assert!(self.connected.is_none(), "nothing is asked after success");
                self.unasked_bytes += probe.len;
                assert!(self.unasked_bytes <= UNASKED_MAX, "{}", self.unasked_bytes);
                if self.asked.len() >= 64 {
                    self.asked.remove(0);
                }
                self.asked.push((path, txn, packet.header.conn_id, packet.header.seq));
            }
        }
    }

    /// Nobody does anything any more: it comes to an end by itself.
    fn end(&mut self) {
        let limit = self.now.max(Instant::ZERO + self.deadline) + Duration::from_secs(20);
        let mut turns = 0;
        while let Some(next) = self.punch.poll_timeout() {
            self.now = self.now.max(next);
            if self.punch.wants_birthday(self.now) {
                self.punch.begin_birthday(self.now);
            }
            assert!(self.now <= limit, "still at it: {:?}", self.punch);
            self.settle();
            turns += 1;
            assert!(turns < 20_000, "turning on the spot: {:?}", self.punch);
        }
        assert!(self.over && (self.failed || self.connected.is_some()));
    }
}
