//! Numbers about messages.

use std::time::Duration;

/// Numbers about one channel of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChannelStats {
    /// Messages taken to be sent.
    pub queued: u64,
    /// Messages put into packets, and the bytes of them (a message counts once, however often it is sent).
    pub sent: u64,
    /// Bytes of payload put into packets.
    pub bytes_sent: u64,
    /// Messages that the peer has.
    pub delivered: u64,
    /// Unreliable messages of which something was lost.
    pub lost: u64,
    /// Messages dropped because their time to live was over, or a newer one was sent.
    pub dropped: u64,
    /// Messages that arrived and were handed up.
    pub received: u64,
    /// Bytes of them.
    pub bytes_received: u64,
    /// Messages that arrived too late, behind a newer one.
    pub outdated: u64,
    /// Bytes that wait to be sent.
    pub queue_bytes: u32,
    /// Messages, or pieces of them, that were in a packet which was lost and were still wanted: unreliable ones are gone,
    /// others were sent again. Beside [`sent`](Self::sent), the share that is lost.
    pub losses: u64,
    /// Bytes of messages that the peer has.
    pub bytes_delivered: u64,
    /// From when a message leaves until it is known to be with the peer, smoothed: a round trip, and more for what was
    /// lost and sent again. `None` as long as nothing is known.
    pub rtt: Option<Duration>,
    /// The least that it took.
    pub rtt_min: Option<Duration>,
    /// How far it varies around [`rtt`](Self::rtt), smoothed.
    pub jitter: Duration,
    /// Bytes of messages per second that got to the peer lately: over at least 200 ms, the latest in which any did.
    pub bandwidth: u64,
    /// How long a new message would wait before it is sent, about: at the present rate of the connection, behind what has
    /// a higher priority, and within budgets.
    pub queue_time: Option<Duration>,
}

/// Numbers about the messages of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageStats {
    /// Bytes that wait to be sent, on all channels.
    pub queue_bytes: usize,
    /// Bytes that have arrived and wait to be taken, or for the rest of their message, or for those before them.
    pub held_bytes: usize,
    /// Packets whose frames made no sense from some point on.
    pub malformed: u64,
    /// Frames for channels that there are not, or with another mode than ours.
    pub wrong_channel: u64,
    /// Messages longer than [`MessageConfig::max_message`](super::MessageConfig::max_message).
    pub too_long: u64,
    /// Fragments that contradict others of the same message.
    pub overlapping: u64,
    /// Frames with a number that is too far ahead, or was there before.
    pub out_of_range: u64,
    /// Messages given up before they were whole.
    pub unassembled: u64,
    /// Packets that were not taken for want of room; they come again.
    pub refused: u64,
    /// How long a message of the lowest priority would wait before it is sent, about, at the present rate.
    pub queue_time: Option<Duration>,
    /// Bytes per second that may be sent, as window and round trip are now, about.
    pub bandwidth: u64,
    /// Bytes per second that the peer has acknowledged lately: over at least 200 ms, the latest in which it did.
    pub delivery_rate: u64,
    /// Share of packets lost, in a thousand, lately: over the latest few of such times.
    pub loss_per_mille: u16,
    /// A packet's round trip, smoothed. `None` before the first answer.
    pub rtt: Option<Duration>,
    /// The shortest round trip, lately.
    pub rtt_min: Option<Duration>,
    /// How far round trips vary around [`rtt`](Self::rtt), smoothed.
    pub jitter: Duration,
}
