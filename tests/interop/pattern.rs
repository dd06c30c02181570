//! The bytes that everybody sends: `b[i] = (31 i + 17 (i >> 8) + 7 (i >> 16)) mod 256`.

use sha2::{Digest, Sha256};

/// Bytes `from .. from + out.len()` of the pattern.
pub fn fill(from: u64, out: &mut [u8]) {
    for (i, byte) in (from..).zip(out) {
        *byte = 31_u64.wrapping_mul(i).wrapping_add(17 * (i >> 8)).wrapping_add(7 * (i >> 16)) as u8;
    }
}

/// The lower-case SHA-256 of the first `length` bytes.
pub fn sha256(length: u64) -> String {
    let mut hash = Sha256::new();
    let mut chunk = vec![0; 1 << 16];
    for from in (0..length).step_by(chunk.len()) {
        let len = chunk.len().min((length - from) as usize);
        fill(from, &mut chunk[..len]);
        hash.update(&chunk[..len]);
    }
    hex(&hash.finalize())
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether `data` is the first `length` bytes of the pattern.
pub fn is_all(data: &[u8], length: u64) -> bool {
    let mut expected = vec![0; length as usize];
    fill(0, &mut expected);
    data == expected
}
