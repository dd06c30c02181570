//! Random scripts over random links: whatever both applications and the network do, what arrives is a prefix of what
//! was written, the end is seen only after all of it, and everything is over in bounded time.

use proptest::prelude::*;

use super::c_transfer::POOR_MASKS;
use super::*;

#[derive(Clone, Copy, Debug)]
enum Deed {
    Write(usize),
    StopReading,
    Read,
    Finish,
    Detach,
    Abort,
    /// The network loses everything from this side for so many milliseconds.
    Blackout(u64),
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        8 => (1..200_000_usize).prop_map(Deed::Write),
        8 => (1..3_000_usize).prop_map(Deed::Write),
        2 => Just(Deed::StopReading),
        4 => Just(Deed::Read),
        2 => Just(Deed::Finish),
        1 => Just(Deed::Detach),
        1 => Just(Deed::Abort),
        1 => (1..2_000_u64).prop_map(Deed::Blackout),
    ]
}

#[derive(Clone, Debug)]
struct Weather {
    seed: u64,
    /// Of 256 packets.
    lost: u8,
    doubled: u8,
    late: u8,
    one_way_micros: u64,
    /// Which poor masks the sides send, if any.
    masks: [usize; 2],
}

fn weather() -> impl Strategy<Value = Weather> {
    let masks = || 0..2 * POOR_MASKS.len();
    (any::<u64>(), 0..50_u8, 0..40_u8, 0..80_u8, 0..150_000_u64, [masks(), masks()]).prop_map(
        |(seed, lost, doubled, late, one_way_micros, masks)| Weather {
            seed,
            lost,
            doubled,
            late,
            one_way_micros,
            masks,
        },
    )
}

fn configs() -> impl Strategy<Value = Config> {
    let sizes = (12..20_u32, 12..20_u32, 4..1000_u16, prop_oneof![Just(150), Just(1400), Just(9000)]);
    (sizes, any::<bool>(), any::<bool>(), 0..50_u64).prop_map(
        |((send, receive, flight, mtu), nodelay, pacing, delay)| {
            Config::default()
                .send_buffer(1 << send)
                .receive_buffer(1 << receive)
                .receive_buffer_max(1 << 20)
                .packets_in_flight(flight)
                .mtu(mtu)
                .nodelay(nodelay)
                .pacing(pacing)
                .ack_delay(millis(delay))
                .connect_timeout(secs(60))
                // A fifth of all packets lost in both directions is bad luck; giving up would be honest, but
                // not what this is about.
                .timeouts(14)
                .idle_timeout(Some(secs(1000)))
        },
    )
}

/// Splitmix, so that a failing case stays the same whatever random crate comes.
fn roll(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Never loses three packets of a side in a row, so that nobody has a reason to give up.
fn link(weather: Weather) -> impl FnMut(usize, u64, &Packet<'_>) -> Fate {
    let mut state = weather.seed;
    let mut lost_in_a_row = [0; 2];
    move |side, _, _| {
        let dice = roll(&mut state).to_le_bytes();
        if dice[0] < weather.lost && lost_in_a_row[side] < 2 {
            lost_in_a_row[side] += 1;
            return vec![];
        }
        lost_in_a_row[side] = 0;
        let mut delay = weather.one_way_micros + u64::from(dice[1]);
        if dice[2] < weather.late {
            delay += weather.one_way_micros * u64::from(dice[3]) / 64;
        }
        let copies = 1 + u64::from(dice[4] < weather.doubled);
        (0..copies).map(|copy| Duration::from_micros(delay + copy * 300 * u64::from(dice[5]))).collect()
    }
}

impl Pair {
    fn perform(&mut self, side: usize, deed: Deed) {
        match deed {
            Deed::Write(len) if !self.finish_when_written[side] => {
                self.outgoing[side] = pattern(self.outgoing[side].len() + len);
            }
            Deed::Write(_) => {}
            Deed::StopReading => self.read[side] = false,
            Deed::Read => self.read[side] = true,
            Deed::Finish => self.finish_when_written[side] = true,
            Deed::Detach => {
                self.ends[side].detach();
                self.gone[side] = true;
            }
            Deed::Abort => {
                self.ends[side].abort();
                self.gone[side] = true;
            }
            // One at a time: several in a row are a reason to give up.
            Deed::Blackout(time) if self.now >= self.blackout[side] + secs(10) => {
                self.blackout[side] = self.now + millis(time);
            }
            Deed::Blackout(_) => {}
        }
    }

    /// What must hold at any moment when nothing is left to be sent.
    fn check(&self) {
        for (side, end) in self.ends.iter().enumerate() {
            let (got, sent) = (&self.incoming[side], &self.outgoing[1 - side]);
            assert!(sent.starts_with(got), "side {side} got what nobody sent");
            if self.eof[side] {
                assert!(
                    self.finish_when_written[1 - side] || self.gone[1 - side],
                    "side {side}: nobody finished"
                );
                assert!(got == sent || self.gone[1 - side], "side {side}: the end came too early");
            }
            if end.state.is_open() {
                let outstanding = end.send.outstanding() > 0;
                assert!(!outstanding || end.timers.retransmit.is_some(), "side {side}: no timer: {end:#?}");
                let timer = end.timers.retransmit.or(end.timers.pace).or(end.timers.persist);
                assert!(end.is_flushed() || timer.is_some(), "side {side}: stalled: {end:#?}");
                assert!(!end.wants_service(), "side {side} has just been serviced: {end:#?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 1 } else { 96 }, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_bytes_are_a_prefix_and_everything_ends(
        weather in weather(),
        configs in [configs(), configs()],
        script in prop::collection::vec((0..3_000_u64, 0..2_usize, deed()), 0..30),
    ) {
        let mut pair = Pair::with(configs);
        let masks = weather.masks.map(|index| POOR_MASKS.get(index).map(|(_, rewrite)| rewrite));
        pair.rewrite = Box::new(move |side, datagram| {
            if let Some(rewrite) = masks[side] {
                rewrite(datagram);
            }
        });
        pair.link = Box::new(link(weather));
        for (time, side, deed) in script {
            pair.run(millis(time), |pair| { pair.check(); false });
            pair.perform(side, deed);
        }
        // All is said; who can, ends in order.
        pair.read = [true; 2];
        pair.finish_when_written = [true; 2];
        let over = pair.run(secs(10_000), |pair| {
            pair.check();
            pair.ends.iter().all(Connection::is_drained)
        });
        prop_assert!(over, "not over after {}: {:#?}", pair.now, pair.ends);
        if pair.gone == [false; 2] {
            let reasons = pair.ends.each_ref().map(Connection::close_reason);
            // A side whose acknowledgements were lost long enough asks a peer that has long been done.
            let late = Some(CloseReason::Reset);
            let finished = |reason: &Option<CloseReason>| *reason == Some(CloseReason::Finished);
            let orderly = reasons.iter().all(|reason| finished(reason) || *reason == late);
            prop_assert!(orderly && reasons.iter().any(finished), "{reasons:?}");
            prop_assert!(pair.incoming[1] == pair.outgoing[0] && pair.incoming[0] == pair.outgoing[1]);
            prop_assert_eq!(pair.eof, [true; 2]);
        }
        for end in &pair.ends {
            prop_assert_eq!(end.poll_timeout(), None);
            prop_assert_eq!(end.send.queued_bytes(), 0);
        }
    }
}
