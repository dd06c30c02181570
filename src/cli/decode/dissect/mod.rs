//! One datagram in words.
//!
//! Knows the format, not where the datagram came from. Prints numbers only, never bytes of the datagram as text, so
//! that a hostile packet cannot reach the terminal.

use std::fmt::{self, Write};

use ebbtide::wire::{CloseCode, DecodeError, Extension, Packet, Sack, SeqNr};

/// What a datagram turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Utp,
    Malformed,
    NotUtp,
}

/// Appends the dissection to `out`: the header on the current line, each extension on a line of its own. `cut` says
/// that the end of the datagram was not captured, and how long it was.
pub(super) fn dissect(datagram: &[u8], cut: Option<usize>, out: &mut String) -> Result<Verdict, fmt::Error> {
    let verdict = match Packet::decode(datagram) {
        Ok(packet) => {
            write_packet(&packet, out)?;
            Verdict::Utp
        }
        Err(DecodeError::Truncated) if cut.is_some() => {
            out.push_str("uTP, cut within the extensions");
            Verdict::Utp
        }
        Err(error) => {
            write!(out, "{error} ({} bytes)", datagram.len())?;
            if error.is_utp() { Verdict::Malformed } else { Verdict::NotUtp }
        }
    };
    if let Some(len) = cut {
        write!(out, "{INDENT}only {} of {len} bytes were captured", datagram.len())?;
    }
    out.push('\n');
    Ok(verdict)
}

fn write_packet(packet: &Packet<'_>, out: &mut String) -> fmt::Result {
    let header = &packet.header;
    write!(out, "{} conn {} seq {} ack {}", header.kind, header.conn_id, header.seq, header.ack)?;
    write!(out, " window {} sent {} us", header.window, header.sent_at.get())?;
    if header.delay.is_sample() {
        write!(out, " delay {} us", header.delay.get())?;
    } else {
        out.push_str(" delay none");
    }
    write!(out, " payload {}", packet.payload.len())?;
    for extension in packet.extensions.iter() {
        out.push_str(INDENT);
        write_extension(&extension, header.ack, out)?;
    }
    Ok(())
}

fn write_extension(extension: &Extension<'_>, ack: SeqNr, out: &mut String) -> fmt::Result {
    let data = extension.data;
    match (extension.id, data) {
        (Extension::SACK, _) => {
            write!(out, "selective ack, {} bytes: ", data.len())?;
            write_ranges(Sack::new(data).received(ack), out)
        }
        (Extension::BITS, [_, _, _, _, _, _, _, _]) => {
            out.push_str("extension bits:");
            write_hex(data, out)
        }
        (Extension::CLOSE_REASON, &[_, _, high, low]) => {
            write!(out, "close reason: {}", CloseCode::new(u16::from_be_bytes([high, low])))
        }
        (Extension::EBBTIDE, _) => {
            write!(out, "ebbtide, {} bytes:", data.len())?;
            write_hex(data, out)
        }
        (id, _) => {
            let name = match id {
                Extension::BITS => "extension bits of an odd length",
                Extension::CLOSE_REASON => "close reason of an odd length",
                _ => "unknown extension",
            };
            write!(out, "{name}, id {id}, {} bytes:", data.len())?;
            write_hex(data, out)
        }
    }
}

/// `9-10, 12, 65535-1`: numbers on a circle, so a range may run through zero.
fn write_ranges(numbers: impl Iterator<Item = SeqNr>, out: &mut String) -> fmt::Result {
    let mut separator = "received ";
    let mut write_range = |from: SeqNr, to: SeqNr| {
        out.push_str(separator);
        separator = ", ";
        if from == to { write!(out, "{from}") } else { write!(out, "{from}-{to}") }
    };
    let mut open: Option<(SeqNr, SeqNr)> = None;
    for number in numbers {
        open = match open {
            Some((from, to)) if number == to.next() => Some((from, number)),
            Some((from, to)) => {
                write_range(from, to)?;
                Some((number, number))
            }
            None => Some((number, number)),
        };
    }
    match open {
        Some((from, to)) => write_range(from, to),
        None => out.write_str("nothing received"),
    }
}

fn write_hex(data: &[u8], out: &mut String) -> fmt::Result {
    const SHOWN: usize = 32;
    for byte in data.iter().take(SHOWN) {
        write!(out, " {byte:02x}")?;
    }
    if data.len() > SHOWN { out.write_str(" ...") } else { Ok(()) }
}

/// Where extensions and remarks stand, below the packet that they belong to.
const INDENT: &str = "\n    ";

#[cfg(test)]
mod tests;
