//! Running things in a topology.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Deserialize;

/// What one end of a meeting said.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Outcome {
    pub(crate) connected: bool,
    pub(crate) connect_ms: f64,
    pub(crate) path: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) transfer: Option<Trial>,
}

/// What became of the bytes that one end sent, and of those that came.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Trial {
    pub(crate) sent_bytes: u64,
    pub(crate) received_bytes: u64,
    pub(crate) received_secs: f64,
    pub(crate) longest_pause_secs: f64,
    pub(crate) migrations: u64,
    pub(crate) intact: bool,
}

fn script(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/nat_lab").join(name)
}

/// Only one test at a time: they measure times.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether namespaces and NATs can be made here. If not, says why, or fails where that is demanded.
pub(crate) fn is_possible() -> bool {
    if std::env::var_os("EBBTIDE_LAB").is_some_and(|value| value == "0") {
        eprintln!("skipped: EBBTIDE_LAB=0");
        return false;
    }
    let probe = "nft add table ip probe && conntrack -C >/dev/null && ip link show lo >/dev/null";
    let made = Command::new("unshare")
        .args(["--net", "--mount", "sh", "-c", probe])
        .stdin(Stdio::null())
        .output()
        .is_ok_and(|output| output.status.success());
    if !made {
        let message = "no laboratory: it takes root, unshare, iproute2, nftables and conntrack";
        assert!(std::env::var_os("EBBTIDE_REQUIRE_LAB").is_none_or(|value| value != "1"), "{message}");
        eprintln!("skipped: {message}");
    }
    made
}

/// How often each pair meets.
pub(crate) fn rounds() -> usize {
    std::env::var("EBBTIDE_LAB_ROUNDS").map_or(1, |rounds| rounds.parse().unwrap())
}

/// Builds a topology, runs a script of ours in it, and returns what it printed.
pub(crate) fn run(kinds: [&str; 2], name: &str, args: &[&str], environment: &[(&str, &str)]) -> String {
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount"]).arg(script("topology.sh")).args(kinds);
    command.arg(script(name)).arg(env!("CARGO_BIN_EXE_ebbtide")).args(args);
    let output = command.envs(environment.iter().copied()).stdin(Stdio::null()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{kinds:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Lets two hosts meet so many times. Returns both ends of each meeting.
pub(crate) fn meet(
    kinds: [&str; 2],
    rounds: usize,
    args: &[&str],
    environment: &[(&str, &str)],
) -> Vec<[Outcome; 2]> {
    let count = rounds.to_string();
    let printed = run(kinds, "meet.sh", &[&[&count[..]], args].concat(), environment);
    let mut ends: [Vec<Outcome>; 2] = Default::default();
    for line in printed.lines() {
        let mut words = line.splitn(3, ' ');
        let (host, _status, said) =
            (words.next().unwrap(), words.next().unwrap(), words.next().unwrap_or(""));
        let unclear = || Outcome { error: Some(said.to_owned()), ..Outcome::default() };
        ends[usize::from(host == "B")].push(serde_json::from_str(said).unwrap_or_else(|_| unclear()));
    }
    let [a, b] = ends;
    assert_eq!((a.len(), b.len()), (rounds, rounds), "{kinds:?}: {printed}");
    a.into_iter().zip(b).map(|(a, b)| [a, b]).collect()
}
