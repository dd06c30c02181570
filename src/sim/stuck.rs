//! The error of a world that does not get where it should: everything needed to see why, and to run it again.

use std::fmt;
use std::time::Duration;

use super::host::HostId;
use super::oracle::Oracle;
use super::trace::Trace;

/// What was waited for did not come. Prints the seed, the state of things and the last events.
pub struct Stuck {
    inner: Box<Inner>,
}

struct Inner {
    seed: u64,
    at: Duration,
    why: Why,
    state: Vec<String>,
    trace: Trace,
}

/// How it went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// It took longer than this.
    Limit(Duration),
    /// No packet is under way and no timer is armed: nothing will ever happen again.
    Silence,
    /// This host is busy for ever, without time passing.
    Livelock(HostId),
    /// A promise was broken that holds in every world; what exactly is wrong.
    Violation(Oracle, String),
}

impl Stuck {
    pub(super) fn new(seed: u64, at: Duration, why: Why, state: Vec<String>, trace: Trace) -> Self {
        Self { inner: Box::new(Inner { seed, at, why, state, trace }) }
    }

    /// The seed of the world.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.inner.seed
    }

    /// How it went wrong.
    #[must_use]
    pub const fn why(&self) -> &Why {
        &self.inner.why
    }

    /// What happened before.
    #[must_use]
    pub const fn trace(&self) -> &Trace {
        &self.inner.trace
    }
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { seed, at, why, state, trace } = &*self.inner;
        match why {
            Why::Limit(limit) => write!(f, "not there after {limit:?}")?,
            Why::Silence => f.write_str("silence for ever")?,
            Why::Livelock(host) => write!(f, "{host} is busy for ever")?,
            Why::Violation(oracle, text) => write!(f, "{oracle}: {text}")?,
        }
        writeln!(f, " (seed {seed}, at {at:?})")?;
        state.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        trace.fmt(f)
    }
}

/// The same as `Display`, so that `unwrap` shows it readably.
impl fmt::Debug for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Stuck {}
