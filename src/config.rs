//! Everything that can be set, with its unit, default, bound and source. Every limit of the crate is here.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::ConfigError;
use crate::proto::congestion::Controller;
use crate::wire::Dialect;

/// Builds a congestion controller for one connection, given the payload bytes of a full packet.
pub type ControllerFactory = Arc<dyn Fn(u32) -> Box<dyn Controller> + Send + Sync>;

/// Which congestion controller connections use.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Congestion {
    /// RFC 6817 with slow start: yields to everybody whose queue exceeds the target delay.
    #[default]
    Ledbat,
    /// A window of so many bytes that never changes: for tests, benches and private lines.
    Fixed(u32),
    /// One of your own.
    Custom(ControllerFactory),
}

impl fmt::Debug for Congestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ledbat => f.write_str("Ledbat"),
            Self::Fixed(bytes) => f.debug_tuple("Fixed").field(bytes).finish(),
            Self::Custom(_) => f.write_str("Custom(..)"),
        }
    }
}

/// What to do when a peer of another make calls us while we call it, in a call that expects to be crossed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VanillaCross {
    /// Both connections live: ours goes on, theirs is offered to whoever listens, and the protocol above chooses one, as
    /// libtorrent and Transmission do.
    #[default]
    KeepBoth,
    /// Theirs becomes ours, and our call is taken back. If the peer takes back *its* call at the same moment, for its own
    /// reasons, none is left.
    PreferInbound,
}

impl VanillaCross {
    /// Whether libtorrent, of two connections in opposite directions, keeps the one that it has called for: the side with
    /// the lower port does. `None` for equal ports, where it rolls dice.
    #[must_use]
    pub const fn libtorrent_keeps_outgoing(its_port: u16, other_port: u16) -> Option<bool> {
        if its_port == other_port { None } else { Some(its_port < other_port) }
    }
}

/// Settings of an endpoint and its connections.
///
/// Built by value, checked once by [`validate`](Self::validate), which everything that takes a `Config` calls.
///
/// ```
/// use ebbtide::Config;
/// let config = Config::default().nodelay(true).max_connections(100);
/// assert!(config.validate().is_ok());
/// assert!(Config::default().mtu(20).validate().is_err());
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) max_connections: usize,
    pub(crate) half_open: usize,
    pub(crate) accept_queue: usize,
    pub(crate) connections_per_address: Option<usize>,
    pub(crate) connections_per_network: Option<usize>,
    pub(crate) max_memory: usize,
    pub(crate) send_buffer: usize,
    pub(crate) receive_buffer: usize,
    pub(crate) receive_buffer_max: usize,
    pub(crate) mtu: Option<u16>,
    pub(crate) packets_in_flight: u16,
    pub(crate) dialect: Dialect,
    pub(crate) nodelay: bool,
    pub(crate) pacing: bool,
    pub(crate) congestion: Congestion,
    pub(crate) target_delay: Duration,
    pub(crate) ack_delay: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) rto_min: Duration,
    pub(crate) timeouts: u8,
    pub(crate) keepalive: Option<Duration>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) stall_timeout: Duration,
    pub(crate) linger: Duration,
    pub(crate) hardened_reset: bool,
    pub(crate) extensions: bool,
    pub(crate) migration: bool,
    pub(crate) vanilla_cross: VanillaCross,
    pub(crate) verify_acks: bool,
    pub(crate) resets_per_second: u32,
    pub(crate) foreign_queue: usize,
    pub(crate) socket_buffer: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_connections: 4096,
            half_open: 32,
            accept_queue: 128,
            connections_per_address: Some(64),
            connections_per_network: Some(256),
            max_memory: 1 << 30,
            send_buffer: 1 << 20,
            receive_buffer: 1 << 20,
            receive_buffer_max: 16 << 20,
            mtu: None,
            packets_in_flight: 950,
            dialect: Dialect::Bep29,
            nodelay: false,
            pacing: true,
            congestion: Congestion::Ledbat,
            target_delay: Duration::from_millis(100),
            ack_delay: Duration::from_millis(5),
            connect_timeout: Duration::from_secs(10),
            rto_min: Duration::from_millis(500),
            timeouts: 7,
            keepalive: Some(Duration::from_secs(15)),
            idle_timeout: None,
            stall_timeout: Duration::from_secs(300),
            linger: Duration::from_secs(30),
            hardened_reset: false,
            extensions: true,
            migration: true,
            vanilla_cross: VanillaCross::KeepBoth,
            verify_acks: true,
            resets_per_second: 200,
            foreign_queue: 256,
            socket_buffer: 4 << 20,
        }
    }
}

