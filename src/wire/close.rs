//! Names for libtorrent's close reasons.
//!
//! The codes speak about BitTorrent, so nothing here acts on them; they are worth reading in a log.

use std::fmt;

/// Why a libtorrent peer closed, as [`Extensions::close_reason`](super::Extensions::close_reason) found it.
///
/// Shows as number and name, or as the number alone if libtorrent has not given it a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct CloseCode(u16);

impl CloseCode {
    /// The reason with this code.
    #[must_use]
    pub const fn new(code: u16) -> Self {
        Self(code)
    }

    /// The code on the wire.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// What the code means; nothing for a code that libtorrent does not use.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        let code = usize::from(self.0);
        let name = match code.checked_sub(usize::from(BLAME)) {
            Some(above) => THEIR_FAULT.get(above),
            None => NO_FAULT.get(code),
        };
        name.copied()
    }

    /// Whether the peer says that we sent something wrong.
    #[must_use]
    pub const fn blames_us(self) -> bool {
        self.0 >= BLAME
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{} ({name})", self.0),
            None => write!(f, "{}", self.0),
        }
    }
}

/// Codes from here on complain about what the other side sent.
const BLAME: u16 = 256;

/// Codes from 0 on.
const NO_FAULT: &[&str] = &[
    "no reason given",
    "duplicate peer id",
    "torrent removed",
    "out of memory",
    "port blocked",
    "address blocked",
    "both sides only upload",
    "nothing of interest",
    "timed out",
    "no interest for too long",
    "silent for too long",
    "handshake timed out",
    "no request for too long",
    "protocol blocked",
    "making room for other peers",
    "too many connections",
    "too many open files",
];

/// Codes from 256 on.
const THEIR_FAULT: &[&str] = &[
    "encryption failed",
    "wrong info hash",
    "connected to itself",
    "invalid metadata",
    "metadata too big",
    "message too big",
    "unknown message",
    "invalid message",
    "invalid piece message",
    "invalid have message",
    "invalid bitfield message",
    "invalid choke message",
    "invalid unchoke message",
    "invalid interested message",
    "invalid not-interested message",
    "invalid request message",
    "invalid reject message",
    "invalid allowed-fast message",
    "invalid extended message",
    "invalid cancel message",
    "invalid DHT port message",
    "invalid suggest message",
    "invalid have-all message",
    "invalid dont-have message",
    "invalid have-none message",
    "invalid peer exchange message",
    "invalid metadata request",
    "invalid metadata message",
    "invalid metadata offset",
    "request while choked",
    "corrupt pieces",
    "peer exchange message too big",
    "peer exchange too frequent",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a02_close_codes_show_number_and_name() {
        assert_eq!(CloseCode::new(0).to_string(), "0 (no reason given)");
        assert_eq!(CloseCode::new(16).to_string(), "16 (too many open files)");
        assert_eq!(CloseCode::new(256).to_string(), "256 (encryption failed)");
        assert_eq!(CloseCode::new(288).to_string(), "288 (peer exchange too frequent)");
    }

    #[test]
    fn a02_unknown_close_codes_show_the_number_alone() {
        for code in [17, 255, 289, u16::MAX] {
            assert_eq!(CloseCode::new(code).to_string(), code.to_string());
            assert_eq!(CloseCode::new(code).get(), code);
        }
    }

    #[test]
    fn a02_close_codes_from_256_on_blame_the_other_side() {
        assert!(!CloseCode::new(255).blames_us());
        assert!(CloseCode::new(256).blames_us());
        assert!(CloseCode::new(u16::MAX).blames_us());
    }
}
