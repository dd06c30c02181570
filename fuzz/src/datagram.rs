//! Single datagrams: reading them, writing them again, and the chain of extensions alone.

use ebbtide::wire::{Extensions, ExtensionsBuf, HEADER_LEN, Packet};

use super::reference;
use super::script::Script;

/// Any bytes at all: decoding them, and looking at everything that was found, comes to an end without a panic, and
/// what was found lies in the datagram.
pub fn decode(input: &[u8]) {
    match Packet::decode(input) {
        Ok(packet) => {
            let extensions = packet.extensions;
            let bytes: usize = extensions.iter().map(|each| 2 + each.data.len()).sum();
            assert_eq!(bytes, extensions.encoded_len(), "the chain is the sum of its parts");
            assert_eq!(HEADER_LEN + bytes + packet.payload.len(), input.len(), "nothing is left over");
            assert_eq!(packet.encoded_len(), input.len());
            assert!(extensions.bits().is_none() || bytes >= 10);
            assert!(extensions.close_reason().is_none() || bytes >= 6);
            assert!(extensions.own().is_none_or(|own| own.len() + 2 <= bytes));
            if let Some(sack) = extensions.sack() {
                let count = sack.received(packet.header.ack).count();
                assert_eq!(count, sack.count() as usize);
                assert_eq!(sack.is_empty(), count == 0);
                assert_eq!(sack.highest(packet.header.ack).is_none(), count == 0);
            }
        }
        Err(error) => {
            assert!(input.len() < HEADER_LEN || input[0] & 0x0F != 1 || input[0] > 0x41 || error.is_utp())
        }
    }
}

/// Any bytes at all, read by the crate and by the slow reader of the tests, which must agree; and written again.
pub fn round_trip(input: &[u8]) {
    reference::check(input);
}

/// The first byte is the id of the first extension, the rest is the chain and what follows: walked as it is, and
/// built anew for sending out of what was found.
pub fn chain(input: &[u8]) {
    let Some((&first, rest)) = input.split_first() else { return };
    let mut datagram = [0; HEADER_LEN].to_vec();
    datagram[..2].copy_from_slice(&[0x21, first]);
    datagram.extend_from_slice(rest);
    reference::check(&datagram);
    if let Ok(packet) = Packet::decode(&datagram) {
        rebuild(&packet);
    }
    build(input);
}

/// Pushes what arrived into a chain for sending, which takes exactly what is welcome.
fn rebuild(packet: &Packet<'_>) {
    let mut buf = ExtensionsBuf::new();
    let mut taken = Vec::new();
    for extension in packet.extensions.iter() {
        let welcome = reference::is_welcome(taken.is_empty(), extension.id, extension.data.len());
        assert_eq!(buf.push(extension.id, extension.data).is_ok(), welcome, "{extension:?}");
        if welcome {
            taken.push(extension);
        }
    }
    assert!(buf.as_extensions().iter().eq(taken.iter().copied()));
    assert_eq!(buf.is_empty(), taken.is_empty());
    if taken.len() == packet.extensions.iter().count() {
        assert_eq!(buf.as_extensions(), packet.extensions, "a chain that may be sent is built as it came");
    }
    assert_reads_back(&buf, packet);
}

/// Pushes made-up extensions, too long ones among them; then once more into the same memory.
fn build(input: &[u8]) {
    let mut buf = ExtensionsBuf::new();
    for _ in 0..2 {
        buf.clear();
        let mut script = Script::new(input);
        let mut count = 0;
        while !script.is_over() {
            let (id, mut data) = (script.byte(), script.counted().to_vec());
            if script.byte() == 0xFF {
                data.resize(256 + data.len(), 0);
            }
            let welcome = reference::is_welcome(count == 0, id, data.len());
            assert_eq!(buf.push(id, &data).is_ok(), welcome, "id {id} with {} bytes", data.len());
            count += usize::from(welcome);
        }
        assert_eq!(buf.as_extensions().iter().count(), count);
    }
}

fn assert_reads_back(buf: &ExtensionsBuf, like: &Packet<'_>) {
    let packet = Packet { extensions: buf.as_extensions(), ..*like };
    let mut datagram = Vec::new();
    packet.encode(&mut datagram);
    assert_eq!(Packet::decode(&datagram), Ok(packet));
    assert_eq!(buf.encoded_len(), packet.extensions.encoded_len());
    assert_eq!(buf.is_empty(), packet.extensions == Extensions::EMPTY);
}
