//! A client without a runtime: `std::io` over uTP, one thread that writes and one that reads.
//!
//!     cargo run --release --example blocking_client -- 127.0.0.1:4000 < poem
//!
//! sends its input to a `blocking_server`, and prints what comes back. Without an address it starts a server of its own
//! in another thread, and says a few words to it:
//!
//!     cargo run --release --example blocking_client
//!     Ebbe und Flut
//!     潮の満ち引き

use std::error::Error;
use std::io::{self, Cursor, Read};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use ebbtide::blocking::{UtpListener, UtpStream};

/// A server that says nothing for so long is given up.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1) {
        Some(addr) => talk(UtpStream::connect(addr)?, io::stdin()),
        None => {
            let listener = UtpListener::bind("127.0.0.1:0")?;
            let addr = listener.local_addr()?;
            let server = thread::spawn(move || {
                let (stream, _) = listener.accept()?;
                io::copy(&mut &stream, &mut &stream)?;
                stream.close()
            });
            talk(UtpStream::connect(addr)?, Cursor::new("Ebbe und Flut\n潮の満ち引き\n"))?;
            server.join().expect("the server does not panic")?;
            Ok(())
        }
    }
}

/// Sends all of `input`, and prints what comes until the server's end, both at once: if nobody reads what comes back, the
/// server stops reading what is sent.
fn talk(mut stream: UtpStream, mut input: impl Read + Send + 'static) -> Result<(), Box<dyn Error>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut writing = stream.try_clone()?;
    let sending = thread::spawn(move || {
        io::copy(&mut input, &mut writing)?;
        writing.shutdown(Shutdown::Write)
    });
    io::copy(&mut stream, &mut io::stdout())?;
    sending.join().expect("sending does not panic")?;
    // A program that ends takes with it what was not acknowledged yet.
    stream.close()?;
    Ok(())
}
