//! What the interoperability tests show at the end: one line per transfer.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

/// One transfer.
pub struct Row {
    pub peer: &'static str,
    /// Who called whom, and what the peer did.
    pub role: String,
    pub link: &'static str,
    pub close: &'static str,
    /// Bytes in both directions together.
    pub bytes: u64,
    pub elapsed: Duration,
    /// Packets that we sent again.
    pub resent: u64,
    pub result: Result<(), String>,
}

/// Prints the table past the capture of the test harness, and fails if a transfer failed.
pub fn conclude(rows: &[Row]) {
    let mut text = format!(
        "\n{:<11} {:<23} {:<6} {:<11} {:>5} {:>7} {:>7} {:>7}  result\n",
        "peer", "role", "link", "closes", "MiB", "s", "MiB/s", "resent"
    );
    for row in rows {
        let (mib, seconds) = (row.bytes as f64 / f64::from(1 << 20), row.elapsed.as_secs_f64());
        let result = row.result.as_ref().map_or_else(String::as_str, |()| "ok");
        writeln!(
            text,
            "{:<11} {:<23} {:<6} {:<11} {mib:>5.0} {seconds:>7.2} {:>7.1} {:>7}  {result}",
            row.peer,
            row.role,
            row.link,
            row.close,
            mib / seconds,
            row.resent,
        )
        .expect("a string takes everything");
    }
    std::io::stdout().write_all(text.as_bytes()).expect("stdout takes the table");
    assert!(rows.iter().all(|row| row.result.is_ok()), "{text}");
}
