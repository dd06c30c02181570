//! Running the program with a time limit, feeding it and collecting what it says.
//!
//! Knows processes, not commands.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Far more than any of these takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// How a program ended, and what it had to say.
pub(crate) struct Outcome {
    /// `None` after a signal.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Outcome {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.stdout.clone()).unwrap()
    }
}

/// Runs the program to its end.
pub(crate) fn run(arguments: &[&str], stdin: &[u8]) -> Outcome {
    let mut program = Program::start(arguments);
    program.feed(stdin.to_vec());
    program.finish()
}

/// A running program. Killed when dropped.
pub(crate) struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: JoinHandle<String>,
    lines: mpsc::Receiver<String>,
    feeding: Option<JoinHandle<Option<ChildStdin>>>,
    collecting: Option<JoinHandle<Vec<u8>>>,
}

impl Program {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ebbtide"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let (sender, lines) = mpsc::channel();
        let stderr = thread::spawn(move || {
            let (mut all, mut byte, mut start) = (Vec::new(), [0], 0);
            while stderr.read(&mut byte).is_ok_and(|len| len > 0) {
                all.push(byte[0]);
                if byte[0] == b'\n' {
                    // Nobody may be waiting for a line.
                    drop(sender.send(String::from_utf8_lossy(&all[start..]).trim().to_owned()));
                    start = all.len();
                }
            }
            String::from_utf8(all).unwrap()
        });
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        Self { child, stdin, stdout, stderr, lines, feeding: None, collecting: None }
    }

    /// The address that the program prints on stderr when it listens.
    pub(crate) fn address(&self) -> String {
        let line = self.lines.recv_timeout(LIMIT).expect("a line on stderr");
        line.strip_prefix("ebbtide: listening on ").expect("an address").to_owned()
    }

    /// Writes to stdin on a thread, and closes it. From now on stdout is collected.
    pub(crate) fn feed(&mut self, content: Vec<u8>) {
        self.feed_then(content, false);
    }

    /// Writes to stdin on a thread, and leaves it open until [`finish`](Self::finish) has the result.
    pub(crate) fn feed_and_stay(&mut self, content: Vec<u8>) {
        self.feed_then(content, true);
    }

    fn feed_then(&mut self, content: Vec<u8>, stay: bool) {
        self.collect();
        let mut stdin = self.stdin.take().unwrap();
        self.feeding = Some(thread::spawn(move || {
            // The program may end without reading everything.
            drop(stdin.write_all(&content));
            stay.then_some(stdin)
        }));
    }

    /// Writes a line to stdin, which stays open.
    pub(crate) fn say(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(format!("{line}\n").as_bytes()).and_then(|()| stdin.flush()).unwrap();
    }

    /// The next line of stdout.
    pub(crate) fn line(&mut self) -> String {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            line.extend(self.read_some(1));
        }
        String::from_utf8(line).unwrap()
    }

    /// The next bytes of stdout.
    pub(crate) fn read_some(&mut self, len: usize) -> Vec<u8> {
        let mut content = vec![0; len];
        self.stdout.as_mut().unwrap().read_exact(&mut content).unwrap();
        content
    }

    pub(crate) fn close_stdout(&mut self) {
        self.stdout = None;
    }

    /// Reads the rest of stdout on a thread, so that the program is not held up.
    fn collect(&mut self) {
        let Some(mut stdout) = self.stdout.take() else { return };
        self.collecting = Some(thread::spawn(move || {
            let mut content = Vec::new();
            stdout.read_to_end(&mut content).map(|_| content).unwrap()
        }));
    }

    /// Waits for the end, and kills the program if that does not come.
    pub(crate) fn finish(mut self) -> Outcome {
        self.collect();
        let deadline = Instant::now() + LIMIT;
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() > deadline => panic!("the program does not end"),
                None => thread::sleep(Duration::from_millis(5)),
            }
        };
        if let Some(feeding) = self.feeding.take() {
            drop(feeding.join().unwrap());
        }
        let stdout = self.collecting.take().map(|reading| reading.join().unwrap()).unwrap_or_default();
        let stderr = std::mem::replace(&mut self.stderr, thread::spawn(String::new)).join().unwrap();
        Outcome { code: status.code(), stdout, stderr }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Bytes that nothing makes equal by chance.
pub(crate) fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}