/// Presets.
impl Config {
    /// For few connections that move much: large buffers on both sides.
    ///
    /// Costs up to 8 MiB for sending and 16 MiB for receiving per connection that is in full use.
    #[must_use]
    pub fn bulk() -> Self {
        Self::default().send_buffer(8 << 20).receive_buffer(2 << 20)
    }

    /// For requests, answers and games: nothing waits to be merged, little waits in buffers.
    #[must_use]
    pub fn interactive() -> Self {
        Self::default()
            .nodelay(true)
            .send_buffer(128 << 10)
            .receive_buffer(256 << 10)
            .receive_buffer_max(1 << 20)
    }

    /// For tens of thousands of connections on one port: small buffers, high limits.
    #[must_use]
    pub fn swarm() -> Self {
        Self::default()
            .max_connections(65_536)
            .max_memory(2 << 30)
            .half_open(512)
            .accept_queue(4096)
            .send_buffer(256 << 10)
            .receive_buffer(256 << 10)
            .receive_buffer_max(1 << 20)
    }
}

/// Limits of the endpoint.
impl Config {
    /// Most connections at once, those in time-wait included (default 4,096; 1 to 1,000,000).
    ///
    /// Beyond it SYNs are dropped and counted, and `connect` fails with `QuotaExceeded`.
    #[must_use]
    pub const fn max_connections(mut self, count: usize) -> Self {
        self.max_connections = count;
        self
    }

    /// Most incoming connections that are kept although their initiator has not proved its address (default 32; 1 to
    /// 65,536). Each may cost 3 KiB, so by default forged packets take up less than 128 KiB.
    ///
    /// Beyond it a SYN is answered without keeping anything (SYN cookies), and offered to the application once the
    /// initiator has proved its address. All initiators of this crate do that at once; others do with the first data
    /// that they send. A server that speaks first, to peers of other make that connect by the dozen at the same
    /// moment, wants a higher number. Beyond 8 from one address (IPv6: from one /64) the same happens, unless it is a
    /// loopback or private one.
    #[must_use]
    pub const fn half_open(mut self, count: usize) -> Self {
        self.half_open = count;
        self
    }

    /// Most incoming connections that wait to be accepted (default 128; 1 to 65,536).
    ///
    /// Those whose initiator has not proved its address take up at most half of it. Beyond it SYNs are dropped and
    /// counted; the initiator tries again.
    #[must_use]
    pub const fn accept_queue(mut self, count: usize) -> Self {
        self.accept_queue = count;
        self
    }

    /// Most connections that one address, IPv6: one /64, may have started towards us (default 64; 1 to 1,000,000, or
    /// `None` for no limit). Beyond it its SYNs are dropped and counted.
    ///
    /// Loopback, private and link-local addresses have no such limit: who is there belongs to the house. Connections that
    /// we started are not counted. Raise it where many peers share one address (a proxy, a large NAT).
    #[must_use]
    pub const fn connections_per_address(mut self, count: Option<usize>) -> Self {
        self.connections_per_address = count;
        self
    }

    /// The same for a network, an IPv4 /24 or an IPv6 /56 (default 256; 1 to 1,000,000, or `None` for no limit).
    #[must_use]
    pub const fn connections_per_network(mut self, count: Option<usize>) -> Self {
        self.connections_per_network = count;
        self
    }

    /// Bytes of memory that all connections together may take, buffers included (default 1 GiB; at least 1 MiB).
    ///
    /// Above half of it receive windows stop growing, and a connection that holds more than its share is given no
    /// more: what would make its buffers grow is dropped and sent again, and writing to it waits. Above four fifths no
    /// new connections come in. Connections take memory as they use it, so it is mostly peers that do not read, do
    /// not acknowledge, or leave gaps who get there.
    #[must_use]
    pub const fn max_memory(mut self, bytes: usize) -> Self {
        self.max_memory = bytes;
        self
    }

