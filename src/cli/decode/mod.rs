//! `ebbtide decode`: packets in, words out.
//!
//! Finds out what the input is (capture, text, one packet), counts, and prints. How a packet reads is for `dissect`.

mod capture;
mod dissect;
mod frame;
mod hex;

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::PathBuf;

use clap::Args;

use crate::failure::{self, Failure};
use dissect::{Verdict, dissect};

/// Dissect uTP packets: hex text, one raw packet, or a capture
///
/// The input is hexadecimal text with one packet per line (blanks and colons are layout, lines that begin with # are
/// comments), a single raw packet, or a .pcap or .pcapng capture of which the UDP datagrams are shown. It is told
/// apart by its content.
#[derive(Args)]
pub(crate) struct Options {
    /// What to read; `-` is stdin
    #[arg(default_value = "-")]
    file: PathBuf,
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let name = options.file.display().to_string();
    let input: Box<dyn Read + Send> = if name == "-" {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(&options.file).map_err(|error| Failure::io(&name, &error))?)
    };
    let mut input = BufReader::with_capacity(START, input);
    let mut printer = Printer::new(io::stdout().lock());
    let whole = read_start(&mut input).map_err(|error| Failure::io(&name, &error))?;
    let start = whole.as_slice();
    let rest = io::Cursor::new(start).chain(input);
    if start.is_empty() {
        return Err(Failure::new(format_args!("{name}: nothing to decode")));
    }
    if capture::is_capture(start) {
        capture::decode(rest, &mut printer).map_err(|trouble| trouble.of(&name))?;
        return printer.finish(true);
    }
    if hex::looks_like_text(&start[..start.len().min(4096)]) {
        return decode_text(&name, rest, printer);
    }
    if start.len() > DATAGRAM_MAX {
        return Err(Failure::new(format_args!("{name}: neither a capture, nor hex text, nor one packet")));
    }
    printer.packet(format_args!(""), start, None)?;
    printer.finish(false)
}

/// As much as tells a packet from everything else, or all if it is less.
fn read_start(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    input.take(START as u64).read_to_end(&mut start)?;
    Ok(start)
}

fn decode_text(name: &str, text: impl Read, mut printer: Printer<impl Write>) -> Result<(), Failure> {
    let mut text = BufReader::new(text);
    let (mut line, mut number, mut bad) = (Vec::new(), 0_u64, 0_u64);
    loop {
        line.clear();
        let read = (&mut text).take(LINE_MAX).read_until(b'\n', &mut line);
        if read.map_err(|error| Failure::io(name, &error))? == 0 {
            break;
        }
        number += 1;
        let content = String::from_utf8_lossy(&line);
        let content = content.trim();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        match hex::parse(content) {
            Ok(bytes) => printer.packet(format_args!("{number}: "), &bytes, None)?,
            Err(why) => {
                bad += 1;
                printer.flush()?;
                failure::to_stderr(format_args!("{name}: line {number}: {why}"));
            }
        }
    }
    printer.finish(false)?;
    match bad {
        0 => Ok(()),
        bad => Err(Failure::new(format_args!("{name}: {bad} lines could not be read"))),
    }
}

/// Prints dissections and keeps count of what they were.
struct Printer<W: Write> {
    out: BufWriter<W>,
    text: String,
    utp: u64,
    malformed: u64,
    not_utp: u64,
    not_udp: u64,
}

impl<W: Write> Printer<W> {
    fn new(out: W) -> Self {
        let out = BufWriter::with_capacity(64 << 10, out);
        Self { out, text: String::new(), utp: 0, malformed: 0, not_utp: 0, not_udp: 0 }
    }

    fn packet(
        &mut self,
        label: std::fmt::Arguments<'_>,
        bytes: &[u8],
        cut: Option<usize>,
    ) -> Result<(), Failure> {
        self.text.clear();
        let verdict = self.text.write_fmt(label).and_then(|()| dissect(bytes, cut, &mut self.text));
        match verdict.map_err(Failure::new)? {
            Verdict::Utp => self.utp += 1,
            Verdict::Malformed => self.malformed += 1,
            Verdict::NotUtp => self.not_utp += 1,
        }
        self.out.write_all(self.text.as_bytes()).map_err(|error| Failure::stdout(&error))
    }

    const fn skip(&mut self) {
        self.not_udp += 1;
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(|error| Failure::stdout(&error))
    }

    fn finish(mut self, summary: bool) -> Result<(), Failure> {
        if summary {
            let Self { utp, malformed, not_utp, not_udp, .. } = &self;
            let text = format!(
                "{utp} uTP packets, {malformed} malformed, {not_utp} other UDP datagrams, {not_udp} other frames\n"
            );
            self.out.write_all(text.as_bytes()).map_err(|error| Failure::stdout(&error))?;
        }
        self.flush()
    }
}

/// The largest payload that UDP has.
const DATAGRAM_MAX: usize = 65_535;
/// More than the largest datagram, so that input which is larger is seen to be.
const START: usize = 128 << 10;
/// A line of text is cut here: a datagram in digits with a blank after each is less.
const LINE_MAX: u64 = 256 << 10;
