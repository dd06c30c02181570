//! The other implementations, as child processes that report in JSON lines.
//!
//! Every child is ended by its handle when its [`Peer`] goes out of scope, whatever happened to the test.

use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::mpsc;

/// One line of a peer.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Event {
    pub event: String,
    pub port: u16,
    pub sent: u64,
    pub received: u64,
    pub sha256: String,
    pub error: String,
}

/// A running peer.
pub struct Peer {
    child: Child,
    events: mpsc::UnboundedReceiver<Event>,
}

impl Peer {
    /// libutp in node.
    pub fn libutp(args: &[&str]) -> io::Result<Self> {
        Self::spawn("node", "libutp.js", args)
    }

    /// utp-punch in node.
    pub fn utp_punch(args: &[&str]) -> io::Result<Self> {
        Self::spawn("node", "utp_punch.js", args)
    }

    /// libtorrent in Python.
    pub fn libtorrent(args: &[&str]) -> io::Result<Self> {
        Self::spawn("python3", "libtorrent_peer.py", args)
    }

    fn spawn(program: &str, script: &str, args: &[&str]) -> io::Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/peers").join(script);
        let mut command = Command::new(program);
        command.arg(script).args(args).env("EBBTIDE_PEERS", folder());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let lines = BufReader::new(child.stdout.take().expect("stdout is a pipe")).lines();
        let (sender, events) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let unclear = |error| Event {
                    event: "failed".into(),
                    error: format!("{error}: {line}"),
                    ..Event::default()
                };
                if sender.send(serde_json::from_str(&line).unwrap_or_else(unclear)).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, events })
    }

    /// The next event of that name; others are passed over.
    pub async fn wait_for(&mut self, event: &str, limit: Duration) -> Result<Event, String> {
        let search = async {
            loop {
                match self.events.recv().await {
                    Some(found) if found.event == event => return Ok(found),
                    Some(found) if found.event == "failed" => {
                        return Err(format!("the peer failed: {}", found.error));
                    }
                    Some(_) => {}
                    None => return Err(format!("the peer ended without {event:?}")),
                }
            }
        };
        tokio::time::timeout(limit, search)
            .await
            .map_err(|_| format!("no {event:?} from the peer in {limit:?}"))?
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself, and then there is nothing to end.
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("peer: {error}");
        }
    }
}

/// Where `tests/interop/peers/install.sh` puts the peers.
fn folder() -> PathBuf {
    std::env::var_os("EBBTIDE_PEERS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers"), PathBuf::from)
}

/// Something from outside that a test needs.
#[derive(Clone, Copy, Debug)]
pub enum Need {
    Libutp,
    UtpPunch,
    Libtorrent,
    Tshark,
}

/// Whether it is there. If not, says so on stderr, or fails where `EBBTIDE_REQUIRE_PEERS=1` asks for that.
pub fn is_installed(need: Need) -> bool {
    let runs = |program: &str, args: &[&str]| {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let (found, how) = match need {
        Need::Libutp => (
            folder().join("node_modules/utp-native").exists() && runs("node", &["--version"]),
            "run tests/interop/peers/install.sh; it needs node",
        ),
        Need::UtpPunch => (
            folder().join("node_modules/utp-punch").exists() && runs("node", &["--version"]),
            "run tests/interop/peers/install.sh; it needs node",
        ),
        Need::Libtorrent => (
            folder().join("python/libtorrent").exists() && runs("python3", &["--version"]),
            "run tests/interop/peers/install.sh; it needs python3",
        ),
        Need::Tshark => (runs("tshark", &["--version"]), "install tshark"),
    };
    if !found {
        let message = format!("{need:?} is not installed ({how})");
        assert!(std::env::var_os("EBBTIDE_REQUIRE_PEERS").is_none_or(|value| value != "1"), "{message}");
        // Past the capture of the test harness: nobody should take a skipped test for a passed one.
        writeln!(io::stderr(), "skipped: {message}").expect("stderr takes a line");
    }
    found
}
