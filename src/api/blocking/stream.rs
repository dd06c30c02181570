//! One connection as a byte stream, with the manners of `std::net::TcpStream`.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::socket::{UtpSocket, any_towards, first_of};
use super::wait::{Patience, not_now, wait};
use crate::error::CloseReason;
use crate::proto::conn::Role;
use crate::proto::endpoint::Handle;
use crate::stats::StreamStats;

/// A uTP connection: ordered bytes, both ways, for any number of threads.
///
/// - `flush` waits until everything written has been handed to the network; [`close`](Self::close), until the peer has
///   acknowledged it.
/// - Clones share everything, as those of a `TcpStream` do: time-outs, and whether calls wait.
/// - When the last clone is dropped our direction ends: what was written is still delivered in the background, for at
///   most [`Config::linger`](crate::Config::linger), and what arrives is thrown away.
/// - Errors have the kinds that TCP has; their source is a [`CloseReason`] if the connection is over.
#[derive(Debug)]
pub struct UtpStream {
    shared: Arc<Shared>,
}

/// What the clones of a stream share.
#[derive(Debug)]
struct Shared {
    stream: crate::UtpStream,
    reading: Patience,
    writing: Patience,
    nonblocking: AtomicBool,
}

/// Connecting.
impl UtpStream {
    /// Connects to the first of these addresses that answers, from a socket of its own with any free port. To dial from
    /// a port of your choice, or from one that listens: [`UtpSocket::connect`].
    ///
    /// # Errors
    /// As for [`UtpSocket::connect`] and [`UtpSocket::bind`], about the last address.
    pub fn connect(addr: impl ToSocketAddrs) -> io::Result<Self> {
        first_of(addr, |addr| UtpSocket::bind(any_towards(addr))?.connect(addr))
    }

    /// Connects within `timeout`, from a socket of its own. [`Config::connect_timeout`](crate::Config::connect_timeout)
    /// is a limit too.
    ///
    /// # Errors
    /// As for [`UtpSocket::connect_timeout`] and [`UtpSocket::bind`].
    pub fn connect_timeout(addr: &SocketAddr, timeout: Duration) -> io::Result<Self> {
        UtpSocket::bind(any_towards(*addr))?.connect_timeout(addr, timeout)
    }

    /// Another handle to the same stream.
    ///
    /// # Errors
    /// None at present.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { shared: Arc::clone(&self.shared) })
    }
}

/// How long to wait.
impl UtpStream {
    /// How long reading waits; `None` (the default) for as long as it takes. When the time is over it says
    /// [`WouldBlock`](io::ErrorKind::WouldBlock).
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for a time of zero.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.shared.reading.set(timeout)
    }

    /// How long writing, flushing and [`close`](Self::close) wait; `None` (the default) for as long as it takes.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for a time of zero.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.shared.writing.set(timeout)
    }

    /// What [`set_read_timeout`](Self::set_read_timeout) has set.
    ///
    /// # Errors
    /// None at present.
    pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.shared.reading.get())
    }

    /// What [`set_write_timeout`](Self::set_write_timeout) has set.
    ///
    /// # Errors
    /// None at present.
    pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.shared.writing.get())
    }

    /// Whether calls say [`WouldBlock`](io::ErrorKind::WouldBlock) instead of waiting (initially not). Threads that wait
    /// already go on waiting.
    ///
    /// # Errors
    /// None at present.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.shared.nonblocking.store(nonblocking, Relaxed);
        Ok(())
    }
}

