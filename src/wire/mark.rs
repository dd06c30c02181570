//! The mark by which two endpoints of this crate know each other.
//!
//! It travels as the eight "extension bits" that BEP 29 once had: every known implementation skips those, also as the
//! first extension, which is where libutp looks at nothing else. Whoever echoes the tag has read it.
//!
//! ```text
//!   0       1       2       3       4       5       6       7
//!   ├───────┼───────┼───┬───┼───────┼───────┴───────┴───────┴──────┤
//!   │ 0x55  │ 0x78  │ 1 │ - │ flags │ tag, chosen in the SYN        │
//!   └───────┴───────┴───┴───┴───────┴───────────────────────────────┘
//! ```
//!
//! Only SYN, its answer, RESET, FIN and control packets carry it; data never does. This file knows the eight bytes and not
//! what follows from them.

use std::fmt;
use std::ops::BitOr;

/// What an old uTorrent's feature bits do not begin with.
const MAGIC: [u8; 2] = [0x55, 0x78];

/// The only version so far, in the high half of its byte.
const VERSION: u8 = 1;

/// A random number that names a stream to both its ends, in addition to ids and addresses: chosen by whoever sends the
/// SYN, and repeated in everything that carries a [`Mark`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Tag(u32);

impl Tag {
    /// The tag with this value. Packets outside any stream carry 0.
    #[must_use]
    pub const fn new(tag: u32) -> Self {
        Self(tag)
    }

    /// The value on the wire.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// What the sender of a [`Mark`] says about itself and the packet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct MarkFlags(u8);

impl MarkFlags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// The sender accepted the stream; without it, it sent the SYN.
    pub const ACCEPTOR: Self = Self(0x01);
    /// A SYN that may cross another one, and the two are to become one stream.
    pub const SIMULTANEOUS: Self = Self(0x02);
    /// The receiver is asked to tell from which address this came.
    pub const OBSERVE: Self = Self(0x04);
    /// The sender may come from another address later.
    pub const MIGRATES: Self = Self(0x08);
    /// An [own block](super::Own) follows in the chain.
    pub const MORE: Self = Self(0x10);
    /// A question whether the peer is there, or the answer to one; not a repeated acknowledgement.
    pub const PING: Self = Self(0x20);
    /// The initiator has chosen this path.
    pub const NOMINATE: Self = Self(0x40);

    /// The flags with these bits, unknown ones included.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// The bits on the wire.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether all of `flags` are set.
    #[must_use]
    pub const fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// These and those.
    #[must_use]
    pub const fn with(self, flags: Self) -> Self {
        Self(self.0 | flags.0)
    }
}

impl BitOr for MarkFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.with(other)
    }
}

impl fmt::Debug for MarkFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 8] =
            ["acceptor", "simultaneous", "observe", "migrates", "more", "ping", "nominate", "0x80"];
        let set = (0..8).filter(|bit| self.0 & (1 << bit) != 0);
        f.debug_set().entries(set.map(|bit| bare(NAMES[bit]))).finish()
    }
}

/// A name without the quotes that a string would be shown with.
const fn bare(name: &'static str) -> impl fmt::Debug {
    struct Bare(&'static str);
    impl fmt::Debug for Bare {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }
    Bare(name)
}

/// The mark of this crate's endpoints, in the eight bytes of [extension bits](super::Extension::BITS).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Mark {
    /// What its sender says.
    pub flags: MarkFlags,
    /// Which stream it is about.
    pub tag: Tag,
}

impl Mark {
    /// Reads the feature bits of a packet: `None` if they are not ours, or of a version that we do not know. Such a
    /// peer is taken for one that knows nothing of all this.
    #[must_use]
    pub const fn decode(bits: [u8; 8]) -> Option<Self> {
        let [magic0, magic1, version, flags, t0, t1, t2, t3] = bits;
        if magic0 != MAGIC[0] || magic1 != MAGIC[1] || version >> 4 != VERSION {
            return None;
        }
        Some(Self { flags: MarkFlags(flags), tag: Tag(u32::from_be_bytes([t0, t1, t2, t3])) })
    }

    /// The eight bytes.
    #[must_use]
    pub const fn encode(self) -> [u8; 8] {
        let [t0, t1, t2, t3] = self.tag.0.to_be_bytes();
        [MAGIC[0], MAGIC[1], VERSION << 4, self.flags.0, t0, t1, t2, t3]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n20_a_mark_is_eight_bytes_of_magic_version_flags_and_tag() {
        let mark = Mark { flags: MarkFlags::ACCEPTOR | MarkFlags::MORE, tag: Tag::new(0xDEAD_BEEF) };
        let bits = [0x55, 0x78, 0x10, 0x11, 0xDE, 0xAD, 0xBE, 0xEF];
        assert_eq!(mark.encode(), bits);
        assert_eq!(Mark::decode(bits), Some(mark));
        assert!(mark.flags.contains(MarkFlags::MORE) && !mark.flags.contains(MarkFlags::PING));
    }

    #[test]
    fn n20_bits_of_others_and_of_other_versions_are_no_mark() {
        let good = Mark::default().encode();
        for (at, by) in [(0, 1), (1, 1), (2, 0x10), (2, 0x80)] {
            let mut bits = good;
            bits[at] ^= by;
            assert_eq!(Mark::decode(bits), None, "byte {at}");
        }
        assert_eq!(Mark::decode([0; 8]), None, "what libutp sends");
        assert_eq!(Mark::decode([0xFF; 8]), None);
    }

    #[test]
    fn n20_what_is_reserved_is_ignored_and_kept() {
        let mut bits = Mark::default().encode();
        bits[2] |= 0x0F;
        bits[3] = 0x80;
        assert_eq!(Mark::decode(bits).map(|mark| mark.flags.bits()), Some(0x80));
    }

    #[test]
    fn flags_show_their_names() {
        let flags = MarkFlags::PING | MarkFlags::ACCEPTOR;
        assert_eq!(format!("{flags:?}"), "{acceptor, ping}");
    }
}
