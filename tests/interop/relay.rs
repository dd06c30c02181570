//! A UDP relay on loopback that loses, repeats and reorders datagrams, and can record them.
//!
//! Two threads, one for each direction; everything random comes from one seed. It knows nothing of what it carries.
//! One party (the *near* one) sends to [`Relay::addr`], and the relay speaks to the *far* one from another port:
//!
//! ```text
//!   near ◀──▶ [front  relay  back] ◀──▶ far
//! ```

use std::collections::BinaryHeap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// What the relay does to datagrams: chances from 0 to 1.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    pub loss: f64,
    pub duplicate: f64,
    /// How many are held back for one to four milliseconds, so that others overtake them.
    pub reorder: f64,
    /// So many datagrams at the start of each direction pass unharmed. Neither peer survives every loss in its
    /// handshake: libutp does not answer a repeated SYN, libtorrent does not repeat its own.
    pub spared: u64,
    /// Whether a datagram passes unharmed because its sender never repeats it.
    pub spares: fn(&[u8]) -> bool,
}

impl Link {
    pub const CLEAN: Self = Self { loss: 0.0, duplicate: 0.0, reorder: 0.0, spared: 0, spares: |_| false };
    pub const LOSSY: Self = Self { loss: 0.01, duplicate: 0.01, reorder: 0.02, spared: 4, ..Self::CLEAN };
}

/// Which way a datagram went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    NearToFar,
    FarToNear,
}

/// A datagram as its sender sent it, before anything happened to it.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub at: Duration,
    pub way: Way,
    pub bytes: Vec<u8>,
}

/// What came through and what did not.
#[derive(Debug, Default)]
pub struct Counts {
    pub passed: AtomicU64,
    pub lost: AtomicU64,
    pub duplicated: AtomicU64,
    pub reordered: AtomicU64,
}

struct Shared {
    front: UdpSocket,
    back: UdpSocket,
    far: SocketAddr,
    near: OnceLock<SocketAddr>,
    link: Link,
    stop: AtomicBool,
    counts: Counts,
    began: Instant,
    /// Never longer than `record_max`; what comes later is not recorded.
    record: Mutex<Vec<Recorded>>,
    record_max: usize,
}

/// A running relay; dropping it ends it.
pub struct Relay {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Relay {
    /// Starts to relay to `far`, and records the first `record_max` datagrams.
    pub fn start(far: SocketAddr, link: Link, seed: u64, record_max: usize) -> io::Result<Self> {
        let socket = || {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            enlarge(&socket);
            socket.set_read_timeout(Some(TICK))?;
            Ok::<_, io::Error>(socket)
        };
        let shared = Arc::new(Shared {
            front: socket()?,
            back: socket()?,
            far,
            near: OnceLock::new(),
            link,
            stop: AtomicBool::new(false),
            counts: Counts::default(),
            began: Instant::now(),
            record: Mutex::default(),
            record_max,
        });
        let threads = [Way::NearToFar, Way::FarToNear].map(|way| {
            let shared = Arc::clone(&shared);
            let rng = StdRng::seed_from_u64(seed.wrapping_mul(2).wrapping_add(way as u64));
            std::thread::spawn(move || {
                Direction { shared: &shared, way, rng, held: BinaryHeap::new(), seen: 0 }.run()
            })
        });
        Ok(Self { shared, threads: threads.into() })
    }

    /// Where the near party sends to.
    pub fn addr(&self) -> SocketAddr {
        self.shared.front.local_addr().expect("a bound socket has an address")
    }

    /// Sends a datagram of the test's own to the far party; the answer goes to the near one.
    pub fn inject(&self, bytes: &[u8]) -> io::Result<()> {
        self.shared.record(Way::NearToFar, bytes);
        self.shared.back.send_to(bytes, self.shared.far).map(|_| ())
    }

    pub fn counts(&self) -> &Counts {
        &self.shared.counts
    }

