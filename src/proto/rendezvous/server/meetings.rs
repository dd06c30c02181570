//! Two who want to meet: from the request to the reports of both.
//!
//! Knows no messages and no clients but their keys; says who has to be told what.

use std::collections::BTreeMap;
use std::time::Duration;

use super::limits::ServerConfig;
use crate::storage::{Key, Slab};
use crate::time::Instant;
use crate::wire::Session;
use crate::wire::rendezvous::PeerHandle;

/// Ours: how long after the deadline of a meeting the reports about it are still taken.
const REPORTS: Duration = Duration::from_secs(5);

/// One of the two.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side {
    pub(super) client: Key,
    pub(super) handle: PeerHandle,
    ready: bool,
    pub(super) reported: bool,
}

impl Side {
    pub(super) const fn new(client: Key, handle: PeerHandle) -> Self {
        Self { client, handle, ready: false, reported: false }
    }
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The second one has not agreed.
    Asked,
    /// Both are to send their first packets.
    Waiting,
    /// One has, at that time.
    OneReady(Instant),
    /// Both were told to go.
    Gone,
}

/// A meeting. The side that asked is the first.
#[derive(Debug)]
pub(super) struct Meeting {
    pub(super) session: Session,
    pub(super) room: Key,
    pub(super) sides: [Side; 2],
    pub(super) stage: Stage,
    pub(super) round: u8,
    /// When that stage began.
    since: Instant,
    /// When it is forgotten.
    pub(super) ends_at: Instant,
}

/// What has become of a READY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    /// Wait for the other one.
    Wait,
    /// Both are to go; whether both were ready.
    Go { both: bool },
    /// It says nothing new.
    Old,
}

impl Meeting {
    /// Which side somebody is.
    pub(super) fn side_of(&self, client: Key) -> Option<usize> {
        self.sides.iter().position(|side| side.client == client)
    }

    /// The second one has agreed.
    pub(super) fn begin(&mut self, now: Instant, config: &ServerConfig) {
        self.stage = Stage::Waiting;
        self.since = now;
        self.ends_at = now + config.deadline + REPORTS;
    }

    pub(super) fn ready(&mut self, now: Instant, side: usize, round: u8, config: &ServerConfig) -> Readiness {
        if self.stage == Stage::Asked || round >= config.rounds || round < self.round {
            return Readiness::Old;
        }
        if round > self.round {
            self.round = round;
            self.stage = Stage::Waiting;
            self.since = now;
            self.sides.iter_mut().for_each(|side| side.ready = false);
        }
        if std::mem::replace(&mut self.sides[side].ready, true) {
            return Readiness::Old;
        }
        let both = self.sides[1 - side].ready;
        let late = self.stage == Stage::Waiting && now.since(self.since) > config.ready;
        match self.stage {
            Stage::Gone => Readiness::Old,
            _ if both || late => {
                self.stage = Stage::Gone;
                Readiness::Go { both }
            }
            _ => {
                self.stage = Stage::OneReady(now);
                Readiness::Wait
            }
        }
    }

    /// Whether the second one has taken too long, and the first one is to go alone.
    pub(super) fn waited(&mut self, now: Instant, config: &ServerConfig) -> bool {
        match self.stage {
            Stage::OneReady(at) if at + config.second <= now => {
                self.stage = Stage::Gone;
                true
            }
            _ => false,
        }
    }

    /// When something happens by itself.
    pub(super) fn due(&self, config: &ServerConfig) -> Instant {
        match self.stage {
            Stage::OneReady(at) => self.ends_at.min(at + config.second),
            _ => self.ends_at,
        }
    }

    fn pair(&self) -> (PeerHandle, PeerHandle) {
        pair(self.sides[0].handle, self.sides[1].handle)
    }
}

/// All of them; one for each pair at most.
#[derive(Debug)]
pub(super) struct Meetings {
    meetings: Slab<Meeting>,
    by_session: BTreeMap<Session, Key>,
    by_pair: BTreeMap<(PeerHandle, PeerHandle), Key>,
}

impl Meetings {
    pub(super) const fn new() -> Self {
        Self { meetings: Slab::new(), by_session: BTreeMap::new(), by_pair: BTreeMap::new() }
    }

    pub(super) const fn len(&self) -> usize {
        self.meetings.len()
    }

    pub(super) fn ask(
        &mut self,
        now: Instant,
        session: Session,
        room: Key,
        sides: [Side; 2],
        config: &ServerConfig,
    ) -> Key {
        let ends_at = now + config.invitation;
        let meeting = Meeting { session, room, sides, stage: Stage::Asked, round: 0, since: now, ends_at };
        let pair = meeting.pair();
        let key = self.meetings.insert(meeting);
        self.by_session.insert(session, key);
        self.by_pair.insert(pair, key);
        key
    }

    pub(super) fn get(&self, key: Key) -> Option<&Meeting> {
        self.meetings.get(key)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Meeting> {
        self.meetings.get_mut(key)
    }

    pub(super) fn find(&self, session: Session) -> Option<Key> {
        self.by_session.get(&session).copied()
    }

    pub(super) fn between(&self, one: PeerHandle, other: PeerHandle) -> Option<Key> {
        self.by_pair.get(&pair(one, other)).copied()
    }

    /// A client has another key from now on.
    pub(super) fn replace(&mut self, old: Key, new: Key) {
        let all = self.by_session.values().copied().collect::<Vec<_>>();
        for key in all {
            let Some(meeting) = self.meetings.get_mut(key) else { continue };
            meeting.sides.iter_mut().filter(|side| side.client == old).for_each(|side| side.client = new);
        }
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Meeting> {
        let meeting = self.meetings.remove(key)?;
        self.by_session.remove(&meeting.session);
        self.by_pair.remove(&meeting.pair());
        Some(meeting)
    }
}

fn pair(one: PeerHandle, other: PeerHandle) -> (PeerHandle, PeerHandle) {
    (one.min(other), one.max(other))
}
