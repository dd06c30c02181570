//! When there is no more sense in trying, and why.
//!
//! What the two NATs are decides how soon that can be said. Sends nothing.

use std::time::Duration;

use super::{Punch, PunchError};
use crate::time::Instant;

/// Ours: two symmetric NATs are given that long for a way around them (the local network, IPv6, a forwarded port).
/// To try their ports would take a hundred thousand probes.
const BOTH_HARD: Duration = Duration::from_millis(2800);

/// Ours: a side that hears nobody by UDP is given that long.
const BLOCKED: Duration = Duration::from_millis(4500);

/// Ours: both sides were there, nothing hard is between them, and yet not one packet came in that time since everything
/// is probed. The word to begin may have come late.
const SILENT: Duration = Duration::from_millis(4600);

/// Ours: a connection that has begun to open is not cut off by the deadline.
const GRACE: Duration = Duration::from_secs(2);

/// Why there is no more sense in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    UdpBlocked,
    BothSymmetric,
    Vanilla,
    Timeout,
}

impl Punch {
    /// When it is given up, and why, if nothing happens until then.
    pub(super) fn verdict(&self) -> (Instant, Verdict) {
        let (local, remote) = (&self.plan.local, &self.plan.remote);
        let both_hard = local.mapping.is_hard() && remote.mapping.is_hard();
        let any_hard = local.mapping.is_hard() || remote.mapping.is_hard();
        let blocked = local.blocked || remote.blocked;
        let opening = self.nominee.last_call().max(self.syn_seen);
        let end = (self.began + self.plan.deadline).max(opening.map_or(Instant::ZERO, |at| at + GRACE));
        if self.targets.was_any_heard() {
            return (end, Verdict::Timeout);
        }
        let (at, verdict) = if blocked {
            (BLOCKED, Verdict::UdpBlocked)
        } else if both_hard {
            // One who comes late may still be met on a path without a translator.
            let certain = self.gone || !self.targets.has_plain();
            (if certain { BOTH_HARD } else { self.plan.deadline }, Verdict::BothSymmetric)
        } else if self.vanilla {
            (self.plan.deadline, Verdict::Vanilla)
        } else if let Some(went) = self.went()
            && self.gone
            && !any_hard
        {
            (went.since(self.began) + SILENT, Verdict::UdpBlocked)
        } else {
            (self.plan.deadline, Verdict::Timeout)
        };
        (end.min(self.began + at), verdict)
    }

    /// The verdict as an error.
    pub(super) fn failure(&self, now: Instant, verdict: Verdict) -> PunchError {
        let report = Box::new(self.report(now));
        match verdict {
            Verdict::UdpBlocked => PunchError::UdpBlocked(report),
            Verdict::BothSymmetric => PunchError::BothSymmetric(report),
            Verdict::Vanilla => PunchError::Vanilla(report),
            Verdict::Timeout => PunchError::Timeout(report),
        }
    }
}
