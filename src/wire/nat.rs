//! What a peer tells about the NAT in front of it.
//!
//! ```text
//!   ├──────────┬──────────┬─────────┬───────────┤  if the mapping depends on the endpoint:
//!   │ reserved │ blocked  │ filter  │ mapping   │  │ step, signed, 2 │ block, 2 │
//!   ├───2──────┴────1─────┴───2─────┴────3──────┤
//! ```
//!
//! How it is found out, and what follows from it, is not known here.

use std::fmt;

/// How a NAT chooses the port by which the world sees one of our sockets (RFC 4787 §4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mapping {
    /// Nobody has looked.
    #[default]
    Unknown,
    /// Nothing translates: the world sees the address that we have.
    None,
    /// One port for all, whomever we talk to. The easy kind.
    EndpointIndependent,
    /// Another port for each address that we talk to ("symmetric"). The hard kind.
    EndpointDependent {
        /// From one new port to the next, if that is always the same small number; 0 if there is no pattern.
        step: i16,
        /// All ports lie within so many; 0 if that is not known.
        block: u16,
    },
}

impl Mapping {
    /// Whether the next port cannot be known beforehand.
    #[must_use]
    pub const fn is_hard(self) -> bool {
        matches!(self, Self::EndpointDependent { .. })
    }
}

/// In words, for a person.
impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unknown => "an unknown kind of NAT",
            Self::None => "no NAT",
            Self::EndpointIndependent => "a NAT that keeps one port for all",
            Self::EndpointDependent { .. } => "a symmetric NAT",
        })
    }
}

/// From whom a NAT or firewall lets datagrams in (RFC 4787 §5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Filtering {
    /// Nobody has looked; which is no harm, since nothing depends on it.
    #[default]
    Unknown,
    /// From anybody.
    EndpointIndependent,
    /// From addresses to which we have sent.
    AddressDependent,
    /// From addresses and ports to which we have sent.
    AddressAndPortDependent,
}

impl Filtering {
    const ALL: [Self; 4] =
        [Self::Unknown, Self::EndpointIndependent, Self::AddressDependent, Self::AddressAndPortDependent];

    const fn value(self) -> u8 {
        match self {
            Self::Unknown => 0,
            Self::EndpointIndependent => 1,
            Self::AddressDependent => 2,
            Self::AddressAndPortDependent => 3,
        }
    }
}

/// In words, for a person.
impl fmt::Display for Filtering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unknown => "unknown",
            Self::EndpointIndependent => "lets anybody in",
            Self::AddressDependent => "lets in whose address we have sent to",
            Self::AddressAndPortDependent => "lets in whose address and port we have sent to",
        })
    }
}

/// What a peer tells about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NatClass {
    /// How its ports are chosen.
    pub mapping: Mapping,
    /// Who is let in.
    pub filtering: Filtering,
    /// It has asked for its address and heard no answer by UDP at all.
    pub blocked: bool,
}

const BLOCKED: u8 = 0x20;

impl NatClass {
    /// A class of which only the mapping is known.
    #[must_use]
    pub const fn new(mapping: Mapping) -> Self {
        Self { mapping, filtering: Filtering::Unknown, blocked: false }
    }

    /// How many bytes [`encode`](Self::encode) appends.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        if self.mapping.is_hard() { 5 } else { 1 }
    }

    /// Appends it to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mapping = match self.mapping {
            Mapping::Unknown => 0,
            Mapping::None => 1,
            Mapping::EndpointIndependent => 2,
            Mapping::EndpointDependent { .. } => 3,
        };
        let blocked = if self.blocked { BLOCKED } else { 0 };
        out.push(mapping | self.filtering.value() << 3 | blocked);
        if let Mapping::EndpointDependent { step, block } = self.mapping {
            out.extend_from_slice(&step.to_be_bytes());
            out.extend_from_slice(&block.to_be_bytes());
        }
    }

    /// Reads one from the front of `bytes`, and returns it with what follows. A kind of mapping that did not exist
    /// when this was written is an unknown one.
    ///
    /// # Errors
    /// It is not all there.
    pub fn decode(bytes: &[u8]) -> Result<(Self, &[u8]), NatClassError> {
        let (&first, rest) = bytes.split_first().ok_or(NatClassError)?;
        let (mapping, rest) = match first & 0x07 {
            1 => (Mapping::None, rest),
            2 => (Mapping::EndpointIndependent, rest),
            3 => {
                let (&[a, b, c, d], rest) = rest.split_first_chunk().ok_or(NatClassError)?;
                let (step, block) = (i16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
                (Mapping::EndpointDependent { step, block }, rest)
            }
            _ => (Mapping::Unknown, rest),
        };
        let filtering = Filtering::ALL[usize::from(first >> 3 & 0x03)];
        Ok((Self { mapping, filtering, blocked: first & BLOCKED != 0 }, rest))
    }
}

/// A class that ends in the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NatClassError;

impl fmt::Display for NatClassError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a kind of NAT that ends in the middle")
    }
}

impl std::error::Error for NatClassError {}

#[cfg(test)]
pub(super) mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use proptest::prelude::*;

    use super::*;

    pub(in crate::wire) fn any_class() -> impl Strategy<Value = NatClass> {
        let hard =
            (any::<i16>(), any::<u16>()).prop_map(|(step, block)| Mapping::EndpointDependent { step, block });
        let easy = prop::sample::select(vec![Mapping::Unknown, Mapping::None, Mapping::EndpointIndependent]);
        let filtering = prop::sample::select(Filtering::ALL.to_vec());
        (prop_oneof![easy, hard], filtering, any::<bool>())
            .prop_map(|(mapping, filtering, blocked)| NatClass { mapping, filtering, blocked })
    }

    #[test]
    fn an_easy_class_is_one_byte_and_a_hard_one_tells_the_pattern_too() {
        let mut out = Vec::new();
        NatClass::new(Mapping::EndpointIndependent).encode(&mut out);
        NatClass::new(Mapping::EndpointDependent { step: -2, block: 1024 }).encode(&mut out);
        assert_eq!(out, [2, 3, 0xFF, 0xFE, 4, 0]);
    }

    #[test]
    fn a_mapping_from_the_future_is_unknown() {
        let (class, rest) = NatClass::decode(&[0xC0 | BLOCKED | 7, 9]).unwrap();
        assert_eq!((class.mapping, class.blocked, rest), (Mapping::Unknown, true, &[9][..]));
    }

    proptest! {
        #[test]
        fn a_class_survives_the_way(class in any_class(), behind: Vec<u8>) {
            let mut out = Vec::new();
            class.encode(&mut out);
            prop_assert_eq!(out.len(), class.encoded_len());
            for len in 0..out.len() {
                prop_assert!(NatClass::decode(&out[..len]).is_err());
            }
            out.extend_from_slice(&behind);
            prop_assert_eq!(NatClass::decode(&out).unwrap(), (class, &behind[..]));
        }
    }
}
