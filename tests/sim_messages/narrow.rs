//! Ends with the least room that there may be.

use std::time::Duration;

use bytes::Bytes;
use ebbtide::proto::message::{ChannelConfig, MessageConfig, Mode};
use ebbtide::sim::{Line, Link, Strike, World};
use ebbtide::{Config, Congestion};

use super::{talk, talker};

/// What waits costs more than its bytes: with the smallest window, one packet of empty messages behind a gap filled it,
/// and the packet that would have closed the gap was refused for ever.
#[test]
fn a_gap_is_closed_however_much_more_than_its_bytes_what_waits_behind_it_costs() {
    const MESSAGES: usize = 4000;
    let config = MessageConfig::new([ChannelConfig::new(Mode::ReliableOrdered)]).max_message(1);
    let mut world = World::new(3);
    let host = Config::default().receive_buffer(4096).receive_buffer_max(4096);
    let hosts = [(); 2].map(|()| world.host(host.clone().congestion(Congestion::Fixed(64 << 10))));
    let link = Link::perfect().delay(Duration::from_millis(10)).loss(Strike::random(0.2));
    world.join(hosts[0], hosts[1], Line::from(link));
    let at = Duration::from_millis(100);
    talk(&mut world, hosts, &config, vec![(at, 0, Bytes::new()); MESSAGES]);
    let all_there = |world: &World| talker(world, hosts[1]).received.len() == MESSAGES;
    world.run_until(all_there, Duration::from_secs(600)).expect("all of them arrive");
}
