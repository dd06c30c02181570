//! Sizes and durations as people write them, and figures as people read them.
//!
//! Knows units, nothing of what is measured.

use std::time::Duration;

/// `4096`, `64k`, `256MiB`, `1.5GiB` (powers of 1024), `64kB`, `1GB` (powers of 1000).
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit_bytes(unit.trim()).ok_or_else(|| format!("unknown unit `{}`", unit.trim()))?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let too_large = || "larger than 2^64 - 1 bytes".to_owned();
    if whole.is_empty() || fraction.contains('.') {
        return Err("expected a size such as 4096, 64k or 256MiB".to_owned());
    }
    let whole: u128 = whole.parse().map_err(|_| too_large())?;
    // Nine digits resolve a byte in a GiB; more would only overflow.
    let fraction = &fraction[..fraction.len().min(9)];
    let scale = (0..fraction.len()).fold(1_u128, |scale, _| scale * 10);
    let part = fraction.parse::<u128>().unwrap_or(0) * u128::from(unit) / scale;
    let bytes = whole.checked_mul(u128::from(unit)).and_then(|bytes| bytes.checked_add(part));
    bytes.and_then(|bytes| u64::try_from(bytes).ok()).ok_or_else(too_large)
}

fn unit_bytes(unit: &str) -> Option<u64> {
    let lower = unit.to_ascii_lowercase();
    let (prefix, step) = match lower.as_str() {
        "" | "b" => return Some(1),
        "k" | "m" | "g" | "t" => (lower.as_str(), 1024_u64),
        _ if lower.ends_with("ib") => (lower.trim_end_matches("ib"), 1024),
        _ => (lower.strip_suffix('b')?, 1000),
    };
    let power = match prefix {
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return None,
    };
    Some(step.pow(power))
}

/// Seconds, possibly with a fraction: a positive number of at most a million, which is eleven days.
pub(crate) fn parse_seconds(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let number = text.strip_suffix('s').unwrap_or(text);
    match number.parse::<f64>() {
        Ok(seconds) if (0.001..=1_000_000.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("expected seconds from 0.001 to 1000000, such as 10 or 0.5".to_owned()),
    }
}

/// `30ms`, `0.5s`, `200us`, or seconds without a unit: from 0 to an hour.
pub(crate) fn parse_delay(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let unit = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit);
    let scale = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "" | "s" => 1.0,
        _ => return Err(format!("unknown unit `{unit}`")),
    };
    match number.trim().parse::<f64>() {
        Ok(count) if (0.0..=3_600.0).contains(&(count * scale)) => Ok(Duration::from_secs_f64(count * scale)),
        _ => Err("expected a time of at most an hour, such as 30ms or 0.5s".to_owned()),
    }
}

/// `5%`, or `5`: a share, 0 to 1.
pub(crate) fn parse_percent(text: &str) -> Result<f64, String> {
    let text = text.trim();
    match text.strip_suffix('%').unwrap_or(text).trim().parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent / 100.0),
        _ => Err("expected a share from 0% to 100%".to_owned()),
    }
}

/// `640k`, `10M`, `1.5G`, also with `bit` or `bit/s` behind it: bits per second, powers of 1000, 1k to 1000G.
pub(crate) fn parse_bit_rate(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let text = text.strip_suffix("/s").unwrap_or(text);
    let text = text.strip_suffix("bit").unwrap_or(text);
    let (number, scale) = match text.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (&text[..at], 1e3),
        Some((at, 'm' | 'M')) => (&text[..at], 1e6),
        Some((at, 'g' | 'G')) => (&text[..at], 1e9),
        _ => (text, 1.0),
    };
    match number.trim().parse::<f64>().map(|count| count * scale) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is within the range")]
        Ok(bits) if (1e3..=1e12).contains(&bits) => Ok(bits as u64),
        _ => Err("expected bits per second from 1k to 1000G, such as 640k or 10M".to_owned()),
    }
}

/// `HOST:PORT`, where an IPv6 address stands in brackets. Names are resolved later, when they are used.
pub(crate) fn parse_address(text: &str) -> Result<String, String> {
    let fits = text.rsplit_once(':').is_some_and(|(host, port)| {
        let bracketed = host.starts_with('[') && host.ends_with(']');
        !host.is_empty() && (bracketed || !host.contains(':')) && port.parse::<u16>().is_ok()
    });
    if fits { Ok(text.to_owned()) } else { Err("expected HOST:PORT, such as 127.0.0.1:4000".to_owned()) }
}

