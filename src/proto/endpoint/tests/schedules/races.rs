//! What applications do at the same time, and must all come back from.

use bytes::Bytes;

use super::*;

#[test]
fn bytes_go_both_ways_and_every_task_comes_back() {
    explore(|| {
        let model = Model::start(End::Drained);
        let (ours, theirs) = model.connect();
        let (ours, theirs) = (Arc::new(ours), Arc::new(theirs));
        let mut tasks = Vec::new();
        for (handle, sends, expects) in [(&ours, 1, 2), (&theirs, 2, 1)] {
            let (writer, reader) = (Arc::clone(handle), Arc::clone(handle));
            tasks.push(thread::spawn(move || write_all(&writer, &pattern(6000, sends))));
            tasks.push(thread::spawn(move || assert!(read_all(&reader) == pattern(6000, expects))));
        }
        for task in tasks {
            task.join().unwrap();
        }
        drop((ours, theirs));
        model.finish();
    });
}

#[test]
fn connections_are_accepted_refused_ignored_and_given_up_meanwhile() {
    explore(|| {
        let model = Model::start(End::Drained);
        let (a, to) = (model.a.clone(), model.to);
        let given_up = thread::spawn({
            let a = a.clone();
            move || drop(a.connect(to, None))
        });
        let connecting = thread::spawn(move || {
            let ours = a.connect(to, None);
            block_on(|cx| ours.poll_connected(cx))
        });
        let deciding = thread::spawn({
            let b = model.b.clone();
            move || {
                let mut decided = 0;
                while let Some(incoming) = block_on(|cx| b.poll_incoming(cx)) {
                    match decided {
                        0 => incoming.refuse(),
                        _ => drop(incoming.accept()),
                    }
                    decided += 1;
                }
            }
        });
        given_up.join().unwrap();
        let outcome = connecting.join().unwrap();
        assert!(matches!(outcome, Ok(()) | Err(CloseReason::Refused)), "{outcome:?}");
        model.finish();
        deciding.join().unwrap();
    });
}

#[test]
fn a_peer_that_drops_its_handle_lets_nobody_wait_for_ever() {
    explore(|| {
        let model = Model::start(End::Drained);
        let (ours, theirs) = model.connect();
        let ours = Arc::new(ours);
        let writer = thread::spawn({
            let ours = Arc::clone(&ours);
            move || {
                let mut total = 0;
                while let Ok(len) = block_on(|cx| ours.poll_write(cx, &[7; 1000])) {
                    total += len;
                    if total > 9000 {
                        break;
                    }
                }
            }
        });
        let reader = thread::spawn({
            let ours = Arc::clone(&ours);
            move || block_on(|cx| ours.poll_read(cx, &mut [0; 100]))
        });
        let leaver = thread::spawn(move || {
            let _ = block_on(|cx| theirs.poll_read(cx, &mut [0; 300]));
            drop(theirs);
        });
        for task in [writer, leaver] {
            task.join().unwrap();
        }
        let _end_or_reset = reader.join().unwrap();
        drop(ours);
        model.finish();
    });
}

#[test]
fn an_abort_wakes_everybody_who_waits() {
    explore(|| {
        let model = Model::start(End::Drained);
        let (ours, theirs) = model.connect();
        let ours = Arc::new(ours);
        let fill = |handle: &Handle| while handle.try_write(&[1; 1000]).is_ready() {};
        fill(&ours);
        let waiting: Vec<JoinHandle<()>> = vec![
            thread::spawn({
                let ours = Arc::clone(&ours);
                move || block_on(|cx| ours.poll_readable(cx))
            }),
            thread::spawn({
                let ours = Arc::clone(&ours);
                move || {
                    // Some find room, and the end comes before, between or after them.
                    for _ in 0..6 {
                        let _room_or_end = block_on(|cx| ours.poll_write(cx, &[2; 1000]));
                    }
                    let _end = block_on(|cx| ours.poll_acked(cx));
                }
            }),
            thread::spawn({
                let ours = Arc::clone(&ours);
                move || block_on(|cx| ours.poll_acked(cx).map(|_| ()))
            }),
            thread::spawn(move || while matches!(block_on(|cx| theirs.poll_read(cx, &mut [0; 1])), Ok(1)) {}),
        ];
        ours.abort();
        for task in waiting {
            task.join().unwrap();
        }
        drop(ours);
        model.finish();
    });
}

#[test]
fn closing_the_endpoint_wakes_everybody_who_waits_for_it() {
    explore(|| {
        let model = Model::start(End::Drained);
        let waiting: Vec<JoinHandle<()>> = vec![
            thread::spawn({
                let b = model.b.clone();
                // Connections until the end; each is refused.
                move || while block_on(|cx| b.poll_incoming(cx)).is_some() {}
            }),
            thread::spawn({
                let b = model.b.clone();
                move || while block_on(|cx| b.poll_foreign(cx)).is_some() {}
            }),
            thread::spawn({
                let (a, to) = (model.a.clone(), model.to);
                move || {
                    let ours = a.connect(to, None);
                    let _outcome = block_on(|cx| ours.poll_connected(cx));
                }
            }),
            thread::spawn({
                let b = model.b.clone();
                move || block_on(|cx| b.poll_drained(cx))
            }),
        ];
        model.finish();
        for task in waiting {
            task.join().unwrap();
        }
    });
}

