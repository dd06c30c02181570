//! Typed packets out of a stream that anybody may have written, in whatever pieces it comes.
//!
//! ```text
//!   input = a byte: the limit of the codec; a byte: how many sizes of pieces follow at the end; the stream; the sizes
//! ```

use bytes::BytesMut;
use ebbtide::packet::{Packet, PacketCodec, PacketError};
use tokio_util::codec::{Decoder, Encoder};

use super::script::Script;

/// Bytes before a payload.
const HEAD: usize = 5;

/// Any stream, in any pieces: the packets are those that a slow reader finds, so is the end, no memory is set aside for
/// what is too long, and what was read is written again byte for byte.
pub fn codec(input: &[u8]) {
    let mut script = Script::new(input);
    let max = script.pick(&[0, 1, 16, 300, PacketCodec::MAX_PAYLOAD]);
    let sizes: Vec<usize> = (0..script.byte() % 16).map(|_| 1 + usize::from(script.last_byte())).collect();
    let stream = script.take(usize::MAX);
    let (expected, end) = slow(stream, max);

    let mut codec = PacketCodec::with_max_payload(max);
    let (mut buffer, mut seen, mut rest) = (BytesMut::new(), Vec::new(), stream);
    let mut sizes = sizes.into_iter().cycle();
    let mut refused = None;
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(sizes.next().unwrap_or(usize::MAX).min(rest.len()));
        buffer.extend_from_slice(piece);
        rest = later;
        refused = read(&mut codec, &mut buffer, &mut seen);
        // The buffer may double what it needs.
        assert!(buffer.capacity() <= 2 * (stream.len() + HEAD + max), "{} bytes", buffer.capacity());
        if refused.is_some() {
            break;
        }
    }
    assert_eq!(seen, expected);
    match end {
        End::TooLong(len) => {
            assert_eq!(refused, Some(len));
            // It cannot be trusted any more, whatever comes.
            assert_eq!(read(&mut codec, &mut BytesMut::from(&[0; HEAD][..]), &mut seen), Some(len));
        }
        End::Clean => assert!(matches!(codec.decode_eof(&mut buffer), Ok(None))),
        End::Within => assert!(matches!(codec.decode_eof(&mut buffer), Err(PacketError::Truncated))),
    }
    write(&expected, stream, max);
}

/// Reads what there is. Returns the length that was refused, if one was.
fn read(codec: &mut PacketCodec, buffer: &mut BytesMut, seen: &mut Vec<Packet>) -> Option<usize> {
    loop {
        match codec.decode(buffer) {
            Ok(Some(packet)) => seen.push(packet),
            Ok(None) => return None,
            Err(PacketError::TooLong { len, .. }) => return Some(len),
            Err(error) => panic!("{error} while there may be more"),
        }
    }
}

fn write(packets: &[Packet], stream: &[u8], max: usize) {
    let (mut out, mut codec) = (BytesMut::new(), PacketCodec::with_max_payload(max));
    let mut narrow = PacketCodec::with_max_payload(max / 2);
    for packet in packets {
        codec.encode(packet.clone(), &mut out).expect("what was read is short enough to be written");
        let before = out.len();
        let fits = narrow.encode(packet.clone(), &mut out).is_ok();
        assert_eq!(fits, packet.payload.len() <= max / 2);
        assert!(fits || out.len() == before, "half a packet was written");
        out.truncate(before);
    }
    assert_eq!(out, stream[..out.len()]);
}

/// How a stream ends.
enum End {
    Clean,
    /// Within a packet.
    Within,
    /// With a packet that claims so many bytes.
    TooLong(usize),
}

/// The packets of a stream, found the slow way.
fn slow(stream: &[u8], max: usize) -> (Vec<Packet>, End) {
    let (mut packets, mut at) = (Vec::new(), 0);
    while at < stream.len() {
        if stream.len() - at < HEAD {
            return (packets, End::Within);
        }
        let len = stream[at + 1..at + HEAD].iter().fold(0, |len, &byte| len * 256 + usize::from(byte));
        if len > max {
            return (packets, End::TooLong(len));
        }
        if stream.len() - at - HEAD < len {
            return (packets, End::Within);
        }
        packets.push(Packet::new(stream[at], stream[at + HEAD..at + HEAD + len].to_vec()));
        at += HEAD + len;
    }
    (packets, End::Clean)
}
