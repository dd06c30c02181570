//! Rooms and who is in them.
//!
//! Found by id in a tree, which needs no hash that somebody could work against. Knows no clients but their keys.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::storage::{Key, Slab};
use crate::time::Instant;
use crate::wire::rendezvous::{JoinFlags, PeerHandle, RoomId, WantedRole};
use crate::wire::{Candidate, NatClass, Token};

/// What somebody has told about himself on his way in.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) client: Key,
    pub(super) handle: PeerHandle,
    pub(super) token: Token,
    pub(super) class: NatClass,
    pub(super) candidates: Box<[Candidate]>,
    pub(super) role: WantedRole,
    pub(super) flags: JoinFlags,
}

/// A room.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) id: RoomId,
    capacity: usize,
    pub(super) members: Vec<Member>,
    made_at: Instant,
    /// Since when nobody is in it.
    empty_since: Option<Instant>,
}

impl Room {
    pub(super) fn is_full(&self) -> bool {
        self.members.len() >= self.capacity
    }

    pub(super) fn member(&self, handle: PeerHandle) -> Option<&Member> {
        self.members.iter().find(|member| member.handle == handle)
    }

    pub(super) fn member_mut(&mut self, handle: PeerHandle) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.handle == handle)
    }
}

/// All rooms; as many as [`ServerConfig::rooms`](super::ServerConfig::rooms) at most.
#[derive(Debug)]
pub(super) struct Rooms {
    rooms: Slab<Room>,
    by_id: BTreeMap<RoomId, Key>,
    /// Those that have become empty, in the order of time; some are not any more.
    vacated: VecDeque<(Instant, Key)>,
    /// All of them in the order in which they were made; some are gone.
    by_age: VecDeque<(Instant, Key)>,
}

impl Rooms {
    pub(super) const fn new() -> Self {
        Self { rooms: Slab::new(), by_id: BTreeMap::new(), vacated: VecDeque::new(), by_age: VecDeque::new() }
    }

    pub(super) const fn len(&self) -> usize {
        self.rooms.len()
    }

    pub(super) fn get(&self, room: Key) -> Option<&Room> {
        self.rooms.get(room)
    }

    pub(super) fn get_mut(&mut self, room: Key) -> Option<&mut Room> {
        self.rooms.get_mut(room)
    }

    /// The room with that id, made if there is none. `None`: there are as many as there may be, and somebody is in
    /// each.
    pub(super) fn find_or_make(
        &mut self,
        now: Instant,
        id: RoomId,
        capacity: usize,
        most: usize,
    ) -> Option<Key> {
        if let Some(&room) = self.by_id.get(&id) {
            return Some(room);
        }
        while self.rooms.len() >= most {
            let (since, room) = self.vacated.pop_front()?;
            self.remove_if_empty_since(room, since);
        }
        let room = Room { id, capacity, members: Vec::new(), made_at: now, empty_since: Some(now) };
        let key = self.rooms.insert(room);
        self.by_id.insert(id, key);
        self.by_age.push_back((now, key));
        self.vacated.push_back((now, key));
        self.prune();
        Some(key)
    }

    pub(super) fn enter(&mut self, room: Key, member: Member) {
        if let Some(room) = self.rooms.get_mut(room) {
            room.empty_since = None;
            if room.members.is_empty() {
                // Most rooms are for two, and most of those wait with one.
                room.members.reserve_exact(room.capacity.min(2));
            }
            room.members.push(member);
        }
    }

    pub(super) fn leave(&mut self, now: Instant, room: Key, handle: PeerHandle) {
        let Some(found) = self.rooms.get_mut(room) else { return };
        found.members.retain(|member| member.handle != handle);
        if found.members.is_empty() && found.empty_since.is_none() {
            found.members = Vec::new();
            found.empty_since = Some(now);
            self.vacated.push_back((now, room));
            self.prune();
        }
    }

    fn remove_if_empty_since(&mut self, room: Key, since: Instant) -> bool {
        let is_empty = self.rooms.get(room).is_some_and(|room| room.empty_since == Some(since));
        if is_empty {
            self.remove(room);
        }
        is_empty
    }

    pub(super) fn remove(&mut self, room: Key) {
        if let Some(room) = self.rooms.remove(room) {
            self.by_id.remove(&room.id);
        }
    }

    /// Forgets rooms that have been empty for long, and returns one that is too old, if there is one.
    pub(super) fn expire(&mut self, now: Instant, empty: Duration, age: Duration) -> Option<Key> {
        while let Some(&(since, room)) = self.vacated.front() {
            if since + empty > now {
                break;
            }
            self.vacated.pop_front();
            self.remove_if_empty_since(room, since);
        }
        while let Some(&(made_at, room)) = self.by_age.front() {
            if made_at + age > now {
                break;
            }
            self.by_age.pop_front();
            if self.rooms.contains(room) {
                return Some(room);
            }
        }
        None
    }

    /// When [`expire`](Self::expire) may find something.
    pub(super) fn next_expiry(&self, empty: Duration, age: Duration) -> Option<Instant> {
        let vacated = self.vacated.front().map(|(since, _)| *since + empty);
        let aged = self.by_age.front().map(|(made_at, _)| *made_at + age);
        [vacated, aged].into_iter().flatten().min()
    }

    /// Keeps the queues in proportion: what they name is mostly still there.
    fn prune(&mut self) {
        /// Ours: below this it is not worth looking.
        const SLACK: usize = 64;
        let rooms = &self.rooms;
        if self.by_age.len() > 2 * rooms.len() + SLACK {
            self.by_age
                .retain(|(made_at, room)| rooms.get(*room).is_some_and(|room| room.made_at == *made_at));
        }
        if self.vacated.len() > 2 * rooms.len() + SLACK {
            let is_empty =
                |room: Key, since| rooms.get(room).is_some_and(|room| room.empty_since == Some(since));
            self.vacated.retain(|(since, room)| is_empty(*room, *since));
        }
    }
}
