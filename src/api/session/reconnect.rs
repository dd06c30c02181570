//! A session that gets itself a new connection whenever the old one is gone.

use std::fmt;
use std::future::Future;
use std::io;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep, timeout};

use super::Session;
use super::error::SessionError;
use super::shared::Interest;

/// How long to wait before the next attempt: twice as long each time, with chance in it so that a thousand clients do
/// not come back at the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Longest wait before the first attempt after a failure (default 100 ms).
    pub first: Duration,
    /// Longest wait of all (default 30 s).
    pub most: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(100), most: Duration::from_secs(30) }
    }
}

impl Backoff {
    /// The wait after so many failures in a row: between half of what is allowed and all of it.
    fn wait(self, failures: u32, rng: &mut StdRng) -> Duration {
        let allowed = self.first.saturating_mul(1 << failures.min(20)).min(self.most);
        allowed.mul_f64(rng.random_range(0.5..=1.0))
    }
}

/// Keeps a session attached: makes a connection by the function that it was given, again and again.
pub struct Reconnector<F> {
    session: Session,
    connect: F,
    backoff: Backoff,
}

impl<F, C, Fut> Reconnector<F>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = io::Result<C>>,
    C: AsyncRead + AsyncWrite + Send + 'static,
{
    /// For this session, with connections from `connect`.
    pub fn new(session: Session, connect: F) -> Self {
        Self { session, connect, backoff: Backoff::default() }
    }

    /// With other pauses between attempts.
    #[must_use]
    pub const fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Connects, and connects again, until the session is closed. Failures to connect are reported to
    /// [`Session::errors`] like those of connections.
    ///
    /// # Cancel safety
    /// Safe: the session keeps the connection that it has.
    pub async fn run(mut self) {
        let mut rng = StdRng::from_seed(seed(&self.session));
        let patience = self.session.shared().lock().core.config().patience;
        let mut failures = 0;
        while !self.session.is_closed() {
            match timeout(patience, (self.connect)()).await {
                Ok(Ok(connection)) => self.session.attach(connection),
                Ok(Err(error)) => self.report(error),
                Err(_) => self.report(io::ErrorKind::TimedOut.into()),
            }
            if self.was_attached().await {
                failures = 0;
            }
            if self.session.is_closed() {
                return;
            }
            sleep(self.backoff.wait(failures, &mut rng)).await;
            failures += 1;
        }
    }

    /// Waits until there is no connection. Whether there was a conversation in between.
    async fn was_attached(&self) -> bool {
        self.session.until(|core| !core.is_greeting()).await;
        let attached = self.session.is_attached();
        self.session.until(|core| core.is_detached() || core.is_closed()).await;
        attached
    }

    fn report(&self, error: io::Error) {
        let report = SessionError::Disconnected(error);
        self.session.shared().change(&[Interest::Error], |core| core.report(report));
    }
}

/// Chance enough to spread clients: their ids are random.
fn seed(session: &Session) -> [u8; 32] {
    let mut seed = [0; 32];
    seed[..16].copy_from_slice(&session.id().to_bytes());
    seed
}

impl<F> fmt::Debug for Reconnector<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconnector")
            .field("session", &self.session)
            .field("backoff", &self.backoff)
            .finish_non_exhaustive()
    }
}