    /// Most RESETs per second in answer to packets that fit no connection (default 200; 0 to 100,000). Towards one
    /// address there are at most 10.
    ///
    /// libutp remembers 1,000 answers for 10 s, which comes to half of that.
    #[must_use]
    pub const fn resets_per_second(mut self, count: u32) -> Self {
        self.resets_per_second = count;
        self
    }

    /// Most foreign datagrams that wait to be taken (default 256; 0 to 65,536). The oldest is dropped and counted.
    #[must_use]
    pub const fn foreign_queue(mut self, count: usize) -> Self {
        self.foreign_queue = count;
        self
    }

    /// Bytes of kernel buffer to ask for, for sending and for receiving (default 4 MiB; 8 KiB to 256 MiB).
    ///
    /// A uTP socket carries all connections of a port, so the usual 208 KiB overflow at once. What the system
    /// granted is in [`SocketStats`](crate::SocketStats).
    #[must_use]
    pub const fn socket_buffer(mut self, bytes: usize) -> Self {
        self.socket_buffer = bytes;
        self
    }
}

/// Buffers and packets of a connection.
impl Config {
    /// Bytes that may be written and not yet acknowledged (default 1 MiB; 4 KiB to 256 MiB). Memory grows as used.
    ///
    /// A connection moves at most this much per round trip.
    #[must_use]
    pub const fn send_buffer(mut self, bytes: usize) -> Self {
        self.send_buffer = bytes;
        self
    }

    /// Bytes of receive window to start with (default 1 MiB, as libutp and libtorrent; 4 KiB to 256 MiB).
    #[must_use]
    pub const fn receive_buffer(mut self, bytes: usize) -> Self {
        self.receive_buffer = bytes;
        self
    }

    /// Bytes that the receive window may grow to where the path deserves it (default 16 MiB; up to 256 MiB, and
    /// never less than [`receive_buffer`](Self::receive_buffer)). Twice what arrives in the smallest round trip.
    #[must_use]
    pub const fn receive_buffer_max(mut self, bytes: usize) -> Self {
        self.receive_buffer_max = bytes;
        self
    }

    /// Largest datagram to send, bytes of UDP payload (150 to 65,000).
    ///
    /// Default 1,400 over IPv4, which passes PPPoE and common tunnels, and 1,232 over IPv6, which passes everywhere.
    #[must_use]
    pub const fn mtu(mut self, bytes: u16) -> Self {
        self.mtu = Some(bytes);
        self
    }

    /// Most packets sent beyond the peer's acknowledgement (default 950; 4 to 32,000).
    ///
    /// libtorrent refuses packets more than 953 ahead, libutp 1,024 (measured); raise it between your own peers only.
    #[must_use]
    pub const fn packets_in_flight(mut self, count: u16) -> Self {
        self.packets_in_flight = count;
        self
    }

    /// Believe a RESET only when its sender has answered a challenge (default false). An attacker who does not see the
    /// packets then needs two lucky guesses within seconds instead of one in some eight million.
    ///
    /// libutp and this crate answer challenges. libtorrent does not, so its RESETs are lost and such a connection ends
    /// by timeout instead.
    #[must_use]
    pub const fn hardened_reset(mut self, hardened: bool) -> Self {
        self.hardened_reset = hardened;
        self
    }

    /// Keep a packet back for a round trip now and then, to see whether the peer acknowledges what it cannot have
    /// (default true). Less than one packet in a thousand, and none outside of bulk transfers; such a peer loses the
    /// connection with [`CloseReason::Misbehaved`](crate::CloseReason::Misbehaved).
    #[must_use]
    pub const fn verify_acks(mut self, verify: bool) -> Self {
        self.verify_acks = verify;
        self
    }

    /// Tell peers of this crate's making who we are, and understand what they say (default true): services, keepalives
    /// that are answered, reasons for closing, and what helps through NATs. Costs up to 44 bytes in the first two packets,
    /// and nothing in packets with data. Other implementations skip it.
    ///
    /// Without it, connections by [service](crate::wire::Service) fail.
    #[must_use]
    pub const fn extensions(mut self, extensions: bool) -> Self {
        self.extensions = extensions;
        self
    }

    /// Let connections with peers of this crate's making survive a change of address, theirs or ours (default true;
    /// needs [`extensions`](Self::extensions)).
    #[must_use]
    pub const fn migration(mut self, migration: bool) -> Self {
        self.migration = migration;
        self
    }

