//! Sockets for those that ask for one: with room for what comes, and without waiting.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use socket2::SockRef;

/// As much as ebbtide asks for.
const BUFFER: usize = 4 << 20;

/// A socket on loopback that waits for nothing.
pub fn bind() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let options = SockRef::from(&socket);
    options.set_recv_buffer_size(BUFFER).expect("an option that sockets have");
    options.set_send_buffer_size(BUFFER).expect("an option that sockets have");
    socket.set_nonblocking(true).expect("an option that sockets have");
    socket
}

/// So long after the last message nothing more will come.
pub const SILENCE: Duration = Duration::from_millis(500);

/// When something happened last.
pub struct Silence(Instant);

impl Silence {
    pub fn begin() -> Self {
        Self(Instant::now())
    }

    pub fn broken(&mut self) {
        self.0 = Instant::now();
    }

    pub fn is_long(&self) -> bool {
        self.0.elapsed() > SILENCE
    }
}
