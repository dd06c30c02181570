//! A server without a runtime: one thread for each client, all on one port.
//!
//!     cargo run --release --example blocking_server -- 0.0.0.0:4000
//!     listening on 0.0.0.0:4000
//!
//! Each line that a client sends comes back with its number (`blocking_client` sends some). Without an address it serves
//! one client of its own, and ends:
//!
//!     cargo run --release --example blocking_server
//!     listening on 127.0.0.1:41337
//!     127.0.0.1:55555 said 2 lines
//!     1: the tide
//!     2: goes out

use std::error::Error;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::thread;

use ebbtide::blocking::{UtpListener, UtpStream};

fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1) {
        Some(addr) => {
            let listener = listen(&addr)?;
            for stream in listener.incoming() {
                let stream = stream?;
                thread::spawn(move || report(&stream));
            }
        }
        None => {
            let listener = listen("127.0.0.1:0")?;
            let addr = listener.local_addr()?;
            let client = thread::spawn(move || ask(UtpStream::connect(addr)?));
            report(&listener.accept()?.0);
            print!("{}", client.join().expect("the client does not panic")?);
        }
    }
    Ok(())
}

fn listen(addr: &str) -> io::Result<UtpListener> {
    let listener = UtpListener::bind(addr)?;
    println!("listening on {}", listener.local_addr()?);
    Ok(listener)
}

/// Serves one client, and says how it went.
fn report(stream: &UtpStream) {
    let peer = stream.peer_addr().map_or_else(|_| "somebody".to_owned(), |peer| peer.to_string());
    match serve(stream) {
        Ok(lines) => println!("{peer} said {lines} lines"),
        Err(error) => eprintln!("{peer}: {error}"),
    }
}

/// Every line back with its number, until the client ends its direction. Returns how many there were.
fn serve(stream: &UtpStream) -> io::Result<usize> {
    // A client cannot make us remember a line without end.
    const LINE_MAX: u64 = 64 << 10;
    let (mut reading, mut writing) = (BufReader::new(stream), stream);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        if reading.by_ref().take(LINE_MAX).read_until(b'\n', &mut line)? == 0 {
            stream.close()?;
            return Ok(number - 1);
        }
        let mut answer = format!("{number}: ").into_bytes();
        answer.extend_from_slice(&line);
        writing.write_all(&answer)?;
    }
    Ok(0)
}

/// What the client does that is served without arguments.
fn ask(mut stream: UtpStream) -> io::Result<String> {
    stream.write_all(b"the tide\ngoes out\n")?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
