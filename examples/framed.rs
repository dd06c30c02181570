//! Messages instead of bytes: `tokio_util`'s codec with a length before each message, over a uTP stream.
//!
//!     cargo run --release --example framed
//!     server got "the tide" (8 bytes)
//!     server got "goes out" (8 bytes)
//!     server got "" (0 bytes)
//!     client got "3 messages, 16 bytes"

use std::error::Error;
use std::io;

use ebbtide::{UtpSocket, UtpStream};
use futures_util::{SinkExt, StreamExt};
use tokio_util::bytes::Bytes;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = UtpSocket::bind("127.0.0.1:0".parse()?).await?;
    let addr = server.local_addr();
    let listener = server.listen();
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await?;
        count(stream).await
    });

    let client = UtpSocket::bind("127.0.0.1:0".parse()?).await?;
    let mut messages = framed(client.connect(addr).await?);
    for text in ["the tide", "goes out", ""] {
        // `feed` lets small messages share a packet; `send` would flush after each.
        messages.feed(Bytes::from_static(text.as_bytes())).await?;
    }
    SinkExt::<Bytes>::flush(&mut messages).await?;
    // The end of our direction. `close` on the sink means `shutdown` on the stream: reading goes on.
    SinkExt::<Bytes>::close(&mut messages).await?;
    while let Some(message) = messages.next().await {
        println!("client got {:?}", String::from_utf8_lossy(&message?));
    }
    serving.await??;
    Ok(())
}

/// Reads messages to the end, then answers with one.
async fn count(stream: UtpStream) -> io::Result<()> {
    let mut messages = framed(stream);
    let (mut count, mut bytes) = (0, 0);
    while let Some(message) = messages.next().await {
        let message = message?;
        println!("server got {:?} ({} bytes)", String::from_utf8_lossy(&message), message.len());
        count += 1;
        bytes += message.len();
    }
    messages.send(Bytes::from(format!("{count} messages, {bytes} bytes"))).await?;
    SinkExt::<Bytes>::close(&mut messages).await?;
    messages.get_ref().closed().await
}

fn framed(stream: UtpStream) -> Framed<UtpStream, LengthDelimitedCodec> {
    // A peer cannot make us allocate more than this for one message.
    let codec = LengthDelimitedCodec::builder().max_frame_length(64 << 10).new_codec();
    Framed::new(stream, codec)
}
