//! What a server has seen and done, in numbers that name nobody.

use std::fmt;
use std::time::Duration;

use crate::wire::rendezvous::{Outcome, PathKind, Punched};

/// What a rendezvous server has seen and done. No addresses, no rooms.
///
/// Shown as text, a line is a name and a number, as the collectors of metrics read it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerStats {
    /// Clients there are.
    pub clients: u64,
    /// Rooms there are, empty ones included.
    pub rooms: u64,
    /// Meetings under way.
    pub meetings: u64,
    /// Pairs for whom something is forwarded.
    pub relaying: u64,
    /// Datagrams that were forwarded.
    pub relayed_datagrams: u64,
    /// Bytes of those.
    pub relayed_bytes: u64,
    /// Datagrams to the relay that were not: from somebody unknown, or too many.
    pub relay_dropped: u64,
    /// Clients that came.
    pub arrived: u64,
    /// Clients that were not let in: the server is full, or about to go.
    pub refused_full: u64,
    /// Clients that were not let in: too many from their address.
    pub refused_address: u64,
    /// Clients that left by themselves.
    pub departed: u64,
    /// Clients that were sent away: they did not say hello, or nothing more.
    pub silent: u64,
    /// Clients that were sent away: they said too much, or did not listen.
    pub flooding: u64,
    /// Clients that were sent away: what they said made no sense.
    pub nonsense: u64,
    /// Messages that came.
    pub messages: u64,
    /// Messages that made no sense.
    pub bad_messages: u64,
    /// Ways into a room.
    pub joins: u64,
    /// Refused: no place was left in the room, for the client, or on the server.
    pub no_place: u64,
    /// Refused: too often.
    pub rate_limited: u64,
    /// Rooms that were closed because of their age.
    pub rooms_aged: u64,
    /// Candidates that were not passed on: an address at which we have not seen the client.
    pub candidates_foreign: u64,
    /// Candidates that were not passed on: a port below 1024.
    pub candidates_low_port: u64,
    /// Requests to meet somebody.
    pub requests: u64,
    /// Requests that nobody answered, or that were refused.
    pub declined: u64,
    /// Meetings that were begun.
    pub connects: u64,
    /// Both were ready in time.
    pub both_ready: u64,
    /// Only one was.
    pub one_ready: u64,
    /// Reports by outcome: connected, timed out, both symmetric, UDP blocked, cancelled, failed.
    pub outcomes: [u64; 6],
    /// Ways found: local network, IPv6, IPv4, seen on arrival, guessed port, relayed.
    pub paths: [u64; 6],
    /// How long those took who connected: up to 100 ms, 300 ms, 1 s, 3 s, 10 s, and longer.
    pub took: [u64; 6],
}

/// Ours: steps of half a decade, from what one round trip takes to what nobody waits for.
const TOOK_STEPS: [Duration; 5] = [
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
];

impl ServerStats {
    pub(super) fn count_result(&mut self, result: &Punched) {
        let outcome = usize::from(result.outcome.number()).min(self.outcomes.len() - 1);
        self.outcomes[outcome] += 1;
        if result.outcome != Outcome::Connected {
            return;
        }
        if let Some(path) = result.path.and_then(|path| self.paths.get_mut(usize::from(path.number()))) {
            *path += 1;
        }
        let step = TOOK_STEPS.iter().position(|step| result.took <= *step).unwrap_or(TOOK_STEPS.len());
        self.took[step] += 1;
    }

    /// All numbers with their names.
    pub fn rows(&self) -> impl Iterator<Item = (String, u64)> {
        let named = |name: &str, number: u64| (name.to_owned(), number);
        let single = [
            named("clients", self.clients),
            named("rooms", self.rooms),
            named("meetings", self.meetings),
            named("relaying", self.relaying),
            named("relayed_datagrams", self.relayed_datagrams),
            named("relayed_bytes", self.relayed_bytes),
            named("relay_dropped", self.relay_dropped),
            named("arrived", self.arrived),
            named("refused_full", self.refused_full),
            named("refused_address", self.refused_address),
            named("departed", self.departed),
            named("silent", self.silent),
            named("flooding", self.flooding),
            named("nonsense", self.nonsense),
            named("messages", self.messages),
            named("bad_messages", self.bad_messages),
            named("joins", self.joins),
            named("no_place", self.no_place),
            named("rate_limited", self.rate_limited),
            named("rooms_aged", self.rooms_aged),
            named("candidates_foreign", self.candidates_foreign),
            named("candidates_low_port", self.candidates_low_port),
            named("requests", self.requests),
            named("declined", self.declined),
            named("connects", self.connects),
            named("both_ready", self.both_ready),
            named("one_ready", self.one_ready),
        ];
        let listed = |prefix: &'static str, names: [String; 6], numbers: [u64; 6]| {
            names.into_iter().zip(numbers).map(move |(name, number)| (format!("{prefix}_{name}"), number))
        };
        let outcomes = [0, 1, 2, 3, 4, 5].map(|number| plain(&Outcome::from_number(number).to_string()));
        let paths = [0, 1, 2, 3, 4, 5].map(|number| plain(&PathKind::from_number(number).to_string()));
        let took = ["100ms", "300ms", "1s", "3s", "10s", "longer"].map(str::to_owned);
        single
            .into_iter()
            .chain(listed("result", outcomes, self.outcomes))
            .chain(listed("path", paths, self.paths))
            .chain(listed("took", took, self.took))
    }
}

/// A name that collectors of metrics take.
fn plain(text: &str) -> String {
    text.to_lowercase().replace(' ', "_")
}

impl fmt::Display for ServerStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rows().try_for_each(|(name, number)| writeln!(f, "ebbtide_rendezvous_{name} {number}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Session;

    #[test]
    fn results_are_counted_by_what_happened() {
        let mut stats = ServerStats::default();
        let mut result = Punched {
            session: Session::new([0; 16]),
            outcome: Outcome::Connected,
            path: Some(PathKind::V4),
            took: Duration::from_millis(300),
        };
        stats.count_result(&result);
        result.outcome = Outcome::Other(200);
        stats.count_result(&result);
        let shown = stats.to_string();
        for line in ["result_connected 1", "result_failed 1", "path_ipv4 1", "took_300ms 1", "took_1s 0"] {
            assert!(shown.contains(&format!("ebbtide_rendezvous_{line}\n")), "{line} in\n{shown}");
        }
        let proper = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == ' ';
        assert!(shown.lines().all(|line| line.chars().all(proper)), "{shown}");
    }
}
