//! More peers with real addresses than there are places, and a transfer that was there before them.

use std::net::SocketAddr;
use std::time::Duration;

use ebbtide::Config;
use ebbtide::sim::{Link, Rate, RawNet, RawProgram, Side, Size, Traffic, World};
use ebbtide::wire::{ConnId, Delay, Header, Kind, Packet, SeqNr};

/// Connects again and again, proves its address every time, and never says anything more.
#[derive(Debug)]
struct Squatter {
    to: SocketAddr,
    tries: u16,
    begun: u16,
    proved: u64,
    refused: u64,
}

impl Squatter {
    fn send(&self, net: &mut RawNet<'_>, kind: Kind, id: ConnId, seq: u16, ack: SeqNr) {
        let header = Header {
            kind,
            conn_id: id,
            sent_at: net.timestamp(),
            delay: Delay::NONE,
            window: 1 << 20,
            seq: SeqNr::new(seq),
            ack,
        };
        let mut datagram = [0; 20];
        header.write(0, &mut datagram);
        net.send(self.to, &datagram);
    }
}

impl RawProgram for Squatter {
    fn on_datagram(&mut self, net: &mut RawNet<'_>, _: SocketAddr, bytes: &[u8]) {
        let header = Packet::decode(bytes).unwrap().header;
        match header.kind {
            Kind::State if header.ack == SeqNr::new(1) => {
                self.proved += 1;
                self.send(net, Kind::State, header.conn_id.next(), 2, header.seq.prev());
            }
            Kind::Reset => self.refused += 1,
            _ => {}
        }
    }

    fn on_alarm(&mut self, net: &mut RawNet<'_>) {
        self.send(net, Kind::Syn, ConnId::new(4 * self.begun), 1, SeqNr::new(0));
        self.begun += 1;
        if self.begun < self.tries {
            net.wake_after(Duration::from_millis(10));
        }
    }
}

/// How long a transfer takes while so many squatters try so often; and the most connections there were, and the tries
/// that were answered.
fn transfer_beside(squatters: u16, tries: u16) -> (Duration, usize, u64) {
    let mut world = World::new(4);
    let server = world.host(Config::default());
    let client = world.host(Config::default());
    world.join(client, server, Link::perfect().rate(Rate::megabits(50)).delay(Duration::from_millis(10)));
    world.serve(server, &Traffic::idle(Duration::from_secs(3600)));
    let flow = world.start(client, server, &Traffic::bulk(Size::mib(16)));
    let to = world.addr(server);
    let hosts: Vec<_> = (0..squatters)
        .map(|_| {
            let raw = world.raw_host(Squatter { to, tries, begun: 0, proved: 0, refused: 0 });
            world.join(raw, server, Link::perfect().delay(Duration::from_millis(10)));
            raw
        })
        .collect();
    let mut most = 0;
    while !world.is_done(flow) {
        world.run_for(Duration::from_millis(10));
        most = most.max(world.endpoint(server).connections());
        assert!(world.now() < Duration::from_secs(60), "{:?}", world.report(flow, Side::Initiator));
    }
    let proved = hosts.iter().map(|&raw| world.raw::<Squatter>(raw).unwrap().proved).sum();
    (world.now(), most, proved)
}

#[test]
fn t04_a_crowd_that_takes_every_place_leaves_a_transfer_its_rate() {
    let (alone, ..) = transfer_beside(0, 0);
    let (crowded, most, proved) = transfer_beside(100, 200);
    let share = alone.as_secs_f64() / crowded.as_secs_f64();
    eprintln!(
        "t04 bound=>= 95 % of the goodput, <= 4096 connections measured={:.1} %, {most}; {proved} of 20000 tries answered",
        100.0 * share
    );
    assert!(share >= 0.95 && most == 4096 && proved > 4096);
}
