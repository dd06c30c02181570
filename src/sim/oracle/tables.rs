//! Oracles over what an endpoint holds: what is bounded stays bounded, and what is over leaves nothing behind.

use super::{Oracle, Verdict, violated};
use crate::config::Config;
use crate::proto::endpoint::Endpoint;

/// How many timers of connections that have changed their minds an endpoint may keep, besides two for each connection
/// that it had when it last swept.
const TIMERS_LEFT_OVER: usize = 65;

/// How much an endpoint holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) connections: usize,
    pub(super) half_open: usize,
    pub(super) routes: usize,
    pub(super) timers: usize,
    pub(super) ready: usize,
    /// Bytes that connections hold.
    pub(super) memory: usize,
}

impl Sizes {
    pub(super) fn of(endpoint: &Endpoint) -> Self {
        Self {
            connections: endpoint.connections(),
            half_open: endpoint.half_open(),
            routes: endpoint.routes_len(),
            timers: endpoint.timers_len(),
            ready: endpoint.ready_len(),
            memory: endpoint.memory(),
        }
    }

    /// After a turn of a host that had at most `peak` connections since it last had none.
    pub(super) fn check(self, peak: usize, config: &Config) -> Verdict {
        let Self { connections, half_open, routes, timers, ready, memory } = self;
        let bounds = [
            ("connections", connections, config.max_connections),
            ("half-open connections", half_open, config.half_open),
            ("routes", routes, connections + half_open),
            ("bytes of memory", memory, config.max_memory),
            ("timers", timers, 2 * peak + TIMERS_LEFT_OVER),
        ];
        for (what, is, most) in bounds {
            if is > most {
                return violated(Oracle::Memory, format_args!("{is} {what}, at most {most} are allowed"));
            }
        }
        if ready > 0 {
            return violated(Oracle::Progress, format_args!("{ready} connections are ready after the turn"));
        }
        if connections == 0 && (timers > 0 || routes > half_open) {
            let left = format_args!("no connection, but {timers} timers and {routes} routes").to_string();
            return violated(Oracle::Leftovers, left);
        }
        Ok(())
    }
}