    /// What to do when a peer of another make calls us while we call it
    /// ([`UtpSocket::connect_simultaneous`](crate::UtpSocket::connect_simultaneous); default
    /// [`VanillaCross::KeepBoth`]).
    #[must_use]
    pub const fn vanilla_cross(mut self, policy: VanillaCross) -> Self {
        self.vanilla_cross = policy;
        self
    }

    /// Which uTP to speak (default [`Dialect::Bep29`]). An endpoint speaks one, with everybody.
    ///
    /// With [`Dialect::UtpPunch`] it gets along with utp-punch 1.0.1 for Node, and with nobody else. Whatever is set
    /// otherwise, it then does without [`extensions`](Self::extensions) (so without services, messages,
    /// [`punch`](crate::UtpSocket::punch) and migration) and without selective acknowledgements, acknowledges at once, has
    /// at most 60 packets in flight, of 1,020 bytes unless [`mtu`](Self::mtu) says otherwise, waits no
    /// longer than 1.6 s before a keepalive (unless there is to be none), and repeats what is not acknowledged after 100 ms
    /// if the path is short. Such a peer ends its own direction as soon as ours has ended.
    #[must_use]
    pub const fn dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self
    }

    /// Send small writes at once (default false) instead of holding a partial packet while another one is in flight
    /// (Minshall's variant of Nagle's rule: at most one round trip for the tail of a burst).
    #[must_use]
    pub const fn nodelay(mut self, nodelay: bool) -> Self {
        self.nodelay = nodelay;
        self
    }
}

/// Congestion control.
impl Config {
    /// Which controller connections use (default [`Congestion::Ledbat`]).
    #[must_use]
    pub fn congestion(mut self, congestion: Congestion) -> Self {
        self.congestion = congestion;
        self
    }

    /// How much queueing delay to aim for (default 100 ms; 1 ms to 100 ms; RFC 6817 §2.5 allows no more).
    ///
    /// Lower yields sooner to other traffic; below 25 ms timer noise starts to look like a queue.
    #[must_use]
    pub const fn target_delay(mut self, delay: Duration) -> Self {
        self.target_delay = delay;
        self
    }

    /// Spread packets over the round trip instead of sending the window as a burst (default true).
    #[must_use]
    pub const fn pacing(mut self, pacing: bool) -> Self {
        self.pacing = pacing;
        self
    }

    /// Longest that a lone packet waits for its acknowledgement (default 5 ms; 0 to 200 ms).
    #[must_use]
    pub const fn ack_delay(mut self, delay: Duration) -> Self {
        self.ack_delay = delay;
        self
    }
}

/// Time limits.
impl Config {
    /// When to give up connecting, and when to forget an initiator that never proved its address (default 10 s,
    /// with SYNs at 0, 1, 3 and 7 s; 100 ms to 10 min).
    #[must_use]
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Shortest retransmission timeout (default 500 ms as in BEP 29; 10 ms to 10 s).
    #[must_use]
    pub const fn rto_min(mut self, timeout: Duration) -> Self {
        self.rto_min = timeout;
        self
    }

    /// Retransmission timeouts in a row, each twice as long, before the peer counts as dead (default 7, a minute or
    /// so; libutp 5, libtorrent 3; 1 to 20). A peer that answers when it is asked whether it is there has so many once
    /// more, until something is acknowledged.
    #[must_use]
    pub const fn timeouts(mut self, count: u8) -> Self {
        self.timeouts = count;
        self
    }

    /// Send a packet after that long without sending, so that NATs keep the way open (default 15 s; 1 s to 1 h or
    /// `None`). Costs 20 bytes each, and a peer of another make does not answer; one of this crate's is asked, in 52
    /// bytes or so, and answers with as many.
    #[must_use]
    pub const fn keepalive(mut self, interval: Option<Duration>) -> Self {
        self.keepalive = interval;
        self
    }

    /// Close a connection on which nothing was heard for so long (default `None`; 1 s to 24 h). libtorrent sends no
    /// keepalives, so a quiet peer may well be alive. A peer of this crate's making is asked whether it is there
    /// ([`keepalive`](Self::keepalive)), and its answer is something heard.
    #[must_use]
    pub const fn idle_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// Close a connection whose peer keeps its window shut for so long (default 5 min; 1 s to 24 h).
    #[must_use]
    pub const fn stall_timeout(mut self, timeout: Duration) -> Self {
        self.stall_timeout = timeout;
        self
    }

