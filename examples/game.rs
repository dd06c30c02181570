//! A small game over a bad line: where everybody is goes out sixty times a second and may get lost, since something
//! newer follows; what happened goes out once and has to arrive.
//!
//!     cargo run --example game --features reactor,conditioner       # a world and two players
//!     cargo run --example game --features reactor,conditioner -- server 127.0.0.1:1999
//!     cargo run --example game --features reactor,conditioner -- client 127.0.0.1:1999
//!
//! The players walk to the coins by themselves, while a tenth of all packets gets lost and the others take 20 ms. `Bad` is
//! a transport of one's own, with a link conditioner in it.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ebbtide::link::{Conditioner, Direction, Link, Strike};
use ebbtide::message::{ChannelConfig, MessageConfig, Mode};
use ebbtide::reactor::{Event, PeerId, Reactor, SendError};
use ebbtide::{Batch, Config, Datagrams, Run, SystemSocket};

const FRAME: Duration = Duration::from_micros(16_667);
/// Where everybody is: only the newest counts.
const STATE: u8 = 0;
/// What happened: a coin is found, the next one lies there.
const EVENTS: u8 = 1;
const COINS: u8 = 5;

fn channels() -> MessageConfig {
    MessageConfig::new([
        ChannelConfig::new(Mode::UnreliableSequenced),
        ChannelConfig::new(Mode::ReliableOrdered).priority(200),
    ])
}

/// A socket on a bad line: what comes in goes through a conditioner first.
struct Bad {
    socket: SystemSocket,
    line: Mutex<Conditioner<SocketAddr>>,
    began: Instant,
}

