//! What a server grants, all of it in one place.

use std::time::Duration;

use super::relay::RelayConfig;
use crate::error::ConfigError;
use crate::proto::rendezvous::rate::Rate;

/// What a rendezvous server grants to its clients. Everything has a bound, so that the server's memory has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Clients in all (default 100,000).
    pub clients: usize,
    /// Streams from one IPv4 address, or one IPv6 /56 (default 64: behind a carrier's NAT many share an address).
    pub clients_per_address: u32,
    /// Rooms in all (default 100,000). The one that has been empty for longest makes room for a new one.
    pub rooms: usize,
    /// Rooms that one client may be in at once (default 16).
    pub rooms_per_client: u16,
    /// Members that a room may be made for (default 256). What a client asks for counts, mostly 2.
    pub members: u16,
    /// Further addresses that a client may show us (default 2).
    pub addresses_per_client: u8,
    /// How long a room is remembered after the last one left (default 10 min).
    pub room_empty: Duration,
    /// How long a room exists at most (default 24 h); then its members have to come in again.
    pub room_age: Duration,
    /// Requests to meet somebody, of one client (default 10 per minute, 5 at once).
    pub rendezvous_per_client: Rate,
    /// Requests to meet somebody, from one address (default 60 per minute, 30 at once).
    pub rendezvous_per_address: Rate,
    /// Ways into a room, of one client (default 30 per minute, 16 at once). Whoever guesses ids is not faster.
    pub joins_per_client: Rate,
    /// Ways into a room, from one address (default 120 per minute, 64 at once).
    pub joins_per_address: Rate,
    /// Messages of one client (default 20 per second, 200 at once); with more it is sent away.
    pub messages_per_client: Rate,
    /// Bytes that wait for one client (default 16 KiB); one that does not take them is sent away.
    pub backlog: usize,
    /// How long a client may take to say hello (default 5 s).
    pub hello: Duration,
    /// How long a client may be silent (default 60 s). Clients say something three times as often.
    pub idle: Duration,
    /// How long somebody may take to agree to meet somebody (default 30 s).
    pub invitation: Duration,
    /// How long two may take to say that their first packets are out (default 4 s).
    pub ready: Duration,
    /// How long the second one may take after the first one (default 3 s: what it is told, or says, may get lost twice);
    /// then both begin.
    pub second: Duration,
    /// How long two may take to meet (default 15 s).
    pub deadline: Duration,
    /// Attempts per meeting (default 4).
    pub rounds: u8,
    /// A client with a private address may meet one with a public address (default no). For laboratories, and for
    /// networks in which private addresses are routed.
    pub mixed_scopes: bool,
    /// What is forwarded for those who find no way to each other (default nothing).
    pub relay: Option<RelayConfig>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        let secs = Duration::from_secs;
        Self {
            clients: 100_000,
            clients_per_address: 64,
            rooms: 100_000,
            rooms_per_client: 16,
            members: 256,
            addresses_per_client: 2,
            room_empty: secs(600),
            room_age: secs(86_400),
            rendezvous_per_client: Rate::per_minute(10, 5),
            rendezvous_per_address: Rate::per_minute(60, 30),
            joins_per_client: Rate::per_minute(30, 16),
            joins_per_address: Rate::per_minute(120, 64),
            messages_per_client: Rate::per_minute(1200, 200),
            backlog: 16 << 10,
            hello: secs(5),
            idle: secs(60),
            invitation: secs(30),
            ready: secs(4),
            second: secs(3),
            deadline: secs(15),
            rounds: 4,
            mixed_scopes: false,
            relay: None,
        }
    }
}

impl ServerConfig {
    /// Checks every field against its range.
    ///
    /// # Errors
    /// The first field that is outside, with the range in words.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let (minute, year) = (Duration::from_secs(60), Duration::from_secs(365 * 86_400));
        let short = |time: Duration| (Duration::from_millis(1)..=10 * minute).contains(&time);
        let checks = [
            ("clients", "1 to 10,000,000", (1..=10_000_000).contains(&self.clients)),
            ("clients_per_address", "at least 1", self.clients_per_address > 0),
            ("rooms", "1 to 10,000,000", (1..=10_000_000).contains(&self.rooms)),
            ("rooms_per_client", "1 to 1,024", (1..=1024).contains(&self.rooms_per_client)),
            ("members", "2 to 1,024", (2..=1024).contains(&self.members)),
            ("addresses_per_client", "0 to 4", self.addresses_per_client <= 4),
            ("room_empty", "at most a year", self.room_empty <= year),
            ("room_age", "a minute to a year", (minute..=year).contains(&self.room_age)),
            ("rendezvous_per_client", "not zero", self.rendezvous_per_client.is_some()),
            ("rendezvous_per_address", "not zero", self.rendezvous_per_address.is_some()),
            ("joins_per_client", "not zero", self.joins_per_client.is_some()),
            ("joins_per_address", "not zero", self.joins_per_address.is_some()),
            ("messages_per_client", "not zero", self.messages_per_client.is_some()),
            ("backlog", "16 KiB to 1 MiB", (16 << 10..=1 << 20).contains(&self.backlog)),
            ("hello", "1 ms to 10 min", short(self.hello)),
            ("idle", "3 s to 10 min", short(self.idle) && self.idle.as_secs() >= 3),
            ("invitation", "1 ms to 10 min", short(self.invitation)),
            ("ready", "1 ms to 10 min", short(self.ready)),
            ("second", "1 ms to 10 min", short(self.second)),
            ("deadline", "1 ms to 10 min", short(self.deadline)),
            ("rounds", "at least 1", self.rounds > 0),
        ];
        if let Some(relay) = &self.relay {
            relay.validate()?;
        }
        match checks.iter().find(|(_, _, fits)| !fits) {
            Some(&(field, range, _)) => Err(ConfigError { field, range }),
            None => Ok(()),
        }
    }
}