    /// How long a dropped stream, and a closed socket, go on delivering what was written (default 30 s; 0 to 10 min).
    #[must_use]
    pub const fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }
}

impl Config {
    /// Checks every field against its range.
    ///
    /// # Errors
    /// The first field that is outside, with the range in words.
    pub fn validate(&self) -> Result<(), ConfigError> {
        const MIB_256: usize = 256 << 20;
        let secs = Duration::from_secs;
        let millis = Duration::from_millis;
        let checks = [
            ("max_connections", "1 to 1,000,000", (1..=1_000_000).contains(&self.max_connections)),
            ("half_open", "1 to 65,536", (1..=65_536).contains(&self.half_open)),
            ("accept_queue", "1 to 65,536", (1..=65_536).contains(&self.accept_queue)),
            (
                "connections_per_address",
                "1 to 1,000,000, or none",
                self.connections_per_address.is_none_or(|count| (1..=1_000_000).contains(&count)),
            ),
            (
                "connections_per_network",
                "1 to 1,000,000, or none",
                self.connections_per_network.is_none_or(|count| (1..=1_000_000).contains(&count)),
            ),
            ("max_memory", "at least 1 MiB", self.max_memory >= 1 << 20),
            ("send_buffer", "4 KiB to 256 MiB", (4096..=MIB_256).contains(&self.send_buffer)),
            ("receive_buffer", "4 KiB to 256 MiB", (4096..=MIB_256).contains(&self.receive_buffer)),
            (
                "receive_buffer_max",
                "receive_buffer to 256 MiB",
                (self.receive_buffer..=MIB_256).contains(&self.receive_buffer_max),
            ),
            ("mtu", "150 to 65,000", self.mtu.is_none_or(|mtu| (150..=65_000).contains(&mtu))),
            ("packets_in_flight", "4 to 32,000", (4..=32_000).contains(&self.packets_in_flight)),
            ("target_delay", "1 ms to 100 ms", (millis(1)..=millis(100)).contains(&self.target_delay)),
            ("ack_delay", "0 to 200 ms", self.ack_delay <= millis(200)),
            (
                "connect_timeout",
                "100 ms to 10 min",
                (millis(100)..=secs(600)).contains(&self.connect_timeout),
            ),
            ("rto_min", "10 ms to 10 s", (millis(10)..=secs(10)).contains(&self.rto_min)),
            ("timeouts", "1 to 20", (1..=20).contains(&self.timeouts)),
            (
                "keepalive",
                "1 s to 1 h, or none",
                self.keepalive.is_none_or(|every| (secs(1)..=secs(3600)).contains(&every)),
            ),
            (
                "idle_timeout",
                "1 s to 24 h, or none",
                self.idle_timeout.is_none_or(|after| (secs(1)..=secs(86_400)).contains(&after)),
            ),
            ("stall_timeout", "1 s to 24 h", (secs(1)..=secs(86_400)).contains(&self.stall_timeout)),
            ("linger", "0 to 10 min", self.linger <= secs(600)),
            ("resets_per_second", "0 to 100,000", self.resets_per_second <= 100_000),
            ("foreign_queue", "0 to 65,536", self.foreign_queue <= 65_536),
            ("socket_buffer", "8 KiB to 256 MiB", (8192..=MIB_256).contains(&self.socket_buffer)),
            (
                "congestion",
                "a fixed window of at least 1,000 bytes",
                !matches!(self.congestion, Congestion::Fixed(bytes) if bytes < 1000),
            ),
        ];
        match checks.iter().find(|(_, _, fits)| !fits) {
            Some(&(field, range, _)) => Err(ConfigError { field, range }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_presets_are_valid() {
        for config in [Config::default(), Config::bulk(), Config::interactive(), Config::swarm()] {
            assert_eq!(config.validate(), Ok(()));
        }
    }

    #[test]
    fn a_field_out_of_range_is_named() {
        let error = Config::default().target_delay(Duration::from_millis(101)).validate();
        assert_eq!(error, Err(ConfigError { field: "target_delay", range: "1 ms to 100 ms" }));
        let shrunk = Config::default().receive_buffer(1 << 20).receive_buffer_max(1 << 19).validate();
        assert_eq!(shrunk.map_err(|error| error.field), Err("receive_buffer_max"));
    }
}