impl Datagrams for Bad {
    fn try_recv(&self, buffers: &mut [IoSliceMut<'_>], runs: &mut [Run]) -> io::Result<usize> {
        let now = ebbtide::Instant::ZERO + self.began.elapsed();
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = self.socket.try_recv(buffers, runs);
        for (buffer, run) in buffers.iter().zip(&runs[..*outcome.as_ref().unwrap_or(&0)]) {
            for datagram in buffer[..run.len].chunks(run.stride.max(1)) {
                line.offer(now, Direction::Back, run.from, datagram);
            }
        }
        let mut count = 0;
        for (buffer, run) in buffers.iter_mut().zip(runs) {
            let Some((from, datagram)) = line.peek(now, Direction::Back) else { break };
            buffer[..datagram.len()].copy_from_slice(datagram);
            *run = Run { from, len: datagram.len(), stride: datagram.len() };
            line.pop(Direction::Back);
            count += 1;
        }
        match outcome {
            Err(error) if count == 0 => Err(error),
            // Everything that came is still under way.
            _ if count == 0 => Err(io::ErrorKind::WouldBlock.into()),
            _ => Ok(count),
        }
    }

    fn try_send(&self, peer: SocketAddr, batch: &Batch, skip: usize) -> io::Result<usize> {
        self.socket.try_send(peer, batch, skip)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

fn bind(addr: SocketAddr) -> Result<Reactor<Bad>, Box<dyn Error>> {
    let socket = SystemSocket::bind(addr, 1 << 20)?;
    let line = Link::perfect().delay(Duration::from_millis(20)).loss(Strike::random(0.1));
    let line = Mutex::new(Conditioner::new(line, u64::from(addr.port())));
    Ok(Reactor::over(Bad { socket, line, began: Instant::now() }, Config::interactive())?)
}

/// The world: it knows where everybody is, and who has found how many coins.
struct World {
    reactor: Reactor<Bad>,
    players: BTreeMap<PeerId, (u8, u8)>,
    coin: u8,
    coins: u8,
}

impl World {
    fn frame(&mut self) -> Result<(), Box<dyn Error>> {
        self.reactor.tick()?;
        while let Some(event) = self.reactor.next_event() {
            match event {
                Event::Connected { peer, .. } => {
                    self.players.insert(peer, (0, 0));
                    self.tell(&[peer], EVENTS, vec![self.coins, self.coin]);
                }
                Event::Disconnected { peer, .. } => drop(self.players.remove(&peer)),
                Event::Message { peer, channel: STATE, bytes } if bytes.len() == 1 => {
                    self.moved(peer, bytes[0]);
                }
                _ => {}
            }
        }
        // All of it, sixty times a second: nobody waits for one that was lost.
        let state: Vec<u8> = self.players.values().flat_map(|(at, coins)| [*at, *coins]).collect();
        self.tell(&self.everybody(), STATE, state);
        Ok(())
    }

    fn moved(&mut self, peer: PeerId, at: u8) {
        let Some(player) = self.players.get_mut(&peer) else { return };
        player.0 = at;
        if at == self.coin && self.coins < COINS {
            player.1 += 1;
            self.coins += 1;
            self.coin = self.coin.wrapping_mul(37).wrapping_add(11);
            self.tell(&self.everybody(), EVENTS, vec![self.coins, self.coin]);
        }
    }

    fn everybody(&self) -> Vec<PeerId> {
        self.players.keys().copied().collect()
    }

    fn tell(&mut self, peers: &[PeerId], channel: u8, what: Vec<u8>) {
        for peer in peers {
            match self.reactor.send(*peer, channel, what.clone()) {
                // Too slow to play.
                Err(SendError::Full(_)) if channel == EVENTS => drop(self.reactor.disconnect(*peer)),
                _ => {}
            }
        }
    }
}

/// A player, who walks to where the next coin lies.
struct Player {
    reactor: Reactor<Bad>,
    peer: PeerId,
    at: u8,
    coin: Option<u8>,
    coins: u8,
    states: u32,
}

impl Player {
    fn new(world: SocketAddr) -> Result<Self, Box<dyn Error>> {
        let any = if world.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
        let mut reactor = bind(any.parse()?)?;
        let peer = reactor.connect(world, &channels())?;
        Ok(Self { reactor, peer, at: 0, coin: None, coins: 0, states: 0 })
    }

    /// Returns whether the game goes on.
    fn frame(&mut self, name: &str) -> Result<bool, Box<dyn Error>> {
        self.reactor.tick()?;
        for event in self.reactor.events() {
            match event {
                Event::Message { channel: EVENTS, bytes, .. } if bytes.len() == 2 => {
                    println!("{name}: {} coins are found, the next one lies at {}", bytes[0], bytes[1]);
                    (self.coins, self.coin) = (bytes[0], Some(bytes[1]));
                }
                Event::Message { channel: STATE, .. } => self.states += 1,
                Event::Disconnected { reason, .. } => return Err(reason.into()),
                _ => {}
            }
        }
        if let Some(coin) = self.coin {
            self.at = self.at.saturating_add((coin.saturating_sub(self.at)).min(8));
            self.at -= self.at.saturating_sub(coin).min(8);
            self.reactor.send(self.peer, STATE, vec![self.at])?;
        }
        Ok(self.coins < COINS)
    }
}

fn rest(frame: Instant) {
    std::thread::sleep(FRAME.saturating_sub(frame.elapsed()));
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let world = |addr: &str| -> Result<World, Box<dyn Error>> {
        let mut reactor = bind(addr.parse()?)?;
        reactor.listen(&channels())?;
        Ok(World { reactor, players: BTreeMap::new(), coin: 200, coins: 0 })
    };
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {
            let mut world = world("127.0.0.1:0")?;
            let at = world.reactor.local_addr();
            let mut players = [Player::new(at)?, Player::new(at)?];
            let mut goes_on = [true; 2];
            while goes_on.contains(&true) {
                let frame = Instant::now();
                world.frame()?;
                for (at, player) in players.iter_mut().enumerate() {
                    goes_on[at] = player.frame(["red", "blue"][at])?;
                }
                rest(frame);
            }
            println!("red saw {} states, and every event", players[0].states);
            Ok(())
        }
        ["server", addr] => {
            let mut world = world(addr)?;
            println!("the world is at {}", world.reactor.local_addr());
            loop {
                let frame = Instant::now();
                world.frame()?;
                rest(frame);
            }
        }
        ["client", addr] => {
            let mut player = Player::new(addr.parse()?)?;
            loop {
                let frame = Instant::now();
                if !player.frame("you")? {
                    return Ok(());
                }
                rest(frame);
            }
        }
        _ => Err("usage: game [server ADDR | client ADDR]".into()),
    }
}
