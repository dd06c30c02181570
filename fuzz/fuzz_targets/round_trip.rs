//! libFuzzer on `ebbtide_fuzz::round_trip`: `cargo +nightly fuzz run round_trip`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ebbtide_fuzz::round_trip(input));