#[test]
fn a_driver_that_goes_away_leaves_nobody_waiting() {
    explore(|| {
        let model = Model::start(End::Abrupt);
        let (ours, theirs) = model.connect();
        let waiting: Vec<JoinHandle<()>> = vec![
            thread::spawn(move || block_on(|cx| ours.poll_read(cx, &mut [0; 1]).map(|_| ()))),
            thread::spawn(move || while block_on(|cx| theirs.poll_write(cx, &[3; 1000])).is_ok() {}),
            thread::spawn({
                let (a, to) = (model.a.clone(), model.to);
                move || {
                    let ours = a.connect(to, None);
                    let _outcome = block_on(|cx| ours.poll_connected(cx));
                }
            }),
            thread::spawn({
                let b = model.b.clone();
                move || {
                    while let Some(incoming) = block_on(|cx| b.poll_incoming(cx)) {
                        let handle = incoming.accept();
                        let _ = block_on(|cx| handle.poll_read(cx, &mut [0; 1]));
                    }
                }
            }),
        ];
        model.finish();
        for task in waiting {
            task.join().unwrap();
        }
    });
}

#[test]
fn foreign_datagrams_wait_for_room_and_all_arrive() {
    explore(|| {
        let model = Model::with(Config::default().foreign_queue(2), End::Drained);
        model.b.set_foreign(true);
        let sender = thread::spawn({
            let (a, to) = (model.a.clone(), model.to);
            move || {
                for number in 0..5 {
                    let datagram = Bytes::from(vec![number; 3]);
                    block_on(|cx| a.poll_send_foreign(cx, to, &datagram)).unwrap();
                }
            }
        });
        // The oldest are dropped if nobody takes them; the last ones are there.
        let receiver = thread::spawn({
            let b = model.b.clone();
            move || while block_on(|cx| b.poll_foreign(cx)).unwrap().bytes[0] != 4 {}
        });
        sender.join().unwrap();
        receiver.join().unwrap();
        model.finish();
    });
}

#[test]
fn the_last_lease_that_is_dropped_ends_the_endpoint() {
    explore(|| {
        let Pair { a, now, .. } = Pair::new(Config::default());
        let Side { mut endpoint, lease, mut batch, .. } = a;
        let shared = endpoint.shared();
        let driver = thread::spawn(move || {
            shuttle::future::block_on(poll_fn(|cx| {
                loop {
                    endpoint.handle_mail(now);
                    while endpoint.poll_transmit(now, &mut batch).is_some() {}
                    if endpoint.is_drained() {
                        return Poll::Ready(());
                    }
                    if !endpoint.shared().register_driver(cx.waker()) {
                        return Poll::Pending;
                    }
                }
            }));
        });
        let leases = [lease.clone(), lease];
        let tasks = leases.map(|lease| thread::spawn(move || drop(lease.clone())));
        for task in tasks {
            task.join().unwrap();
        }
        block_on(|cx| shared.poll_drained(cx));
        driver.join().unwrap();
        assert!(shared.is_closed());
    });
}

#[test]
fn a_handle_shared_by_tasks_that_give_up_wakes_the_one_that_stays() {
    explore(|| {
        let model = Model::start(End::Drained);
        let (ours, theirs) = model.connect();
        let theirs = Arc::new(theirs);
        let fickle = thread::spawn({
            let theirs = Arc::clone(&theirs);
            move || {
                for _ in 0..3 {
                    let _gives_up = theirs.poll_readable(&mut cx());
                }
            }
        });
        let stays = thread::spawn(move || block_on(|cx| theirs.poll_read(cx, &mut [0; 10])).unwrap());
        assert_eq!(block_on(|cx| ours.poll_write(cx, b"x")), Ok(1));
        fickle.join().unwrap();
        assert_eq!(stays.join().unwrap(), 1);
        drop(ours);
        model.finish();
    });
}

#[test]
fn mail_from_several_tasks_at_once_is_read() {
    explore(|| {
        let model = Model::start(End::Drained);
        let pairs = [model.connect(), model.connect()];
        let received = Arc::new(Mutex::new(0));
        let mut tasks = Vec::new();
        for (ours, theirs) in pairs {
            let received = Arc::clone(&received);
            tasks.push(thread::spawn(move || {
                // Each finds the driver awake or asleep, as it happens.
                for _ in 0..3 {
                    assert!(matches!(block_on(|cx| ours.poll_write(cx, b"ab")), Ok(2)));
                }
                drop(ours);
            }));
            tasks.push(thread::spawn(move || {
                let bytes = read_all(&theirs);
                *received.lock().unwrap() += bytes.len();
            }));
        }
        for task in tasks {
            task.join().unwrap();
        }
        assert_eq!(*received.lock().unwrap(), 12);
        model.finish();
    });
}
