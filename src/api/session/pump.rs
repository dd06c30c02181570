//! One connection of a session: greets, then moves packets both ways until either side ends.
//!
//! Reading and writing do not wait for each other. The task may be ended at any moment (another connection takes over):
//! a frame is taken in whole in the same step in which it is read, and whatever was given out and not confirmed goes
//! into the next connection again.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use futures_core::Stream;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::timeout;
use tokio_util::codec::{Encoder, FramedRead};

use super::core::{Core, Generation};
use super::error::{Break, ProtocolError};
use super::frame::{Frame, Hello, PACKET_HEAD};
use super::shared::{Interest, Shared};
use crate::api::packet::{Packet, PacketCodec};

/// Bytes gathered before they are handed to the connection.
const WRITE_BYTES: usize = 64 << 10;

pub(super) struct Pump<C> {
    shared: Arc<Shared>,
    generation: Generation,
    reader: Reader<C>,
    writer: WriteHalf<C>,
}

/// The half of a connection that frames come from.
pub(super) struct Reader<C> {
    framed: FramedRead<ReadHalf<C>, PacketCodec>,
}

impl<C: AsyncRead + AsyncWrite> Reader<C> {
    /// Takes a connection apart; packets may have so many bytes of payload.
    pub(super) fn split(connection: C, max_payload: usize) -> (Self, WriteHalf<C>) {
        let (read, write) = tokio::io::split(connection);
        let codec = PacketCodec::with_max_payload(max_payload.saturating_add(PACKET_HEAD));
        (Self { framed: FramedRead::new(read, codec) }, write)
    }

    /// The next frame. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Frame, Break> {
        let packet = poll_fn(|cx| Pin::new(&mut self.framed).poll_next(cx)).await;
        let packet: Packet = packet.ok_or_else(|| Break::Io(io::ErrorKind::UnexpectedEof.into()))??;
        Ok(Frame::from_packet(packet)?)
    }
}

impl<C: AsyncRead + AsyncWrite> Pump<C> {
    pub(super) const fn new(
        shared: Arc<Shared>,
        generation: Generation,
        reader: Reader<C>,
        writer: WriteHalf<C>,
    ) -> Self {
        Self { shared, generation, reader, writer }
    }

    /// Until the connection is over. `greeting` is what we say, `heard` what the other end has said already.
    pub(super) async fn run(self, greeting: Hello, heard: Option<Hello>, patience: Duration) {
        let Self { shared, generation, reader, writer } = self;
        let mut reading = pin!(read(&shared, generation, reader, heard, patience));
        let mut writing = pin!(write(&shared, generation, writer, greeting));
        let broken = poll_fn(|cx| match reading.as_mut().poll(cx) {
            Poll::Ready(broken) => Poll::Ready(broken),
            Poll::Pending => writing.as_mut().poll(cx),
        })
        .await;
        let all = [Interest::State, Interest::Error, Interest::Room, Interest::Packet];
        shared.change(&all, |core| {
            if core.detach(generation) && !core.is_closed() {
                core.report(broken.into());
            }
        });
    }
}

async fn read<C: AsyncRead + AsyncWrite>(
    shared: &Shared,
    generation: Generation,
    mut reader: Reader<C>,
    heard: Option<Hello>,
    patience: Duration,
) -> Break {
    let greeting = match heard {
        Some(hello) => Ok(Ok(Frame::Hello(hello))),
        None => timeout(patience, reader.next()).await,
    };
    let Ok(mut next) = greeting else { return ProtocolError::Silent.into() };
    loop {
        let frame = match next {
            Ok(frame) => frame,
            Err(broken) => return broken,
        };
        let wake: &[Interest] = match frame {
            Frame::Hello(_) => &[Interest::State, Interest::Writer, Interest::Error, Interest::Room],
            Frame::Packet { .. } => &[Interest::Packet, Interest::Writer],
            Frame::Ack(_) => &[Interest::Room, Interest::Writer, Interest::State],
            Frame::Bye => &[Interest::Packet, Interest::Room, Interest::State, Interest::Error],
        };
        if let Err(error) = shared.change(wake, |core| core.on_frame(generation, frame)) {
            return error.into();
        }
        let may_read = |core: &Core| if core.may_read() { Poll::Ready(()) } else { Poll::Pending };
        poll_fn(|cx| shared.poll(cx, Interest::Reader, |core| may_read(core))).await;
        next = reader.next().await;
    }
}

async fn write<C: AsyncRead + AsyncWrite>(
    shared: &Shared,
    generation: Generation,
    mut writer: WriteHalf<C>,
    greeting: Hello,
) -> Break {
    let mut codec = PacketCodec::with_max_payload(usize::MAX);
    let mut bytes = BytesMut::new();
    let mut next = Some(Frame::Hello(greeting));
    loop {
        while let Some(frame) = next {
            if let Err(error) = codec.encode(frame.into_packet(), &mut bytes) {
                return error.into();
            }
            if bytes.len() >= WRITE_BYTES {
                break;
            }
            next = shared.lock().core.next_frame(generation);
        }
        if let Err(error) = writer.write_all_buf(&mut bytes).await {
            return Break::Io(error);
        }
        next = shared.lock().core.next_frame(generation);
        if next.is_some() {
            continue;
        }
        // Nothing more to say for now.
        if let Err(error) = writer.flush().await {
            return Break::Io(error);
        }
        shared.change(&[Interest::State], |core| core.on_flushed(generation));
        let frame = poll_fn(|cx| {
            shared.poll(cx, Interest::Writer, |core| match core.next_frame(generation) {
                Some(frame) => Poll::Ready(frame),
                None => Poll::Pending,
            })
        });
        next = Some(frame.await);
    }
}
