//! The two directions of a stream apart: borrowed for one task, owned for two.

use std::error::Error;
use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::stream::UtpStream;

/// The reading half of a borrowed stream, made by [`UtpStream::split`].
#[derive(Debug)]
pub struct ReadHalf<'a>(&'a UtpStream);

/// The writing half of a borrowed stream, made by [`UtpStream::split`].
#[derive(Debug)]
pub struct WriteHalf<'a>(&'a UtpStream);

/// The reading half of a stream, made by [`UtpStream::into_split`]. Dropping it changes nothing for the peer, until its
/// window is full.
#[derive(Debug)]
pub struct OwnedReadHalf {
    stream: Arc<UtpStream>,
}

/// The writing half of a stream, made by [`UtpStream::into_split`]. Dropping it ends our direction, as `shutdown` does.
#[derive(Debug)]
pub struct OwnedWriteHalf {
    stream: Arc<UtpStream>,
    ends_when_dropped: bool,
}

/// The halves do not belong together; here they are again.
#[derive(Debug)]
pub struct ReuniteError(pub OwnedReadHalf, pub OwnedWriteHalf);

pub(super) const fn halves(stream: &UtpStream) -> (ReadHalf<'_>, WriteHalf<'_>) {
    (ReadHalf(stream), WriteHalf(stream))
}

pub(super) fn owned_halves(stream: UtpStream) -> (OwnedReadHalf, OwnedWriteHalf) {
    let stream = Arc::new(stream);
    (OwnedReadHalf { stream: Arc::clone(&stream) }, OwnedWriteHalf { stream, ends_when_dropped: true })
}

/// The methods that look the same on a half as on the stream.
macro_rules! reading {
    ($half:ty, $stream:tt) => {
        impl $half {
            /// As [`UtpStream::readable`].
            ///
            /// # Errors
            /// None at present.
            ///
            /// # Cancel safety
            /// Safe: nothing is taken.
            pub async fn readable(&self) -> io::Result<()> {
                self.$stream.readable().await
            }

            /// As [`UtpStream::peek`].
            ///
            /// # Errors
            /// As for reading.
            ///
            /// # Cancel safety
            /// Safe: nothing is taken.
            pub async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
                self.$stream.peek(buffer).await
            }

            /// As [`UtpStream::try_read`].
            ///
            /// # Errors
            /// As for `UtpStream::try_read`.
            pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
                self.$stream.try_read(buffer)
            }

            /// The stream, for everything that only looks at it.
            #[must_use]
            pub fn stream(&self) -> &UtpStream {
                &self.$stream
            }

            /// The peer's address.
            #[must_use]
            pub fn peer_addr(&self) -> SocketAddr {
                self.$stream.peer_addr()
            }
        }

        impl AsyncRead for $half {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                self.$stream.poll_read_into(cx, buffer)
            }
        }
    };
}

/// The methods that look the same on a half as on the stream.
macro_rules! writing {
    ($half:ty, $stream:tt) => {
        impl $half {
            /// As [`UtpStream::writable`].
            ///
            /// # Errors
            /// None at present.
            ///
            /// # Cancel safety
            /// Safe: nothing is written.
            pub async fn writable(&self) -> io::Result<()> {
                self.$stream.writable().await
            }

            /// As [`UtpStream::closed`].
            ///
            /// # Errors
            /// As for `UtpStream::closed`.
            ///
            /// # Cancel safety
            /// Safe: it only waits.
            pub async fn closed(&self) -> io::Result<()> {
                self.$stream.closed().await
            }

            /// As [`UtpStream::try_write`].
            ///
            /// # Errors
            /// As for `UtpStream::try_write`.
            pub fn try_write(&self, data: &[u8]) -> io::Result<usize> {
                self.$stream.try_write(data)
            }

            /// As [`UtpStream::try_write_vectored`].
            ///
            /// # Errors
            /// As for `UtpStream::try_write`.
            pub fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
                self.$stream.try_write_vectored(pieces)
            }

            /// The stream, for everything that only looks at it.
            #[must_use]
            pub fn stream(&self) -> &UtpStream {
                &self.$stream
            }

            /// The peer's address.
            #[must_use]
            pub fn peer_addr(&self) -> SocketAddr {
                self.$stream.peer_addr()
            }
        }

        impl AsyncWrite for $half {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                data: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.$stream.poll_write_from(cx, data)
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                pieces: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                self.$stream.poll_write_pieces(cx, pieces)
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.$stream.poll_flushed(cx)
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.$stream.poll_finish(cx)
            }
        }
    };
}

reading!(ReadHalf<'_>, 0);
reading!(OwnedReadHalf, stream);
writing!(WriteHalf<'_>, 0);
writing!(OwnedWriteHalf, stream);

impl OwnedReadHalf {
    /// The stream again, if the halves belong together.
    ///
    /// # Errors
    /// Both halves, if they come from different streams.
    pub fn reunite(self, writing: OwnedWriteHalf) -> Result<UtpStream, ReuniteError> {
        reunite(self, writing)
    }
}

impl OwnedWriteHalf {
    /// The stream again, if the halves belong together.
    ///
    /// # Errors
    /// Both halves, if they come from different streams.
    pub fn reunite(self, reading: OwnedReadHalf) -> Result<UtpStream, ReuniteError> {
        reunite(reading, self)
    }

    /// Drops the half without ending our direction: it stays open until the other half is dropped.
    pub fn forget(mut self) {
        self.ends_when_dropped = false;
    }
}

impl Drop for OwnedWriteHalf {
    fn drop(&mut self) {
        if self.ends_when_dropped {
            // Ready at once. If the connection is over there is nothing to end.
            let _ended = self.stream.poll_finish(&mut Context::from_waker(Waker::noop()));
        }
    }
}

impl fmt::Display for ReuniteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("halves of different streams")
    }
}

impl Error for ReuniteError {}

fn reunite(reading: OwnedReadHalf, mut writing: OwnedWriteHalf) -> Result<UtpStream, ReuniteError> {
    if !Arc::ptr_eq(&reading.stream, &writing.stream) {
        return Err(ReuniteError(reading, writing));
    }
    writing.ends_when_dropped = false;
    drop(writing);
    match Arc::try_unwrap(reading.stream) {
        Ok(stream) => Ok(stream),
        Err(_) => unreachable!("a stream has two halves"),
    }
}
