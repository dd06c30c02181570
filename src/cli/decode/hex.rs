//! Packets as people paste them: hexadecimal digits, one packet per line.
//!
//! Refuses to know what the bytes mean.

/// The bytes of one line. Blanks, colons, commas and a leading `0x` are layout.
pub(super) fn parse(line: &str) -> Result<Vec<u8>, &'static str> {
    let line = line.trim();
    let digits = line.strip_prefix("0x").unwrap_or(line);
    let mut bytes = Vec::with_capacity(digits.len() / 2);
    let mut high: Option<u8> = None;
    for character in digits.chars().filter(|c| !c.is_whitespace() && !matches!(c, ':' | ',')) {
        let digit = character.to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let digit = digit.ok_or("not hexadecimal")?;
        match high.take() {
            Some(high) => bytes.push(high << 4 | digit),
            None => high = Some(digit),
        }
    }
    match high {
        Some(_) => Err("an odd number of hexadecimal digits"),
        None => Ok(bytes),
    }
}

/// Whether input that begins like this is text rather than a packet.
pub(super) fn looks_like_text(start: &[u8]) -> bool {
    start.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_is_skipped_and_mistakes_are_named() {
        assert_eq!(parse("01 0a:FF,00\r"), Ok(vec![1, 10, 255, 0]));
        assert_eq!(parse("0x0100"), Ok(vec![1, 0]));
        assert_eq!(parse(""), Ok(vec![]));
        assert_eq!(parse("010"), Err("an odd number of hexadecimal digits"));
        assert_eq!(parse("01zz"), Err("not hexadecimal"));
    }

    #[test]
    fn packets_are_not_taken_for_text() {
        assert!(looks_like_text(b"# a comment\n01 02\n"));
        assert!(!looks_like_text(&[0x41, 0x00, 0x30]));
    }
}
