//! What becomes of packets when datagrams below are lost.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use ebbtide::session::Session;
use ebbtide::{Config, MemoryHub, UtpSocket};

use super::bad_line::BadLine;
use super::{expect_numbered, numbered};

/// A1: a lost datagram never desynchronises a conversation; the bytes of packets come whole and in order, or again.
#[tokio::test]
async fn a1_lost_and_doubled_datagrams_never_desynchronise() {
    const COUNT: u32 = 2000;
    let hub = MemoryHub::new();
    let mut lost = Vec::new();
    let [a, b] = ["10.0.0.1:9", "10.0.0.2:9"].map(|addr| {
        let line = BadLine::new(hub.attach(addr.parse().unwrap()).unwrap(), 3, 3);
        lost.push(Arc::clone(&line.lost));
        let (socket, driver) = UtpSocket::over(line, Config::default()).unwrap();
        tokio::spawn(driver.run());
        socket
    });
    let listener = b.listen();
    let (calling, called) = tokio::join!(a.connect(b.local_addr()), listener.accept());
    let (here, there) = (Session::new(), Session::new());
    here.attach(calling.unwrap());
    there.attach(called.unwrap().0);
    let send = |from: Session| async move {
        for number in 0..COUNT {
            from.send(numbered(number)).await.unwrap();
        }
    };
    tokio::join!(
        send(here.clone()),
        send(there.clone()),
        expect_numbered(&here, COUNT),
        expect_numbered(&there, COUNT)
    );
    assert!(lost.iter().all(|lost| lost.load(Relaxed) > 0), "the line was bad both ways");
}