/// `812.3 MiB`.
#[expect(clippy::cast_precision_loss, reason = "for people to read")]
pub(crate) fn bytes(count: u64) -> String {
    match count {
        0..1024 => format!("{count} B"),
        1024..0x10_0000 => format!("{:.1} KiB", count as f64 / 1024.0),
        0x10_0000..0x4000_0000 => format!("{:.1} MiB", count as f64 / f64::from(1 << 20)),
        _ => format!("{:.2} GiB", count as f64 / f64::from(1 << 30)),
    }
}

/// `6.81 Gbit/s`.
pub(crate) fn bit_rate(bits_per_second: f64) -> String {
    match bits_per_second {
        rate if rate >= 1e9 => format!("{:.2} Gbit/s", rate / 1e9),
        rate if rate >= 1e6 => format!("{:.1} Mbit/s", rate / 1e6),
        rate => format!("{:.1} kbit/s", rate / 1e3),
    }
}

/// Bits per second, 0 for no time at all.
#[expect(clippy::cast_precision_loss, reason = "a rate has no use for the 53rd bit")]
pub(crate) fn goodput(bytes: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { bytes as f64 * 8.0 / seconds } else { 0.0 }
}

/// `count / per`, or nothing where there is nothing to divide by.
#[expect(clippy::cast_precision_loss, reason = "an average has no use for the 53rd bit")]
pub(crate) fn ratio(count: u64, per: u64) -> Option<f64> {
    (per > 0).then(|| count as f64 / per as f64)
}

/// Milliseconds with their fraction.
pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_take_binary_and_decimal_units() {
        let table = [
            ("0", 0),
            ("4096", 4096),
            ("64k", 65_536),
            ("64K", 65_536),
            ("64kB", 64_000),
            ("256MiB", 268_435_456),
            ("256 mib", 268_435_456),
            ("1GiB", 1 << 30),
            ("1.5GiB", 3 << 29),
            ("2TB", 2_000_000_000_000),
            ("17b", 17),
        ];
        for (text, bytes) in table {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn odd_sizes_are_refused_with_a_reason() {
        for text in
            ["", "MiB", "-1", "1e9", "1QiB", "1..5k", ".5k", "99999999999999999999", "16777216TiB", "1 k k"]
        {
            assert!(parse_size(text).is_err_and(|reason| !reason.is_empty()), "{text}");
        }
        assert_eq!(parse_size("16777215TiB"), Ok(16_777_215 << 40));
    }

    #[test]
    fn durations_are_positive_and_bounded() {
        assert_eq!(parse_seconds("10"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_seconds("0.5s"), Ok(Duration::from_millis(500)));
        for text in ["", "0", "-1", "nan", "inf", "1e300", "ten"] {
            assert!(parse_seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn delays_shares_and_rates_have_their_units_and_their_bounds() {
        assert_eq!(parse_delay("30ms"), Ok(Duration::from_millis(30)));
        assert_eq!(parse_delay("0"), Ok(Duration::ZERO));
        assert_eq!(parse_delay("250 us"), Ok(Duration::from_micros(250)));
        assert_eq!(parse_delay("1.5s"), Ok(Duration::from_millis(1_500)));
        for text in ["", "ms", "-1ms", "3601", "1h", "nan", "inf", "1e9s"] {
            assert!(parse_delay(text).is_err(), "{text}");
        }
        assert_eq!(parse_percent("5%"), Ok(0.05));
        assert_eq!(parse_percent("100"), Ok(1.0));
        for text in ["", "%", "-1%", "100.1%", "nan"] {
            assert!(parse_percent(text).is_err(), "{text}");
        }
        for (text, bits) in
            [("640k", 640_000), ("10Mbit/s", 10_000_000), ("1.5G", 1_500_000_000), ("1000", 1_000)]
        {
            assert_eq!(parse_bit_rate(text), Ok(bits), "{text}");
        }
        for text in ["", "k", "0", "999", "1001G", "-5M", "5Q", "nan", "bit/s", "10é"] {
            assert!(parse_bit_rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_need_a_host_and_a_port() {
        for text in ["127.0.0.1:0", "[::1]:65535", "localhost:80"] {
            assert_eq!(parse_address(text), Ok(text.to_owned()));
        }
        for text in ["", "127.0.0.1", ":80", "host:", "host:65536", "::1:80", "a:b:1"] {
            assert!(parse_address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn figures_are_readable() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(256 << 20), "256.0 MiB");
        assert_eq!(bit_rate(6.814e9), "6.81 Gbit/s");
        assert_eq!(bit_rate(0.0), "0.0 kbit/s");
        assert_eq!(goodput(1_000_000, 0.0), 0.0);
        assert_eq!(ratio(10, 4), Some(2.5));
        assert_eq!(ratio(10, 0), None);
    }
}
