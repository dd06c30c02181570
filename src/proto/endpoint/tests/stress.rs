//! Real threads hunting for wake-ups that get lost.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::task::Wake;
use std::thread::{self, JoinHandle, Thread};

use super::*;

/// Wakes a thread, and remembers that it did.
struct Unpark {
    thread: Thread,
    called: AtomicBool,
}

impl Unpark {
    fn current() -> Arc<Self> {
        Arc::new(Self { thread: thread::current(), called: AtomicBool::new(false) })
    }

    fn was_called(&self) -> bool {
        self.called.swap(false, Ordering::SeqCst)
    }
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.called.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

/// Waits without any time limit: a lost wake-up hangs here.
fn block_on<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    let unpark = Unpark::current();
    let waker = Waker::from(Arc::clone(&unpark));
    loop {
        if let Poll::Ready(value) = poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        while !unpark.was_called() {
            thread::park();
        }
    }
}

/// Moves packets between the two until told to stop. Sleeps only when there is nothing to do, and expects to be
/// woken for mail.
fn drive(mut pair: Pair, stop: &AtomicBool) {
    let unpark = Unpark::current();
    let waker = Waker::from(Arc::clone(&unpark));
    while !stop.load(Ordering::SeqCst) {
        if pair.step() {
            continue;
        }
        let next =
            [pair.a.endpoint.poll_timeout(), pair.b.endpoint.poll_timeout()].into_iter().flatten().min();
        if let Some(next) = next.filter(|next| next.since(pair.now) < millis(100)) {
            pair.now = next.max(pair.now);
            continue;
        }
        unpark.was_called();
        if pair.a.lease.register_driver(&waker) || pair.b.lease.register_driver(&waker) {
            continue;
        }
        thread::park_timeout(millis(50));
        pair.now = pair.now + millis(50);
        let mail = |pair: &Pair| pair.a.lease.has_mail() || pair.b.lease.has_mail();
        if mail(&pair) && !unpark.was_called() {
            // The letter is there and the bell will ring any moment.
            thread::park_timeout(secs(5));
            assert!(unpark.was_called(), "mail without a wake-up");
        }
    }
}

fn pattern(len: usize, salt: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + (i >> 8) * 17 + salt) as u8).collect()
}

/// Writes everything in pieces of changing size, flushing now and then.
fn write_all(handle: &Handle, data: &[u8]) {
    let mut left = data;
    let mut size = 1;
    while !left.is_empty() {
        size = (size * 7 + 3) % 5000 + 1;
        let piece = &left[..size.min(left.len())];
        let written = block_on(|cx| handle.poll_write(cx, piece)).unwrap();
        left = &left[written..];
        if size % 3 == 0 {
            block_on(|cx| handle.poll_writable(cx));
        }
        if size % 17 == 0 {
            block_on(|cx| handle.poll_flush(cx)).unwrap();
        }
    }
    block_on(|cx| handle.poll_finish(cx)).unwrap();
    block_on(|cx| handle.poll_acked(cx)).unwrap();
}

fn read_all(handle: &Handle) -> Vec<u8> {
    let mut received = Vec::new();
    let mut size = 1;
    loop {
        size = (size * 11 + 7) % 3000 + 1;
        if size % 3 == 0 {
            block_on(|cx| handle.poll_readable(cx));
        }
        let mut out = vec![0; size];
        match block_on(|cx| handle.poll_read(cx, &mut out)).unwrap() {
            0 => return received,
            len => received.extend(&out[..len]),
        }
    }
}

/// A writer and a reader on the same handle, each with a thread of its own.
fn both_ways(handle: Handle, send: usize, expect: usize, len: usize) -> Vec<JoinHandle<()>> {
    let writer = Arc::new(handle);
    let reader = Arc::clone(&writer);
    vec![
        thread::spawn(move || write_all(&writer, &pattern(len, send))),
        thread::spawn(move || assert!(read_all(&reader) == pattern(len, expect))),
    ]
}

/// Fails the test instead of hanging it.
fn within(limit: Duration, work: impl FnOnce() + Send + 'static) {
    let (done, finished): (_, Receiver<()>) = channel();
    let worker = thread::spawn(move || {
        work();
        drop(done);
    });
    let outcome = finished.recv_timeout(limit);
    assert!(outcome.is_err_and(|error| error == std::sync::mpsc::RecvTimeoutError::Disconnected), "hangs");
    worker.join().unwrap();
}

#[test]
fn no_wake_up_is_lost_between_threads() {
    const STREAMS: usize = 3;
    const LEN: usize = if cfg!(miri) { 3_000 } else { 300_000 };
    within(secs(120), || {
        let pair = Pair::new(
            Config::default().send_buffer(8 << 10).receive_buffer(8 << 10).receive_buffer_max(8 << 10),
        );
        let (a, b, to) = (pair.a.lease.clone(), pair.b.lease.clone(), pair.b.addr);
        let stop = Arc::new(AtomicBool::new(false));
        let driver = {
            let stop = Arc::clone(&stop);
            thread::spawn(move || drive(pair, &stop))
        };
        let mut threads = Vec::new();
        for number in 0..STREAMS {
            let ours = a.connect(to, None);
            let theirs = block_on(|cx| b.poll_incoming(cx)).unwrap().accept();
            block_on(|cx| ours.poll_connected(cx)).unwrap();
            threads.extend(both_ways(ours, number, 100 + number, LEN));
            threads.extend(both_ways(theirs, 100 + number, number, LEN));
        }
        for thread in threads {
            thread.join().unwrap();
        }
        stop.store(true, Ordering::SeqCst);
        driver.join().unwrap();
    });
}
