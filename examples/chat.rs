//! A chat room in a loop that ticks, and reads the keyboard without ever waiting for it.
//!
//!     cargo run --example chat --features reactor                              # a room and two guests who talk by themselves
//!     cargo run --example chat --features reactor -- server 127.0.0.1:1999
//!     cargo run --example chat --features reactor -- client 127.0.0.1:1999 Ada
//!
//! Whoever waits for a line between two ticks acknowledges nothing meanwhile, and the others think that the connection
//! is dead or slow. So lines come from a thread of their own, through a channel that the loop looks into.

use std::error::Error;
use std::io::BufRead;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::Duration;

use ebbtide::message::{ChannelConfig, MessageConfig, Mode};
use ebbtide::reactor::{Event, PeerId, Reactor, SendError};

const FRAME: Duration = Duration::from_millis(10);
const LINES: u8 = 0;

fn channels() -> MessageConfig {
    MessageConfig::new([ChannelConfig::new(Mode::ReliableOrdered)]).max_message(4096)
}

/// One frame of the room: what one says, all others hear.
fn host(room: &mut Reactor) -> Result<(), Box<dyn Error>> {
    room.tick()?;
    while let Some(event) = room.next_event() {
        match event {
            Event::Connected { peer, addr } => tell_others(room, peer, &format!("({addr} has come)")),
            Event::Message { peer, bytes, .. } => {
                tell_others(room, peer, &String::from_utf8_lossy(&bytes));
            }
            Event::Disconnected { peer, reason } => tell_others(room, peer, &format!("(gone: {reason})")),
            _ => {}
        }
    }
    Ok(())
}

fn tell_others(room: &mut Reactor, from: PeerId, line: &str) {
    let others: Vec<PeerId> = room.peers().filter(|peer| *peer != from).collect();
    for peer in others {
        if let Err(SendError::Full(_)) = room.send(peer, LINES, line.to_owned()) {
            println!("(somebody does not listen, and misses a line)");
        }
    }
}

/// Someone in the room.
struct Guest {
    name: String,
    reactor: Reactor,
    peer: PeerId,
    lines: Receiver<String>,
    leaving: bool,
}

impl Guest {
    fn new(name: &str, room: &str, lines: Receiver<String>) -> Result<Self, Box<dyn Error>> {
        let any = if room.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
        let mut reactor = Reactor::bind(any.parse()?)?;
        let peer = reactor.connect(room.parse()?, &channels())?;
        Ok(Self { name: name.to_owned(), reactor, peer, lines, leaving: false })
    }

    /// One frame. Returns what was heard; `None` once the guest has left and everything was said.
    fn frame(&mut self) -> Result<Option<Vec<String>>, Box<dyn Error>> {
        match self.lines.try_recv() {
            Ok(line) => drop(self.reactor.send(self.peer, LINES, format!("{}: {line}", self.name))?),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => {
                self.leaving = true;
                self.reactor.close();
            }
        }
        self.reactor.tick()?;
        let mut heard = Vec::new();
        for event in self.reactor.events() {
            match event {
                Event::Message { bytes, .. } => heard.push(String::from_utf8_lossy(&bytes).into_owned()),
                Event::Disconnected { reason, .. } if !self.leaving => return Err(reason.into()),
                _ => {}
            }
        }
        Ok((!self.reactor.is_closed()).then_some(heard))
    }
}

/// The lines of the keyboard, until its end.
fn keyboard() -> Receiver<String> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        let typed = std::io::stdin().lock().lines().map_while(Result::ok);
        typed.take_while(|line| sender.send(line.clone()).is_ok()).for_each(drop);
    });
    lines
}

/// A room with two guests, until each has heard the other.
fn demonstrate() -> Result<(), Box<dyn Error>> {
    let mut room = Reactor::bind("127.0.0.1:0".parse()?)?;
    room.listen(&channels())?;
    let at = room.local_addr().to_string();
    let (to_ada, ada) = channel();
    let (to_grace, grace) = channel();
    let mut guests = [Guest::new("Ada", &at, ada)?, Guest::new("Grace", &at, grace)?];
    while room.peers().count() < 2 {
        host(&mut room)?;
        guests.iter_mut().try_for_each(|guest| guest.frame().map(drop))?;
        thread::sleep(FRAME);
    }
    to_ada.send("is anybody here?".to_owned())?;
    to_grace.send("I am".to_owned())?;
    let mut heard = [false; 2];
    while !heard.iter().all(|heard| *heard) {
        host(&mut room)?;
        for (guest, heard) in guests.iter_mut().zip(&mut heard) {
            for line in guest.frame()?.unwrap_or_default() {
                println!("{} hears {line}", guest.name);
                *heard |= line.starts_with("Ada: ") || line.starts_with("Grace: ");
            }
        }
        thread::sleep(FRAME);
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => demonstrate(),
        ["server", addr] => {
            let mut room = Reactor::bind(addr.parse()?)?;
            room.listen(&channels())?;
            println!("the room is at {}", room.local_addr());
            loop {
                host(&mut room)?;
                thread::sleep(FRAME);
            }
        }
        ["client", addr, name] => {
            let mut guest = Guest::new(name, addr, keyboard())?;
            while let Some(heard) = guest.frame()? {
                heard.iter().for_each(|line| println!("{line}"));
                thread::sleep(FRAME);
            }
            Ok(())
        }
        _ => Err("usage: chat [server ADDR | client ADDR NAME]".into()),
    }
}
