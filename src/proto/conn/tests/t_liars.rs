//! Rows t11 to t13: what a receiver gains that lies about packets or about delays, on a bottleneck that it shares.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::*;

/// A link that sends one packet after another and drops what its queue has no room for.
#[derive(Debug)]
struct Bottleneck {
    bytes_per_second: u64,
    queue: Duration,
    free_at: Instant,
    dropped: u64,
}

impl Bottleneck {
    fn new(bytes_per_second: u64, queue: Duration) -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self { bytes_per_second, queue, free_at: Instant::ZERO, dropped: 0 }))
    }

    /// How long a packet takes through it from now on, or nothing if it is dropped.
    fn pass(&mut self, now: Instant, len: usize) -> Option<Duration> {
        if self.free_at.since(now) > self.queue {
            self.dropped += 1;
            return None;
        }
        let takes = Duration::from_micros(len as u64 * 1_000_000 / self.bytes_per_second);
        self.free_at = self.free_at.max(now) + takes;
        Some(self.free_at.since(now))
    }
}

/// What a receiver's packets say instead of the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    None,
    /// Acknowledges whatever has been sent, as soon as it can know.
    Optimistic,
    /// As that, but stays half a round trip behind what it could get away with.
    Careful,
    /// Acknowledges what was lost as if it had arrived.
    Lazy,
    /// Says that packets take as long as the first one did.
    NoQueue,
    /// Says nothing about delays.
    Silence,
    /// Makes its own packets look as if they had waited, for what ours waited.
    Blames,
}

/// One sender and its receiver, over a bottleneck that others may use too; 20 ms each way beyond it.
struct Flow {
    pair: Pair,
    /// Bytes that the sender has put on the wire.
    sent: Rc<RefCell<u64>>,
}

const DELAY: Duration = Duration::from_millis(20);

/// What is known about the sender's packets in their order: when the last bit of each leaves the bottleneck.
#[derive(Debug, Default)]
struct Seen {
    under_way: VecDeque<(Instant, SeqNr)>,
    /// The highest number sent, and arrived.
    sent: Option<SeqNr>,
    arrived: Option<SeqNr>,
    first_delay: Option<u32>,
}

fn later(known: Option<SeqNr>, seq: SeqNr) -> Option<SeqNr> {
    Some(known.filter(|known| !seq.is_after(*known)).unwrap_or(seq))
}

impl Flow {
    fn new(lie: Lie, link: &Rc<RefCell<Bottleneck>>, seed: u64) -> Self {
        let config = config().send_buffer(4 << 20).receive_buffer(4 << 20).packets_in_flight(4000);
        let mut pair = Pair::new(config);
        for end in &mut pair.ends {
            end.seed(seed);
        }
        pair.outgoing[0] = pattern(64 << 20);
        let (clock, sent) = (Rc::new(RefCell::new(pair.now)), Rc::new(RefCell::new(0)));
        let seen = Rc::new(RefCell::new(Seen::default()));
        let (link, counted, at, noted) =
            (Rc::clone(link), Rc::clone(&sent), Rc::clone(&clock), Rc::clone(&seen));
        pair.link = Box::new(move |side, _, packet| {
            if side == 1 {
                return vec![DELAY];
            }
            // Packets carry the time, modulo 2^32.
            let mut clock = at.borrow_mut();
            let passed = packet.header.sent_at.delay_since(clock.stamp()).get();
            *clock = *clock + Duration::from_micros(u64::from(passed));
            *counted.borrow_mut() += packet.payload.len() as u64;
            let Some(delay) = link.borrow_mut().pass(*clock, packet.encoded_len() + 28) else {
                return vec![];
            };
            let mut seen = noted.borrow_mut();
            if packet.header.kind == Kind::Data {
                seen.sent = later(seen.sent, packet.header.seq);
                seen.under_way.push_back((*clock + delay + DELAY, packet.header.seq));
            }
            vec![delay + DELAY]
        });
        pair.rewrite = Box::new(move |side, bytes| {
            if side == 1 {
                tell(lie, bytes, &mut seen.borrow_mut());
            }
        });
        Self { pair, sent }
    }

