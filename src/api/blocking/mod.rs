//! Sockets, listeners and streams with the manners of [`std::net`]: every call waits, on a thread, and no runtime of
//! yours is needed.
//!
//! ```
//! use std::io::{Read, Write};
//! use std::net::Shutdown;
//! use std::thread;
//!
//! use ebbtide::blocking::{UtpListener, UtpStream};
//!
//! # fn main() -> std::io::Result<()> {
//! let listener = UtpListener::bind("127.0.0.1:0")?;
//! let addr = listener.local_addr()?;
//! let server = thread::spawn(move || {
//!     let (mut stream, _peer) = listener.accept()?;
//!     let mut words = String::new();
//!     stream.read_to_string(&mut words)?; // until the peer's end
//!     stream.write_all(words.to_uppercase().as_bytes())?;
//!     stream.close() // our end; everything is acknowledged
//! });
//!
//! let mut stream = UtpStream::connect(addr)?;
//! stream.write_all(b"the tide ebbs")?;
//! stream.shutdown(Shutdown::Write)?; // reading goes on
//! let mut answer = String::new();
//! stream.read_to_string(&mut answer)?;
//! assert_eq!(answer, "THE TIDE EBBS");
//! server.join().expect("the server does not panic")?;
//! # Ok(()) }
//! ```
//!
//! Each socket has one thread, which moves its datagrams, however many streams it carries. Reading and writing
//! happen on the thread that calls: there is no switch to another one unless there is something to wait for. The thread
//! ends when the last stream, listener and handle of its socket has been dropped and what was written is delivered,
//! after [`Config::linger`](crate::Config::linger) at the latest.
//!
//! What is different from TCP:
//!
//! - A connection is answered when it is accepted, not before: one thread cannot `connect` to itself and then `accept`.
//! - The protocol lives in this process. A program that ends right after dropping a stream takes with it what was not
//!   delivered yet: [`UtpStream::close`] and [`UtpSocket::close`] wait for that.
//!
//! # Waiting, and not waiting
//!
//! [`WouldBlock`](std::io::ErrorKind::WouldBlock) says that nothing could be done now, or within the time-out that was
//! set, and that the connection lives. [`TimedOut`](std::io::ErrorKind::TimedOut) says that the peer did not answer: there
//! is no connection (any more). Everything else is as for the faces with tasks, and a stream of theirs becomes one of
//! these with `From`, where it was made by [punching](crate::UtpSocket::punch) for instance.
//!
//! A call that waits inside a task of some runtime holds up that runtime's thread, as one of `std::net` does. It does
//! not panic there.

mod listener;
mod message;
mod socket;
mod stream;
mod wait;

pub use self::listener::{Incoming, UtpListener};
pub use self::message::MessageConnection;
pub use self::socket::UtpSocket;
pub use self::stream::UtpStream;
