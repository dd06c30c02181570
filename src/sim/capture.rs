//! What the lines of a world carry, on its way into a file.
//!
//! One interface for each line. Errors of the file wait until somebody asks: a simulation has no use for them in the
//! middle.

use std::fmt::{self, Write as _};
use std::io::{self, BufWriter, Write};
use std::net::SocketAddr;

use super::pcapng::{Packet, Way, Writer};
use super::world::World;
use crate::link::{Direction, Fault, Pipe};

/// A capture that is being written.
pub(super) struct Capture {
    writer: Writer<BufWriter<Box<dyn Write>>>,
    interfaces: u32,
    /// Kept for its memory.
    comment: String,
    /// The first thing that went wrong. Nothing is written after it.
    error: Option<io::Error>,
}

/// A datagram that a line carries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Carried<'a> {
    /// Nanoseconds.
    pub(super) at: u64,
    pub(super) pipe: usize,
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) bytes: &'a [u8],
}

impl Capture {
    fn new(out: Box<dyn Write>, seed: u64) -> io::Result<Self> {
        let writer = Writer::new(BufWriter::new(out), &format!("seed {seed}"))?;
        Ok(Self { writer, interfaces: 0, comment: String::new(), error: None })
    }

    /// Another line.
    pub(super) fn line(&mut self, pipes: &[Pipe]) {
        let name = format!("line {}", self.interfaces);
        let links: Vec<_> = pipes.iter().map(|pipe| pipe.link().to_string()).collect();
        self.interfaces += 1;
        let written = self.writer.interface(&name, &links.join("; back: "));
        self.remember(written);
    }

    /// A datagram, and what has struck it.
    pub(super) fn datagram(&mut self, carried: Carried<'_>, faults: impl Iterator<Item = Fault>) {
        if self.error.is_some() {
            return;
        }
        let Carried { at, pipe, from, to, bytes } = carried;
        let mut comment = std::mem::take(&mut self.comment);
        comment.clear();
        for fault in faults {
            let separator = if comment.is_empty() { "" } else { ", " };
            write!(comment, "{separator}{fault}").expect("a string takes everything");
        }
        let way = if pipe % 2 == Direction::There as usize { Way::Outbound } else { Way::Inbound };
        let interface = u32::try_from(pipe / 2).unwrap_or(u32::MAX);
        let packet = Packet { at, interface, way, from, to, payload: bytes, comment: &comment };
        let written = self.writer.packet(&packet);
        self.remember(written);
        self.comment = comment;
    }

    fn remember(&mut self, written: io::Result<()>) {
        if let Err(error) = written {
            self.error.get_or_insert(error);
        }
    }

    fn finish(mut self) -> io::Result<()> {
        self.error.take().map_or_else(|| self.writer.flush(), Err)
    }
}

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capture")
            .field("interfaces", &self.interfaces)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

/// Captures.
impl World {
    /// Writes every datagram that is handed to a line from now on into a pcapng file, as Wireshark, tshark and
    /// `ebbtide decode` read it: raw IP, in nanoseconds since the world began, an interface for each line. In a comment
    /// stands what has struck the datagram.
    ///
    /// A datagram is recorded at the moment it is handed over, as its sender has sent it; where CoDel decides about it,
    /// at the moment it leaves the queue or is dropped there; and once more when it is replayed. A recording
    /// that is already going on ends. It changes nothing in the world, its [`trace`](Self::trace) included.
    ///
    /// ```
    /// use std::time::Duration;
    /// use ebbtide::Config;
    /// use ebbtide::sim::{Line, Size, Traffic, World};
    /// # let path = std::env::temp_dir().join(format!("ebbtide-doc-{}.pcapng", std::process::id()));
    /// let mut world = World::new(7);
    /// let hosts = [world.host(Config::default()), world.host(Config::default())];
    /// world.join(hosts[0], hosts[1], Line::mobile());
    /// world.record_pcapng(std::fs::File::create(&path)?)?;
    /// world.start(hosts[0], hosts[1], &Traffic::echo(Size::kib(64)));
    /// world.settle(Duration::from_secs(60))?;
    /// world.stop_recording()?;
    /// # assert!(std::fs::metadata(&path)?.len() > 2 * 64 << 10);
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// What `out` says about the first blocks.
    pub fn record_pcapng(&mut self, out: impl Write + 'static) -> io::Result<()> {
        let capture = Capture::new(Box::new(out), self.seed())?;
        self.network.record(capture);
        Ok(())
    }

    /// Ends the recording, if there is one, and writes what has not been written yet.
    ///
    /// # Errors
    /// The first error that writing has met; nothing was written after it.
    pub fn stop_recording(&mut self) -> io::Result<()> {
        self.network.stop_recording().map_or(Ok(()), Capture::finish)
    }
}