    /// Runs all of them together; bytes that each has sent by then.
    fn run(flows: &mut [Self], time: Duration) -> Vec<u64> {
        let steps = time.as_millis();
        for _ in 0..steps {
            if flows.iter().all(|flow| flow.reason().is_some()) {
                break;
            }
            for flow in flows.iter_mut() {
                flow.pair.run(millis(1), |_| false);
                flow.pair.incoming[1].clear();
            }
        }
        flows.iter().map(|flow| *flow.sent.borrow()).collect()
    }

    fn reason(&self) -> Option<CloseReason> {
        self.pair.ends[0].close_reason()
    }
}

/// Bends a packet of the receiver.
fn tell(lie: Lie, bytes: &mut Vec<u8>, seen: &mut Seen) {
    let mut header = Packet::decode(bytes).unwrap().header;
    if header.kind != Kind::State && header.kind != Kind::Data {
        return;
    }
    while let Some((_, seq)) = seen.under_way.front().copied().filter(|(at, _)| {
        // What has arrived by the time of this packet.
        header.sent_at.delay_since(at.stamp()).get() < 1 << 31
    }) {
        seen.under_way.pop_front();
        seen.arrived = later(seen.arrived, seq);
    }
    let claimed = match lie {
        Lie::Optimistic => seen.sent,
        Lie::Careful => seen
            .arrived
            .zip(seen.sent)
            .map(|(arrived, sent)| arrived + sent.distance_from(arrived).unsigned_abs() / 2),
        Lie::Lazy => seen.arrived,
        _ => None,
    };
    if let Some(ack) = claimed.filter(|ack| ack.is_after(header.ack)) {
        header.ack = ack;
        bytes.truncate(HEADER_LEN);
    }
    if header.delay.is_sample() {
        let first = *seen.first_delay.get_or_insert_with(|| header.delay.get());
        let hidden = header.delay.get().wrapping_sub(first);
        match lie {
            Lie::NoQueue => header.delay = Delay::new(first),
            Lie::Silence => header.delay = Delay::NONE,
            Lie::Blames => {
                header.delay = Delay::new(first);
                header.sent_at = Timestamp::new(header.sent_at.get().wrapping_sub(hidden));
            }
            _ => {}
        }
    }
    let extension = if bytes.len() > HEADER_LEN { bytes[1] } else { 0 };
    header.write(extension, bytes.first_chunk_mut().unwrap());
}

/// 10 Mbit/s.
const RATE: u64 = 1_250_000;

/// Bytes that a receiver is sent in 20 s that has the bottleneck for itself, and how it ended.
fn alone(lie: Lie, queue: Duration, seed: u64) -> (u64, Option<CloseReason>) {
    let mut flows = [Flow::new(lie, &Bottleneck::new(RATE, queue), seed)];
    let sent = Flow::run(&mut flows, secs(20));
    (sent[0], flows[0].reason())
}

#[test]
fn t11_lying_about_packets_gains_nothing() {
    for queue in [millis(30), millis(150)] {
        let (honest, reason) = alone(Lie::None, queue, 1);
        assert_eq!(reason, None);
        for lie in [Lie::Optimistic, Lie::Careful, Lie::Lazy] {
            for seed in 1..=2 {
                let (sent, reason) = alone(lie, queue, seed);
                let share = sent as f64 / honest as f64;
                eprintln!(
                    "t11 bound=1.2 measured={share:.3} of an honest receiver's bytes: {lie:?}, {queue:?}, {reason:?}"
                );
                assert!(share <= 1.2, "{lie:?} is sent {sent} bytes, an honest receiver {honest}");
                assert_eq!(reason, Some(CloseReason::Misbehaved), "{lie:?}");
            }
        }
    }
}

#[test]
fn t12_hiding_the_queue_gains_little() {
    // What nobody can tell from a full way back is left to loss, as with any TCP.
    let lies = [(Lie::NoQueue, 60), (Lie::Silence, 60), (Lie::Blames, 97)];
    for (lie, bound) in lies {
        let link = Bottleneck::new(RATE, millis(150));
        let mut flows = [Flow::new(lie, &link, 1), Flow::new(Lie::None, &link, 2)];
        let sent = Flow::run(&mut flows, secs(25));
        let share = 100 * sent[0] / (sent[0] + sent[1]);
        eprintln!(
            "t12 bound={bound} measured={share} percent of a bottleneck shared with an honest flow: {lie:?}"
        );
        assert!(share <= bound, "{lie:?} gets {share} %");
        assert!(flows.iter().all(|flow| flow.reason().is_none()));
    }
}
