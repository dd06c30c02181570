//! Steps of the world under the eyes of the oracles.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::{Machine, World};
use crate::link::nanos;
use crate::sim::host::HostId;
use crate::sim::oracle::{Oracle, Turn};
use crate::sim::stuck::Why;

impl World {
    /// From now on everything has to come to its end within so much time: every program leaves, every endpoint forgets
    /// its connections. If not, that is a violation of [`Oracle::Deadline`].
    pub fn finish_within(&mut self, limit: Duration) {
        self.oracles.set_due(self.now.saturating_add(nanos(limit)));
    }

    /// Watches a host without an endpoint like any other, as far as the wire shows what it does. For those who put an
    /// implementation of their own there.
    pub fn oversee(&mut self, raw: HostId) {
        self.oracles.oversee(raw);
    }

    /// The clock of this host has jumped forwards.
    pub(in crate::sim) fn note_jump(&mut self, host: HostId) {
        self.oracles.excuse_repeats(self.now, host);
    }

    /// What this host takes for a round trip may be less than one from now on.
    pub(in crate::sim) fn note_timeless(&mut self, host: HostId) {
        self.oracles.note_timeless(host);
    }

    /// One event. A panic is a violation too, and nothing goes on after it.
    pub(super) fn step(&mut self) {
        if let Err(cause) = catch_unwind(AssertUnwindSafe(|| self.step_unwatched())) {
            self.oracles.report(Oracle::Panic, said_in_panic(&*cause));
        }
        if self.oracles.is_overdue(self.now) && !self.is_settled() {
            let running = self.running();
            self.oracles.report(Oracle::Deadline, format_args!("{running} programs still run"));
        }
    }

    /// What has gone wrong, if something has.
    pub(super) fn trouble(&self) -> Option<Why> {
        let violation = self.oracles.found().cloned().map(|(oracle, text)| Why::Violation(oracle, text));
        violation.or_else(|| self.livelock.map(Why::Livelock))
    }

    /// Everything is over: nobody may hold any memory.
    pub(super) fn watch_end(&mut self) {
        for (index, machine) in self.machines.iter().enumerate() {
            if let Machine::Host(host) = machine
                && host.endpoint().memory() > 0
            {
                let memory = host.endpoint().memory();
                self.oracles.report(Oracle::Leftovers, format_args!("h{index}: {memory} bytes of nobody"));
            }
        }
    }

    /// Tells the oracles that the turn of this host is over.
    pub(super) fn watch_turn(&mut self, id: HostId, cause: Turn) {
        let Self { oracles, machines, .. } = self;
        let Machine::Host(host) = &mut machines[id.get()] else { return };
        let looked_at = host.next_looked_at();
        oracles.turned(cause);
        if host.is_blocked() {
            // It cannot have done all there was to do.
            return;
        }
        let waiting = looked_at.and_then(|app| host.handle(app));
        oracles.look(id, host.endpoint(), host.config(), waiting);
    }
}

fn said_in_panic(cause: &(dyn Any + Send)) -> &str {
    let text = cause.downcast_ref::<&str>().copied();
    text.or_else(|| cause.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a word")
}