/// The end.
impl UtpStream {
    /// Ends one direction or both.
    ///
    /// - `Write`: the peer reads the end after everything that was written. Writing says
    ///   [`BrokenPipe`](io::ErrorKind::BrokenPipe) from then on.
    /// - `Read`: reading finds the end, also in threads that wait. What has arrived and what will is thrown away, so that
    ///   the peer is not held up; it is not told.
    ///
    /// # Errors
    /// For `Write`, if the connection ended before everything was acknowledged.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        if matches!(how, Shutdown::Read | Shutdown::Both) {
            self.handle().stop_reading();
        }
        if matches!(how, Shutdown::Write | Shutdown::Both) {
            return self.finish();
        }
        Ok(())
    }

    /// Ends our direction, and waits until the peer has acknowledged all of it. Reading goes on.
    ///
    /// # Errors
    /// How the connection ended before that: something written may not have arrived.
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) after [the time-out](Self::set_write_timeout); it can be called again.
    pub fn close(&self) -> io::Result<()> {
        self.finish()?;
        self.wait(&self.shared.writing, |cx| self.handle().poll_acked(cx))
    }

    /// Ends the connection at once: the peer gets [`ConnectionReset`](io::ErrorKind::ConnectionReset), and what it has
    /// not acknowledged may be lost.
    pub fn abort(&self) {
        self.handle().abort();
    }

    fn finish(&self) -> io::Result<()> {
        match self.handle().poll_finish(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => outcome.map_err(Into::into),
            Poll::Pending => Ok(()),
        }
    }
}

/// The rest.
impl UtpStream {
    /// Waits for bytes and copies them, to be read again; 0 is the end of the peer's direction.
    ///
    /// # Errors
    /// As for reading.
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.wait(&self.shared.reading, |cx| self.handle().poll_peek(cx, buffer))
    }

    /// The peer's address.
    ///
    /// # Errors
    /// None at present.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.shared.stream.peer_addr())
    }

    /// The address of the socket that the connection goes through, as that was bound: perhaps a wildcard.
    ///
    /// # Errors
    /// None at present.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.shared.stream.local_addr())
    }

    /// Whether small writes leave at once instead of waiting, for at most a round trip, to be merged with more.
    /// Initially [`Config::nodelay`](crate::Config::nodelay).
    ///
    /// # Errors
    /// None at present.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.handle().set_nodelay(nodelay);
        Ok(())
    }

    /// Which end of the stream this is.
    #[must_use]
    pub fn role(&self) -> Role {
        self.handle().role()
    }

    /// What the connection has seen and done.
    #[must_use]
    pub fn stats(&self) -> StreamStats {
        self.handle().stats()
    }

    /// Why the connection ended, once it has.
    #[must_use]
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.handle().close_reason()
    }

    /// The same stream for tasks: everything that this face does not have.
    #[must_use]
    pub fn get_ref(&self) -> &crate::UtpStream {
        &self.shared.stream
    }

    fn handle(&self) -> &Handle {
        self.shared.stream.handle()
    }

    /// Waits as the settings say.
    fn wait<T, E: Into<io::Error>>(
        &self,
        patience: &Patience,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<Result<T, E>>,
    ) -> io::Result<T> {
        let outcome = if self.shared.nonblocking.load(Relaxed) {
            match poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(outcome) => Some(outcome),
                Poll::Pending => None,
            }
        } else {
            wait(patience.deadline(), poll)
        };
        outcome.map_or_else(|| Err(not_now()), |outcome| outcome.map_err(Into::into))
    }
}

/// The same stream for threads; its driver stays where it is.
impl From<crate::UtpStream> for UtpStream {
    fn from(stream: crate::UtpStream) -> Self {
        let (reading, writing) = (Patience::default(), Patience::default());
        let shared = Shared { stream, reading, writing, nonblocking: AtomicBool::new(false) };
        Self { shared: Arc::new(shared) }
    }
}

impl Read for &UtpStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.wait(&self.shared.reading, |cx| self.handle().poll_read(cx, buffer))
    }
}

impl Write for &UtpStream {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.wait(&self.shared.writing, |cx| self.handle().poll_write(cx, data))
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.wait(&self.shared.writing, |cx| self.handle().poll_write_vectored(cx, pieces))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.wait(&self.shared.writing, |cx| self.handle().poll_flush(cx))
    }
}

impl Read for UtpStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }
}

impl Write for UtpStream {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        (&*self).write(data)
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(pieces)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self).flush()
    }
}
