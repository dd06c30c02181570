//! The checksum behind a fingerprint: CRC-32 as in Ethernet and zip.

/// RFC 8489 §14.7: so that the checksum of what is inside is no fingerprint of what is around it.
const MASK: u32 = 0x5354_554E;

/// The remainders of all bytes.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut rest, mut bit) = (byte as u32, 0);
        while bit < 8 {
            rest = if rest & 1 == 1 { rest >> 1 ^ 0xEDB8_8320 } else { rest >> 1 };
            bit += 1;
        }
        table[byte] = rest;
        byte += 1;
    }
    table
};

/// What the fingerprint of a message says that begins with these bytes, up to the fingerprint.
pub(super) fn fingerprint(before: &[u8]) -> [u8; 4] {
    let step = |crc: u32, &byte: &u8| crc >> 8 ^ TABLE[usize::from(crc as u8 ^ byte)];
    (!before.iter().fold(u32::MAX, step) ^ MASK).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_that_everybody_uses() {
        let crc = u32::from_be_bytes(fingerprint(b"123456789")) ^ MASK;
        assert_eq!(crc, 0xCBF4_3926);
    }
}
