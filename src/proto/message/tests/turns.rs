//! Whose turn it is: priorities, shares, budgets, company, time to live.

use super::*;

fn packets(messages: &mut Messages, now: Instant, count: usize) -> Vec<usize> {
    let mut lens = Vec::new();
    while lens.len() < count
        && let Some(payload) = messages.stage(now, ROOM)
    {
        lens.push(payload.len());
        messages.on_numbered();
    }
    lens
}

fn sent(messages: &Messages, channel: u8) -> u64 {
    messages.channel_stats(channel).unwrap().bytes_sent
}

fn fill(messages: &mut Messages, channel: u8, count: usize, len: usize) {
    for _ in 0..count {
        messages.send(channel, vec![0; len].into()).unwrap();
    }
}

#[test]
fn small_messages_share_a_packet_and_none_waits_for_company() {
    let mut messages = Messages::new(&MessageConfig::default());
    fill(&mut messages, 2, 1, 64);
    assert_eq!(packets(&mut messages, Instant::ZERO, 9), [71]);
    fill(&mut messages, 2, 100, 64);
    assert_eq!(packets(&mut messages, Instant::ZERO, 9), [1349, 1349, 1349, 1349, 1349, 355]);
}

#[test]
fn with_coalescing_they_wait_for_company_but_not_longer_and_not_after_a_flush() {
    let delay = Duration::from_millis(16);
    let mut messages = Messages::new(&MessageConfig::default().coalesce(delay));
    let at = |millis| Instant::ZERO + Duration::from_millis(millis);
    messages.send(2, "a".into()).unwrap();
    messages.on_time(at(1));
    assert_eq!(messages.ready_at(ROOM), Some(at(17)));
    assert!(packets(&mut messages, at(16), 9).is_empty());
    messages.send(2, "b".into()).unwrap();
    assert_eq!(packets(&mut messages, at(17), 9), [16]);
    messages.send(2, "c".into()).unwrap();
    messages.flush();
    assert_eq!(packets(&mut messages, at(20), 9), [8]);
    fill(&mut messages, 2, 2, 700);
    assert_eq!(packets(&mut messages, at(20), 9).len(), 1, "a full packet waits for nobody");
}

#[test]
fn a_higher_priority_goes_first_and_others_get_what_is_left_over() {
    let of = |priority| ChannelConfig::new(Mode::ReliableUnordered).priority(priority);
    let mut messages = Messages::new(&MessageConfig::new([of(1), of(9)]));
    fill(&mut messages, 0, 50, 100);
    fill(&mut messages, 1, 2, 900);
    packets(&mut messages, Instant::ZERO, 2);
    assert_eq!(
        (sent(&messages, 0), sent(&messages, 1)),
        (800, 1800),
        "four small ones beside each large one"
    );
}

#[test]
fn channels_of_one_priority_share_by_weight() {
    let of = |weight| ChannelConfig::new(Mode::ReliableUnordered).weight(weight);
    let mut messages = Messages::new(&MessageConfig::new([of(1), of(3), of(1)]));
    fill(&mut messages, 0, 1000, 100);
    fill(&mut messages, 1, 100, 2000);
    messages.set_assembly_room(1 << 20);
    fill(&mut messages, 2, 1000, 333);
    packets(&mut messages, Instant::ZERO, 100);
    let shares = [0, 1, 2].map(|channel| sent(&messages, channel) as f64 / 1000.0);
    let total: f64 = shares.iter().sum();
    for (share, expected) in shares.iter().zip([0.2, 0.6, 0.2]) {
        assert!((share / total - expected).abs() < 0.05, "{shares:?}");
    }
}

#[test]
fn a_large_message_is_not_kept_waiting_by_small_ones() {
    let channel = ChannelConfig::new(Mode::ReliableUnordered);
    let mut messages = Messages::new(&MessageConfig::new([channel; 3]));
    fill(&mut messages, 0, 1000, 100);
    fill(&mut messages, 1, 1000, 100);
    fill(&mut messages, 2, 20, 1370);
    packets(&mut messages, Instant::ZERO, 60);
    assert!(sent(&messages, 2) >= 15 * 1370, "{}", sent(&messages, 2));
}

#[test]
fn budgets_hold_for_a_channel_and_for_all() {
    let slow = ChannelConfig::new(Mode::ReliableUnordered).budget(Some(10_000));
    let fast = ChannelConfig::new(Mode::ReliableUnordered);
    let mut messages = Messages::new(&MessageConfig::new([slow, fast]).budget(Some(50_000)));
    fill(&mut messages, 0, 2000, 90);
    fill(&mut messages, 1, 2000, 90);
    let (mut now, end) = (Instant::ZERO, Instant::ZERO + Duration::from_secs(2));
    let mut bytes = 0;
    while now < end {
        bytes += packets(&mut messages, now, 1000).iter().sum::<usize>();
        now = messages.ready_at(ROOM).unwrap().max(now + Duration::from_micros(50));
    }
    assert!((100_000..107_000).contains(&bytes), "{bytes}");
    let of_slow = sent(&messages, 0) * 97 / 90;
    assert!((20_000..23_000).contains(&of_slow), "{of_slow}");
}

#[test]
fn what_is_too_old_and_what_is_overtaken_before_it_was_sent_is_dropped_and_said() {
    let mortal = ChannelConfig::new(Mode::ReliableUnordered).time_to_live(Some(Duration::from_millis(100)));
    let state = ChannelConfig::new(Mode::UnreliableSequenced);
    let mut messages = Messages::new(&MessageConfig::new([mortal, state]));
    let ids: Vec<MessageId> = (0..3).map(|_| messages.send(1, "state".into()).unwrap()).collect();
    let old = messages.send(0, "old".into()).unwrap();
    messages.on_time(Instant::ZERO);
    let now = Instant::ZERO + Duration::from_millis(101);
    messages.send(0, "new".into()).unwrap();
    packets(&mut messages, now, 9);
    let receipts: Vec<_> =
        std::iter::from_fn(|| messages.next_receipt()).map(|receipt| (receipt.id, receipt.fate)).collect();
    assert_eq!(receipts, [(old, Fate::Expired), (ids[0], Fate::Superseded), (ids[1], Fate::Superseded)]);
    assert_eq!((sent(&messages, 0), sent(&messages, 1)), (3, 5));
}

#[test]
fn a_full_queue_is_room_later_and_never_a_loss() {
    let channel = ChannelConfig::new(Mode::ReliableOrdered).queue_bytes(1024);
    let mut messages = Messages::new(&MessageConfig::new([channel]).max_message(4000));
    while messages.can_send(0) {
        messages.send(0, vec![1; 100].into()).unwrap();
    }
    assert_eq!(messages.send(0, "x".into()), Err(SendError::Full("x".into())));
    assert_eq!(messages.send(1, "x".into()), Err(SendError::NoSuchChannel("x".into())));
    let long = Bytes::from(vec![1; 4001]);
    assert_eq!(messages.send(0, long.clone()), Err(SendError::TooLong(long)));
    packets(&mut messages, Instant::ZERO, 1);
    assert!(messages.can_send(0));
}
