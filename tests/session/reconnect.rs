//! A client that connects again by itself.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use ebbtide::session::{Backoff, Reconnector, Session, SessionConfig, Sessions};
use tokio::io::duplex;

use super::{expect_numbered, numbered};

#[tokio::test]
async fn a_client_heals_itself_through_failures_to_connect() {
    let hub = Sessions::new(SessionConfig::default(), 10);
    let (calls, client) = (Arc::new(AtomicU32::new(0)), Session::new());
    let (accepted, mut servers) = tokio::sync::mpsc::unbounded_channel();
    let counted = Arc::clone(&calls);
    let connect = move || {
        let (hub, accepted, call) = (hub.clone(), accepted.clone(), counted.fetch_add(1, Relaxed));
        async move {
            if call % 3 == 2 {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            // Some connections die before they are of any use.
            let (here, there) = duplex(if call % 5 == 4 { 64 } else { 4096 });
            tokio::spawn(async move { hub.accept(there).await.map(|got| accepted.send(got.session)) });
            Ok(here)
        }
    };
    let backoff = Backoff { first: Duration::from_millis(2), most: Duration::from_millis(10) };
    let running = tokio::spawn(Reconnector::new(client.clone(), connect).backoff(backoff).run());

    let server = servers.recv().await.unwrap();
    let killer = tokio::spawn({
        let server = server.clone();
        async move {
            for _ in 0..30 {
                server.attached().await;
                tokio::time::sleep(Duration::from_millis(1)).await;
                server.detach();
            }
        }
    });
    let sending = tokio::spawn({
        let client = client.clone();
        async move {
            for number in 0..5000 {
                client.send(numbered(number)).await.unwrap();
                if number % 100 == 0 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            client.close().await;
        }
    });
    expect_numbered(&server, 5000).await;
    sending.await.unwrap();
    killer.abort();
    tokio::time::timeout(Duration::from_secs(5), running).await.unwrap().unwrap();
    assert!(calls.load(Relaxed) > 10);
}
