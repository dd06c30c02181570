//! A server's sessions: a connection that comes in belongs to one that is known, or begins a new one.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::error::{Break, ProtocolError};
use super::frame::{Frame, SessionId};
use super::pump::Reader;
use super::{Owner, Session, SessionConfig};

/// The sessions of a server, by the id of the other end.
///
/// A session is known as long as somebody holds a handle to it. Clones share the table.
#[derive(Clone)]
pub struct Sessions {
    config: SessionConfig,
    limit: usize,
    table: Arc<Mutex<HashMap<SessionId, Weak<Owner>>>>,
}

/// What a connection has led to.
#[derive(Debug)]
pub struct Accepted {
    /// The session, with the connection attached.
    pub session: Session,
    /// Whether it has begun with this connection.
    pub is_new: bool,
}

impl Sessions {
    /// Sessions with these limits, at most so many at once.
    #[must_use]
    pub fn new(config: SessionConfig, limit: usize) -> Self {
        Self { config, limit, table: Arc::default() }
    }

    /// Waits for the greeting of whoever is at the other end of this connection, and attaches the connection to the
    /// session that it is for.
    ///
    /// # Errors
    /// A connection that ends, does not greet in time or does not speak the protocol; a new session where there are
    /// as many as there may be. The connection is dropped.
    ///
    /// # Cancel safety
    /// The connection is lost with the future, and no session is touched.
    pub async fn accept<C>(&self, connection: C) -> Result<Accepted, HubError>
    where
        C: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (mut reader, writer) = Reader::split(connection, self.config.max_payload);
        let hello = match timeout(self.config.patience, reader.next()).await {
            Ok(Ok(Frame::Hello(hello))) => hello,
            Ok(Ok(_)) => return Err(HubError::Protocol(ProtocolError::Greeting)),
            Ok(Err(Break::Io(error))) => return Err(HubError::Io(error)),
            Ok(Err(Break::Protocol(error))) => return Err(HubError::Protocol(error)),
            Err(_) => return Err(HubError::Protocol(ProtocolError::Silent)),
        };
        let accepted = self.find(hello.own).ok_or(HubError::Full)?;
        accepted.session.attach_parts(reader, writer, Some(hello));
        Ok(accepted)
    }

    /// Sessions that are known.
    #[must_use]
    pub fn len(&self) -> usize {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.retain(|_, owner| owner.strong_count() > 0);
        table.len()
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn find(&self, peer: SessionId) -> Option<Accepted> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(owner) = table.get(&peer).and_then(Weak::upgrade) {
            let session = Session { owner };
            // A session that has ended is no session to come back to.
            if !session.is_closed() {
                return Some(Accepted { session, is_new: false });
            }
        }
        if table.len() >= self.limit {
            table.retain(|_, owner| owner.strong_count() > 0);
            if table.len() >= self.limit {
                return None;
            }
        }
        let session = Session::with_config(self.config);
        table.insert(peer, Arc::downgrade(&session.owner));
        Some(Accepted { session, is_new: true })
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("len", &self.len())
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// Why a connection led to no session.
#[derive(Debug)]
#[non_exhaustive]
pub enum HubError {
    /// There are as many sessions as there may be.
    Full,
    /// The other end did not greet as it should.
    Protocol(ProtocolError),
    /// The connection failed.
    Io(io::Error),
}

impl fmt::Display for HubError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("there are as many sessions as there may be"),
            Self::Protocol(error) => error.fmt(f),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for HubError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Full => None,
            Self::Protocol(error) => Some(error),
            Self::Io(error) => Some(error),
        }
    }
}
