//! A sender that keeps to the window, over a network that does not keep anything: nothing it sends is refused.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// What a sender knows. Packets are counted from 0.
struct Sender {
    sizes: Vec<usize>,
    sent: usize,
    /// Sent and, as far as the acknowledgements that got through say, not arrived.
    outstanding: BTreeSet<usize>,
    window: usize,
}

impl Sender {
    fn send(&mut self) {
        let in_flight: usize = self.outstanding.iter().map(|index| self.sizes[*index]).sum();
        if let Some(size) = self.sizes.get(self.sent)
            && in_flight + size <= self.window
        {
            self.outstanding.insert(self.sent);
            self.sent += 1;
        }
    }

    fn acknowledge(&mut self, recv: &ReceiveBuffer, first: SeqNr) {
        let mut bits = SackBits::new();
        recv.sack(&mut bits);
        let cumulative = usize::from((recv.cumulative() + 1 - first.get()).get());
        let mask = crate::wire::Sack::new(bits.as_bytes());
        self.outstanding.retain(|index| *index >= cumulative);
        for held in mask.received(recv.cumulative()) {
            self.outstanding.remove(&usize::from((held - first.get()).get()));
        }
        self.window = recv.window() as usize;
    }
}

#[derive(Clone, Debug)]
enum Step {
    Send,
    Deliver(Index),
    Acknowledge,
    Read(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Send),
        6 => any::<Index>().prop_map(Step::Deliver),
        2 => Just(Step::Acknowledge),
        2 => (0..5000usize).prop_map(Step::Read),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 3 } else { 256 }))]

    #[test]
    fn what_was_advertised_is_never_refused(
        first in 65_500..=65_535u16,
        limit in 1500..30_000usize,
        sizes in prop_oneof![vec(64..1400usize, 1..300), vec(0..200usize, 1..300), vec(Just(1400), 1..300)],
        steps in vec(step(), 1..600),
    ) {
        let first = seq(first);
        let mut recv = receiver(limit, first.get());
        let mut sender = Sender { sizes, sent: 0, outstanding: BTreeSet::new(), window: limit };
        for step in steps {
            match step {
                Step::Send => sender.send(),
                Step::Acknowledge => sender.acknowledge(&recv, first),
                Step::Read(len) => {
                    recv.read(&mut vec![0; len]);
                }
                Step::Deliver(pick) => {
                    let outstanding: Vec<usize> = sender.outstanding.iter().copied().collect();
                    if outstanding.is_empty() {
                        continue;
                    }
                    let index = *pick.get(&outstanding);
                    let size = sender.sizes[index];
                    let packet = first + u16::try_from(index).unwrap();
                    let next = packet == recv.cumulative().next();
                    let inserted = recv.insert(packet, &vec![0; size]);
                    // Small packets are charged more than they are while they wait, so those may have to come again.
                    let small_ones = sender.sizes.iter().any(|size| *size < 64);
                    prop_assert!(inserted != Inserted::Refused || (small_ones && !next), "packet {index} of {size}");
                    prop_assert!(recv.readable_bytes() + recv.window() as usize <= limit);
                }
            }
        }
    }
}

/// Read memory that the ring keeps for more must not keep out what comes early.
#[test]
fn a_ring_that_was_full_makes_room_for_what_is_held() {
    let mut recv = receiver(65_536, 65_535);
    for n in 0..64 {
        assert_eq!(recv.insert(seq(65_535) + n, &[0; 1024]), in_order(1024));
    }
    drain(&mut recv);
    assert!(recv.memory_bytes() >= 65_536, "kept for what follows");
    let first = recv.cumulative() + 2;
    let held = (0..1000).take_while(|n| recv.insert(first + *n, &[0; 100]) == Inserted::Held).count();
    assert_eq!(held, 655, "as many as the window has room for");
    assert!(recv.memory_bytes() <= recv.memory_max());
}
