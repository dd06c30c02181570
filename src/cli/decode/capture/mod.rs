//! Captures: `.pcap` of either byte order and resolution, `.pcapng` with any number of interfaces.
//!
//! Reads block by block, so a capture may be larger than memory. Refuses to know uTP.

use std::io::Read;
use std::net::SocketAddr;

use pcap_parser::{Block, Linktype, PcapBlockOwned, PcapError, PcapHeader, create_reader};

use super::{Printer, frame};
use crate::failure::Failure;

/// Whether input that begins like this is a capture.
pub(super) fn is_capture(start: &[u8]) -> bool {
    let Some(magic) = start.first_chunk::<4>() else { return false };
    let number = u32::from_be_bytes(*magic);
    [number, number.swap_bytes()].iter().any(|number| MAGICS.contains(number))
}

/// Why a capture could not be read to its end.
pub(super) enum Trouble {
    Output(Failure),
    Input(&'static str),
}

impl Trouble {
    pub(super) fn of(self, name: &str) -> Failure {
        match self {
            Self::Output(failure) => failure,
            Self::Input(why) => Failure::new(format_args!("{name}: {why}")),
        }
    }
}

/// Prints every UDP datagram of a capture.
pub(super) fn decode<W: std::io::Write>(
    input: impl Read + Send,
    printer: &mut Printer<W>,
) -> Result<(), Trouble> {
    let mut reader = create_reader(BUFFER, input).map_err(|error| Trouble::Input(describe(&error)))?;
    let mut capture = Capture { printer, interfaces: Vec::new(), began_ns: None, number: 0 };
    let mut buffer = BUFFER;
    loop {
        let problem = match reader.next() {
            Ok((len, block)) => {
                let outcome = capture.block(&block);
                drop(block);
                reader.consume(len);
                outcome?;
                continue;
            }
            Err(PcapError::Eof) => return Ok(()),
            Err(PcapError::Incomplete(_)) => None,
            Err(error) => Some((matches!(error, PcapError::BufferTooSmall), describe(&error))),
        };
        match problem {
            None => {}
            Some((true, _)) if buffer < BUFFER_MAX => {
                buffer *= 2;
                reader.grow(buffer);
            }
            Some((_, why)) => {
                capture.printer.flush().map_err(Trouble::Output)?;
                return Err(Trouble::Input(why));
            }
        }
        reader.refill().map_err(|error| Trouble::Input(describe(&error)))?;
    }
}

fn describe<I>(error: &PcapError<I>) -> &'static str {
    match error {
        PcapError::ReadError => "cannot be read",
        PcapError::Incomplete(_) | PcapError::UnexpectedEof | PcapError::Eof => {
            "the capture ends within a block"
        }
        PcapError::BufferTooSmall => "the capture has a block that is larger than 16 MiB",
        _ => "the capture is damaged",
    }
}

/// How frames of one interface are to be read.
#[derive(Clone, Copy)]
struct Interface {
    link: Linktype,
    ticks_per_second: u64,
}

struct Capture<'p, W: std::io::Write> {
    printer: &'p mut Printer<W>,
    /// At most [`INTERFACES_MAX`]; frames of later ones are skipped.
    interfaces: Vec<Interface>,
    began_ns: Option<u64>,
    number: u64,
}

impl<W: std::io::Write> Capture<'_, W> {
    fn block(&mut self, block: &PcapBlockOwned<'_>) -> Result<(), Trouble> {
        match block {
            PcapBlockOwned::LegacyHeader(header) => self.interfaces = vec![legacy(header)],
            PcapBlockOwned::Legacy(frame) => {
                let ticks = |interface: &Interface| {
                    let second = u64::from(frame.ts_sec) * interface.ticks_per_second;
                    second + u64::from(frame.ts_usec)
                };
                let at = self.interfaces.first().map(ticks);
                return self.frame(0, at, frame.data);
            }
            PcapBlockOwned::NG(Block::SectionHeader(_)) => self.interfaces.clear(),
            PcapBlockOwned::NG(Block::InterfaceDescription(description)) => {
                if self.interfaces.len() < INTERFACES_MAX {
                    let ticks_per_second = resolution(description.if_tsresol);
                    self.interfaces.push(Interface { link: description.linktype, ticks_per_second });
                }
            }
            PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                let ticks = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
                let captured = packet.data.len().min(packet.caplen as usize);
                return self.frame(packet.if_id as usize, Some(ticks), &packet.data[..captured]);
            }
            PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
                let captured = packet.data.len().min(packet.origlen as usize);
                return self.frame(0, None, &packet.data[..captured]);
            }
            PcapBlockOwned::NG(_) => {}
        }
        Ok(())
    }

    fn frame(&mut self, interface: usize, ticks: Option<u64>, data: &[u8]) -> Result<(), Trouble> {
        self.number += 1;
        let Some(&Interface { link, ticks_per_second }) = self.interfaces.get(interface) else {
            return Err(Trouble::Input("the capture has a frame of an interface that it does not describe"));
        };
        if !frame::is_known(link) {
            return Err(Trouble::Input("the capture is of a kind of link that cannot be read"));
        }
        let at = self.since_start(ticks, ticks_per_second);
        let Some(found) = frame::datagram(link, data) else {
            self.printer.skip();
            return Ok(());
        };
        let label = Label { number: self.number, at, from: found.from, to: found.to };
        self.printer.packet(format_args!("{label}"), found.payload, found.cut).map_err(Trouble::Output)
    }

    /// Time since the first frame, in microseconds.
    fn since_start(&mut self, ticks: Option<u64>, ticks_per_second: u64) -> Option<u64> {
        let ns = u128::from(ticks?) * 1_000_000_000 / u128::from(ticks_per_second.max(1));
        let ns = u64::try_from(ns).unwrap_or(u64::MAX);
        let began = *self.began_ns.get_or_insert(ns);
        Some(ns.saturating_sub(began) / 1000)
    }
}

/// What stands before a packet: `3 0.001234 10.0.0.1:4000 > 10.0.0.2:6881 `.
struct Label {
    number: u64,
    at: Option<u64>,
    from: SocketAddr,
    to: SocketAddr,
}

impl std::fmt::Display for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ", self.number)?;
        if let Some(us) = self.at {
            write!(f, "{}.{:06} ", us / 1_000_000, us % 1_000_000)?;
        }
        write!(f, "{} > {} ", self.from, self.to)
    }
}

fn legacy(header: &PcapHeader) -> Interface {
    let ticks_per_second = if header.is_nanosecond_precision() { 1_000_000_000 } else { 1_000_000 };
    // The upper bits of the field say how long the frame check sequence is.
    Interface { link: Linktype(header.network.0 & 0x03FF_FFFF), ticks_per_second }
}

/// Ticks per second of a pcapng interface: a power of 10, or of 2 with the top bit set.
fn resolution(exponent: u8) -> u64 {
    let (base, power) = if exponent & 0x80 == 0 { (10_u64, exponent) } else { (2, exponent & 0x7F) };
    base.checked_pow(u32::from(power)).unwrap_or(u64::MAX)
}

/// pcap in microseconds, in nanoseconds, as modified by Kuznetzov, and pcapng; in one of the two byte orders.
const MAGICS: [u32; 4] = [0xA1B2_C3D4, 0xA1B2_3C4D, 0xA1B2_CD34, 0x0A0D_0D0A];
/// Room for a frame of the largest size that offloading makes.
const BUFFER: usize = 256 << 10;
/// A block larger than this is taken for damage.
const BUFFER_MAX: usize = 16 << 20;
const INTERFACES_MAX: usize = 1024;

#[cfg(test)]
mod tests;