    /// What was recorded so far.
    pub fn recorded(&self) -> Vec<Recorded> {
        self.shared.record.lock().expect("no panic under the lock").clone()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("a relay thread ends without a panic");
        }
    }
}

impl Shared {
    fn record(&self, way: Way, bytes: &[u8]) {
        if self.record_max > 0 {
            let mut record = self.record.lock().expect("no panic under the lock");
            if record.len() < self.record_max {
                record.push(Recorded { at: self.began.elapsed(), way, bytes: bytes.to_vec() });
            }
        }
    }

    /// Send errors are the network's business: a full buffer or a closed port is one more lost datagram.
    fn deliver(&self, way: Way, bytes: &[u8]) {
        let sent = match (way, self.near.get()) {
            (Way::NearToFar, _) => self.back.send_to(bytes, self.far),
            (Way::FarToNear, Some(near)) => self.front.send_to(bytes, near),
            (Way::FarToNear, None) => return,
        };
        let count = if sent.is_ok() { &self.counts.passed } else { &self.counts.lost };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

struct Direction<'a> {
    shared: &'a Shared,
    way: Way,
    rng: StdRng,
    /// Held back datagrams, the next one due on top. At most as many as arrive in a few milliseconds.
    held: BinaryHeap<Held>,
    seen: u64,
}

impl Direction<'_> {
    fn run(&mut self) {
        let mut buffer = vec![0; 65_536];
        let socket = match self.way {
            Way::NearToFar => &self.shared.front,
            Way::FarToNear => &self.shared.back,
        };
        while !self.shared.stop.load(Ordering::Relaxed) {
            // An error is a time-out, or an ICMP answer to something that was sent; both pass.
            if let Ok((len, from)) = socket.recv_from(&mut buffer) {
                let known = match self.way {
                    Way::NearToFar => *self.shared.near.get_or_init(|| from),
                    Way::FarToNear => self.shared.far,
                };
                if from == known {
                    self.pass(&buffer[..len]);
                }
            }
            let now = Instant::now();
            while self.held.peek().is_some_and(|held| held.due <= now) {
                if let Some(held) = self.held.pop() {
                    self.shared.deliver(self.way, &held.bytes);
                }
            }
        }
    }

    fn pass(&mut self, bytes: &[u8]) {
        let (link, counts) = (self.shared.link, &self.shared.counts);
        self.shared.record(self.way, bytes);
        self.seen += 1;
        if self.seen <= link.spared || (link.spares)(bytes) {
            return self.shared.deliver(self.way, bytes);
        }
        if self.rng.random_bool(link.loss) {
            counts.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if self.rng.random_bool(link.duplicate) {
            counts.duplicated.fetch_add(1, Ordering::Relaxed);
            self.shared.deliver(self.way, bytes);
        }
        if self.rng.random_bool(link.reorder) {
            counts.reordered.fetch_add(1, Ordering::Relaxed);
            let due = Instant::now() + Duration::from_micros(self.rng.random_range(1000..4000));
            self.held.push(Held { due, bytes: bytes.to_vec() });
        } else {
            self.shared.deliver(self.way, bytes);
        }
    }
}

struct Held {
    due: Instant,
    bytes: Vec<u8>,
}

impl Ord for Held {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // The heap has its greatest on top, and the earliest has to be there.
        other.due.cmp(&self.due)
    }
}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}

impl Eq for Held {}

/// The relay's own queue must not be the bottleneck; the system grants what it allows.
fn enlarge(socket: &UdpSocket) {
    let socket = socket2::SockRef::from(socket);
    for result in [socket.set_recv_buffer_size(4 << 20), socket.set_send_buffer_size(4 << 20)] {
        if let Err(error) = result {
            eprintln!("relay: socket buffer: {error}");
        }
    }
}

/// How often a quiet direction looks for held datagrams and for the end.
const TICK: Duration = Duration::from_millis(1);
