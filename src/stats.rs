//! Numbers that a connection and a socket keep about themselves: plain structs, copied out on request.

use std::time::Duration;

use crate::wire::Delay;

/// What one connection has seen and done. Counters never go back.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct StreamStats {
    /// Smoothed round trip time (RFC 6298), once there is a sample.
    pub rtt: Option<Duration>,
    /// Smallest round trip time seen.
    pub rtt_min: Option<Duration>,
    /// Mean deviation of the round trip time (RFC 6298).
    pub rtt_variation: Duration,
    /// Current retransmission timeout.
    pub rto: Duration,
    /// Newest one-way delay of our packets as the peer measured it. Contains the difference of the two clocks.
    pub delay_forward: Option<Delay>,
    /// Newest one-way delay of the peer's packets as we measured it. Contains the difference of the two clocks.
    pub delay_backward: Option<Delay>,
    /// Smallest forward delay in the history: the base that queueing delay is counted from.
    pub delay_base: Option<Delay>,
    /// Filtered queueing delay of our packets: forward delay above its base.
    pub queue_delay: Option<Duration>,
    /// Congestion window, bytes of payload.
    pub cwnd: u32,
    /// Slow start threshold, bytes of payload; `u32::MAX` before the first loss.
    pub ssthresh: u32,
    /// Payload sent and neither acknowledged nor thought lost, bytes.
    pub bytes_in_flight: u32,
    /// Packets sent and neither acknowledged nor thought lost.
    pub packets_in_flight: u32,
    /// Largest datagram we send, bytes of UDP payload.
    pub mtu: u16,
    /// Payload bytes sent, retransmissions not counted.
    pub bytes_sent: u64,
    /// Payload bytes acknowledged by the peer.
    pub bytes_acked: u64,
    /// Payload bytes received in order.
    pub bytes_received: u64,
    /// Packets sent, of any kind, retransmissions included.
    pub packets_sent: u64,
    /// Packets received, of any kind, that passed validation.
    pub packets_received: u64,
    /// Packets sent again, for whatever reason.
    pub packets_retransmitted: u64,
    /// Packets that loss detection declared lost.
    pub packets_lost: u64,
    /// Retransmission timeouts.
    pub timeouts: u64,
    /// Tail loss probes sent.
    pub tail_probes: u64,
    /// Congestion epochs: how often the window was cut for loss.
    pub congestion_events: u64,
    /// Packets received out of order.
    pub packets_reordered: u64,
    /// Packets received more than once.
    pub packets_duplicate: u64,
    /// Packets with data refused because they lay outside our receive window.
    pub packets_refused: u64,
    /// Packets dropped because their numbers did not fit the connection.
    pub packets_invalid: u64,
    /// How often the peer was followed to another address.
    pub migrations: u64,
    /// Receive window that we advertise now, bytes.
    pub window_local: u32,
    /// Receive window that the peer advertised last, bytes.
    pub window_peer: u32,
}

/// Why datagrams were dropped before any connection saw them. Counters never go back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DropStats {
    /// Looked like uTP but did not decode (truncated extension chain).
    pub malformed: u64,
    /// For a connection that we do not have.
    pub unknown_connection: u64,
    /// SYNs while nobody listened.
    pub not_listening: u64,
    /// SYNs, and first packets of connections, while as many waited to be accepted as may
    /// ([`Config::accept_queue`](crate::Config::accept_queue)).
    pub backlog_full: u64,
    /// SYNs, and first packets of connections, over [`Config::max_connections`](crate::Config::max_connections).
    pub too_many_connections: u64,
    /// SYNs, and first packets of connections, over
    /// [`Config::connections_per_address`](crate::Config::connections_per_address) or
    /// [`Config::connections_per_network`](crate::Config::connections_per_network).
    pub too_many_of_source: u64,
    /// SYNs, first packets of connections, and packets that would have made a buffer larger, for want of memory
    /// ([`Config::max_memory`](crate::Config::max_memory)).
    pub out_of_memory: u64,
    /// SYNs whose ids collide with a connection that we have.
    pub id_collision: u64,
    /// RESETs that fit no connection, or whose numbers did not fit.
    pub bad_reset: u64,
    /// Datagrams from port 0, or from an address that cannot be answered.
    pub bad_source: u64,
    /// Not uTP, while nobody took foreign datagrams or their queue was full.
    pub foreign: u64,
}

/// What one socket has seen and done. Counters never go back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketStats {
    /// Datagrams handed to the operating system.
    pub datagrams_sent: u64,
    /// Bytes of UDP payload handed to the operating system.
    pub bytes_sent: u64,
    /// Calls that sent at least one datagram. `datagrams_sent / send_calls` is the batch size.
    pub send_calls: u64,
    /// Datagrams received.
    pub datagrams_received: u64,
    /// Bytes of UDP payload received.
    pub bytes_received: u64,
    /// Calls that received at least one datagram.
    pub receive_calls: u64,
    /// Send calls that failed for one destination (refused, too big, no buffers, not permitted).
    pub send_errors: u64,
    /// Receive calls that failed for one source (typically an ICMP error).
    pub receive_errors: u64,
    /// Send buffer that the operating system granted, bytes; 0 where unknown.
    pub send_buffer: usize,
    /// Receive buffer that the operating system granted, bytes; 0 where unknown.
    pub receive_buffer: usize,
    /// Live connections, those in time-wait included.
    pub connections: usize,
    /// Connections that somebody started towards us and whose address is not proved.
    pub half_open: usize,
    /// Bytes of memory that connections and their buffers take, those included that are over and still held.
    pub memory: usize,
    /// Connections accepted, ever.
    pub accepted: u64,
    /// Connections started, ever.
    pub connected: u64,
    /// SYNs answered without keeping anything, because too many connections were half-open.
    pub cookies_sent: u64,
    /// Connections made of the acknowledgement of such an answer.
    pub cookies_proved: u64,
    /// Connections that nobody had accepted, ended for the sake of new ones.
    pub evicted: u64,
    /// Connections that followed their peer to another address.
    pub migrations: u64,
    /// RESETs sent for packets that fit no connection.
    pub resets_sent: u64,
    /// RESETs withheld by the rate limit, or because the packet may belong to a handshake.
    pub resets_withheld: u64,
    /// Foreign datagrams delivered to whoever shares the port.
    pub foreign_received: u64,
    /// STUN questions of others answered.
    pub stun_answered: u64,
    /// STUN questions of others that were not answered, because the answer would have been longer, or there were too
    /// many.
    pub stun_withheld: u64,
    /// Datagrams dropped, by reason.
    pub dropped: DropStats,
}
