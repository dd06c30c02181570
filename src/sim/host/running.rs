//! A program that runs on a host, and its end of a connection.

use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use super::Outside;
use super::bell::Bell;
use crate::proto::endpoint::Handle;
use crate::sim::flow::{FlowId, Side};
use crate::sim::program::{App, Leave, Program};
use crate::stats::StreamStats;

/// A program and its end of a connection.
pub(super) struct Running {
    pub(super) flow: FlowId,
    pub(super) side: Side,
    pub(super) program: Box<dyn Program>,
    pub(super) bell: Arc<Bell>,
    pub(super) waker: Waker,
    /// Until it leaves.
    pub(super) handle: Option<Handle>,
    pub(super) alarm_at: u64,
    /// As they were when it left.
    pub(super) stats: StreamStats,
}

impl Running {
    pub(super) fn step(&mut self, index: u32, now: u64, outside: &mut impl Outside) {
        let Some(handle) = &self.handle else { return };
        let mut app = App {
            handle,
            waker: &self.waker,
            now: Duration::from_nanos(now),
            scratch: outside.scratch(),
            alarm: None,
        };
        let outcome = self.program.step(&mut app);
        let alarm = app.alarm;
        outside.stepped(self.flow, self.side, &self.program.report());
        match outcome {
            Poll::Ready(how) => self.leave(how, outside),
            Poll::Pending => {
                if let Some(at) = alarm.map(|at| at.max(now + 1)).filter(|&at| at < self.alarm_at) {
                    self.alarm_at = at;
                    outside.alarm(index, at);
                }
            }
        }
    }

    /// The task that waited is gone, and whoever wakes it wakes nobody.
    pub(super) fn replace_task(&mut self) {
        self.bell = self.bell.replaced();
        self.waker = Waker::from(Arc::clone(&self.bell));
    }

    pub(super) fn leave(&mut self, how: Leave, outside: &mut impl Outside) {
        let Some(handle) = self.handle.take() else { return };
        self.stats = handle.stats();
        if how == Leave::Abort {
            handle.abort();
        }
        outside.left(self.flow, self.side, how);
    }
}
