//! The protocol of `cell.rs` in thousands of orders: a scheduler decides at every lock which thread goes next.
//!
//! `RUSTFLAGS="--cfg ebbtide_shuttle" cargo test --no-default-features --lib schedules`
//!
//! A wake-up that gets lost is a deadlock, and the scheduler reports that, with a line that replays it
//! (`SCHEDULE=… cargo test … name_of_the_test`). The driver does not help with timers: while applications are at
//! work it waits for short ones only (delayed acknowledgements), never for a retransmission or a keepalive, so
//! nothing but a wake-up brings a task or the driver back. `SCHEDULES` says how many orders are tried, half of them
//! random and half by PCT, which finds what needs few preemptions at the right places.

mod races;

use std::env;
use std::future::poll_fn;
use std::task::Wake;

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::sync::Mutex;
use shuttle::thread::{self, JoinHandle};

use super::*;

/// Orders that are tried of each test, unless `SCHEDULES` says otherwise.
const SCHEDULES: usize = 1000;

/// The preemptions that PCT places.
const PREEMPTIONS: usize = 4;

/// A timer that is due later than this has no business in a healthy exchange.
const SHORT: Duration = Duration::from_millis(150);

fn explore(test: fn()) {
    let mut config = shuttle::Config::new();
    config.stack_size = 1 << 18;
    if let Ok(schedule) = env::var("SCHEDULE") {
        return shuttle::replay(test, &schedule);
    }
    let orders = env::var("SCHEDULES").map_or(SCHEDULES, |orders| orders.parse().unwrap());
    let random = RandomScheduler::new(orders.div_ceil(2));
    shuttle::Runner::new(random, config.clone()).run(test);
    shuttle::Runner::new(PctScheduler::new(PREEMPTIONS, orders / 2), config).run(test);
}

/// Passes a call on. A new one for every poll, as if the task had moved: only the latest may be relied on.
struct Relay(Waker);

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        self.0.wake_by_ref();
    }
}

/// Waits for good: if nobody calls the waker, that is a deadlock.
fn block_on<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    let mut polls = 0;
    shuttle::future::block_on(poll_fn(|cx| {
        polls += 1;
        if polls % 2 == 0 {
            return poll(cx);
        }
        let relay = Waker::from(Arc::new(Relay(cx.waker().clone())));
        poll(&mut Context::from_waker(&relay))
    }))
}

/// How the driver's work ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// When both endpoints are closed and nothing is left.
    Drained,
    /// As soon as the second endpoint is told to close: it goes down with everything it has.
    Abrupt,
}

/// Two endpoints and the thread that drives them.
struct Model {
    a: Lease,
    b: Lease,
    /// Where `b` is.
    to: SocketAddr,
    driver: JoinHandle<()>,
}

impl Model {
    fn start(end: End) -> Self {
        Self::with(Config::default(), end)
    }

    fn with(config: Config, end: End) -> Self {
        let config = config.pacing(false).send_buffer(4096).receive_buffer(4096).receive_buffer_max(4096);
        config.validate().unwrap();
        let pair = Pair::new(config);
        let (a, b, to) = (pair.a.lease.clone(), pair.b.lease.clone(), pair.b.addr);
        Self { a, b, to, driver: thread::spawn(move || drive(pair, end)) }
    }

    /// A connection and its two handles.
    fn connect(&self) -> (Handle, Handle) {
        let ours = self.a.connect(self.to, None);
        let theirs = block_on(|cx| self.b.poll_incoming(cx)).unwrap().accept();
        block_on(|cx| ours.poll_connected(cx)).unwrap();
        (ours, theirs)
    }

    /// Closes both, and waits until nothing is left.
    fn finish(self) {
        self.a.close();
        self.b.close();
        block_on(|cx| self.a.poll_drained(cx));
        block_on(|cx| self.b.poll_drained(cx));
        self.driver.join().unwrap();
    }
}

fn drive(mut pair: Pair, end: End) {
    let driver = poll_fn(|cx| drive_until_idle(&mut pair, end, cx));
    shuttle::future::block_on(driver);
    if end == End::Drained {
        for endpoint in [&pair.a.endpoint, &pair.b.endpoint] {
            // Somebody may still hold an incoming connection and not have decided.
            let routes = endpoint.routes_len() - endpoint.half_open();
            assert_eq!((endpoint.connections(), routes, endpoint.ready_len()), (0, 0, 0));
        }
    }
}

/// A driver's turns until there is nothing to do but to wait for mail.
fn drive_until_idle(pair: &mut Pair, end: End, cx: &Context<'_>) -> Poll<()> {
    loop {
        if end == End::Abrupt && pair.b.lease.is_closed() {
            pair.a.endpoint.shut_down(CloseReason::EndpointClosed);
            pair.b.endpoint.shut_down(CloseReason::EndpointClosed);
            return Poll::Ready(());
        }
        if pair.step() {
            continue;
        }
        let closed = pair.a.lease.is_closed() && pair.b.lease.is_closed();
        if closed && pair.a.endpoint.is_drained() && pair.b.endpoint.is_drained() {
            return Poll::Ready(());
        }
        let timers = [pair.a.endpoint.poll_timeout(), pair.b.endpoint.poll_timeout()];
        let next = timers.into_iter().flatten().min();
        if let Some(next) = next.filter(|next| closed || next.since(pair.now) < SHORT) {
            pair.now = next.max(pair.now);
            continue;
        }
        if !pair.a.lease.register_driver(cx.waker()) && !pair.b.lease.register_driver(cx.waker()) {
            return Poll::Pending;
        }
    }
}

fn pattern(len: usize, salt: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + (i >> 8) * 17 + salt) as u8).collect()
}

/// Writes everything, our end included, and waits until the peer has it.
fn write_all(handle: &Handle, data: &[u8]) {
    let mut left = data;
    while !left.is_empty() {
        let piece = &left[..left.len().min(1700)];
        let written = block_on(|cx| handle.poll_write(cx, piece)).unwrap();
        left = &left[written..];
    }
    block_on(|cx| handle.poll_flush(cx)).unwrap();
    block_on(|cx| handle.poll_finish(cx)).unwrap();
    block_on(|cx| handle.poll_acked(cx)).unwrap();
}

fn read_all(handle: &Handle) -> Vec<u8> {
    let mut received = Vec::new();
    loop {
        block_on(|cx| handle.poll_readable(cx));
        let mut out = [0; 2500];
        match block_on(|cx| handle.poll_read(cx, &mut out)).unwrap() {
            0 => return received,
            len => received.extend(&out[..len]),
        }
    }
}
