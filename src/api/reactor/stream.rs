//! Streams of a reactor, with the manners of a non-blocking `std::net::TcpStream`.

use std::io;
use std::net::SocketAddr;
use std::task::Poll;

use super::Reactor;
use super::error::NoSuchPeer;
use super::event::PeerId;
use super::peer::{Carries, Finishing, Peer, Stream};
use crate::net::Datagrams;

/// Streams.
impl<S: Datagrams> Reactor<S> {
    /// Starts a connection that carries a stream; the peer may be any uTP. How it goes,
    /// [`Event::Connected`](super::Event::Connected) or [`Event::Disconnected`](super::Event::Disconnected) tells. Bytes
    /// may be written at once; they leave when it is open.
    pub fn connect_stream(&mut self, addr: SocketAddr) -> PeerId {
        let handle = self.lease.connect(addr, None);
        self.enter(|bell| Peer::calling(handle, bell, Carries::stream()))
    }

    /// Takes bytes that have arrived, in order; 0 at the end of the peer's direction, or if `out` is empty.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if there are none: [`Event::Readable`](super::Event::Readable) tells when
    /// there are. [`NotFound`](io::ErrorKind::NotFound) with [`NoSuchPeer`] as source,
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for a connection that carries messages; how the connection ended, with
    /// a [`CloseReason`](crate::CloseReason) as source.
    pub fn read(&mut self, peer: PeerId, out: &mut [u8]) -> io::Result<usize> {
        let (peer, stream) = self.stream(peer)?;
        let outcome = peer.handle.poll_read(&mut peer.bell.context(), out);
        stream.told = false;
        match outcome {
            Poll::Ready(read) => {
                stream.ended |= matches!(read, Ok(0) if !out.is_empty()) || read.is_err();
                // There may be more.
                peer.bell.ring();
                read.map_err(Into::into)
            }
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Takes as many of these bytes as there is room for.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if there is none: [`Event::Writable`](super::Event::Writable) tells when
    /// there is. [`BrokenPipe`](io::ErrorKind::BrokenPipe) after [`finish`](Self::finish); otherwise as for
    /// [`read`](Self::read).
    pub fn write(&mut self, peer: PeerId, data: &[u8]) -> io::Result<usize> {
        let (peer, stream) = self.stream(peer)?;
        match peer.handle.poll_write(&mut peer.bell.context(), data) {
            Poll::Ready(written) => written.map_err(Into::into),
            Poll::Pending => {
                stream.full = true;
                Err(io::ErrorKind::WouldBlock.into())
            }
        }
    }

    /// Ends our direction after the last byte written; the peer's goes on.
    /// [`Event::Finished`](super::Event::Finished) tells when the peer has acknowledged everything. When both directions
    /// have ended and the peer's was read to its end, the connection is over.
    ///
    /// # Errors
    /// As for [`read`](Self::read), without `WouldBlock`.
    pub fn finish(&mut self, peer: PeerId) -> io::Result<()> {
        let (peer, stream) = self.stream(peer)?;
        if stream.finishing == Finishing::No {
            stream.finishing = Finishing::Asked;
        }
        let outcome = peer.handle.poll_finish(&mut peer.bell.context());
        peer.bell.ring();
        match outcome {
            Poll::Ready(Err(reason)) => Err(reason.into()),
            _ => Ok(()),
        }
    }

    fn stream(&mut self, peer: PeerId) -> io::Result<(StreamOf<'_>, &mut Stream)> {
        let Some(Peer { handle, bell, carries, .. }) = self.peers.get_mut(peer.0) else {
            return Err(NoSuchPeer(peer).into());
        };
        match carries {
            Carries::Stream(stream) => Ok((StreamOf { handle, bell }, stream)),
            Carries::Messages { .. } => {
                Err(io::Error::new(io::ErrorKind::InvalidInput, "the connection carries messages"))
            }
        }
    }
}

/// What a stream shares with other connections.
struct StreamOf<'a> {
    handle: &'a crate::proto::endpoint::Handle,
    bell: &'a super::bell::Bell,
}
