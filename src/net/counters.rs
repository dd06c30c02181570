//! What went through the sockets: counted by the driver alone, published once per turn, read by whoever asks.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::socket::GrantedBuffers;
use crate::stats::SocketStats;

/// The driver's own count.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct IoCounts {
    pub(crate) datagrams_sent: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) send_calls: u64,
    pub(crate) datagrams_received: u64,
    pub(crate) bytes_received: u64,
    pub(crate) receive_calls: u64,
    pub(crate) send_errors: u64,
    pub(crate) receive_errors: u64,
}

/// The published count. The numbers of one reading may be a turn apart from each other.
#[derive(Debug, Default)]
pub(crate) struct IoCounters {
    values: [AtomicU64; 8],
    granted: GrantedBuffers,
}

impl IoCounters {
    pub(crate) fn new(granted: GrantedBuffers) -> Self {
        Self { values: Default::default(), granted }
    }

    /// Makes the driver's count visible.
    pub(crate) fn publish(&self, counts: &IoCounts) {
        let numbers = [
            counts.datagrams_sent,
            counts.bytes_sent,
            counts.send_calls,
            counts.datagrams_received,
            counts.bytes_received,
            counts.receive_calls,
            counts.send_errors,
            counts.receive_errors,
        ];
        for (value, number) in self.values.iter().zip(numbers) {
            value.store(number, Relaxed);
        }
    }

    /// Fills in the fields that this floor knows about.
    pub(crate) fn fill(&self, stats: &mut SocketStats) {
        let fields = [
            &mut stats.datagrams_sent,
            &mut stats.bytes_sent,
            &mut stats.send_calls,
            &mut stats.datagrams_received,
            &mut stats.bytes_received,
            &mut stats.receive_calls,
            &mut stats.send_errors,
            &mut stats.receive_errors,
        ];
        for (field, value) in fields.into_iter().zip(&self.values) {
            *field = value.load(Relaxed);
        }
        stats.send_buffer = self.granted.send;
        stats.receive_buffer = self.granted.receive;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_count_reaches_its_own_field() {
        let counters = IoCounters::new(GrantedBuffers { send: 9, receive: 10 });
        counters.publish(&IoCounts {
            datagrams_sent: 1,
            bytes_sent: 2,
            send_calls: 3,
            datagrams_received: 4,
            bytes_received: 5,
            receive_calls: 6,
            send_errors: 7,
            receive_errors: 8,
        });
        let mut stats = SocketStats::default();
        counters.fill(&mut stats);
        assert_eq!((stats.datagrams_sent, stats.bytes_sent, stats.send_calls), (1, 2, 3));
        assert_eq!((stats.datagrams_received, stats.bytes_received, stats.receive_calls), (4, 5, 6));
        assert_eq!((stats.send_errors, stats.receive_errors), (7, 8));
        assert_eq!((stats.send_buffer, stats.receive_buffer), (9, 10));
    }
}
